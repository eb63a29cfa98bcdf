"""All cells of a table: measured, written, and rendered again from what was written."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from benchmarks import campaign, parts, tables
from benchmarks.grid import build_grid
from benchmarks.seal import UserError
from benchmarks.spec import RECALL, Claim, Row, Table
from benchmarks.stages import Store

TABLE = Table(
    name="small",
    caption="A small table.",
    columns=RECALL,
    rows=(
        Row(key="good", label="Good", method="pairs"),
        Row(key="bad", label="Bad", method="pairs", settings={"offset": 1}),
        Row(key="steady", label="Steady", method="pairs-steady", kind="reference"),
        Row(key="facts", label="Facts", method="scene-facts", only="openmoji-scenes*"),
    ),
    reported={},
    claims=(Claim(key="claim", text="Good beats Bad", source="here", better="good", worse=("bad",)),),
)


def run(store, results, datasets=("ten",), table=TABLE, seeds=1, protocol="clean", **options):
    plans = campaign.plan_cells(table, datasets, protocol, seeds, **options)
    lines: list[str] = []
    measured = campaign.measure(table, plans, store, lines.append)
    campaign.write(table, datasets, protocol, measured, results)
    return measured, lines


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_table_is_written_with_all_that_it_was_computed_from(cell_work, store, results):
    measured, lines = run(store, results, seeds=2)
    assert set(contents(results / "ten")) == {
        *(f"small.{ending}" for ending in ("md", "tex", "csv")),
        *(f"runs/{name}.json" for name in ("good-seed0", "good-seed1", "bad-seed0", "bad-seed1", "steady-seed0")),
    }
    assert lines[0] == "Good, seed 0, ten: R@1 75.0  R@5 100.0  R@10 100.0"
    assert len(lines) == 5
    assert not measured.failures
    text = (results / "ten" / "small.md").read_text()
    assert "75.0" in text
    assert "Good beats Bad" in text


def test_again_nothing_is_done_and_the_bytes_are_the_same(cell_work, store, results):
    run(store, results)
    before = contents(results)
    again = Store(store.root)
    run(again, results)
    assert again.made == set()
    assert contents(results) == before


def test_the_table_can_be_rendered_from_the_summaries_alone(cell_work, store, results):
    run(store, results, datasets=("ten", "twin"))
    folder = results / "ten+twin"
    assert (results / "twin" / "runs" / "good-seed0.json").is_file()
    before = contents(folder)
    for path in folder.iterdir():
        path.unlink()
    grid = build_grid(TABLE, ("ten", "twin"), campaign.committed(results, ("ten", "twin")))
    campaign.write_grid(grid, folder)
    assert contents(folder) == before


def test_a_failed_cell_is_shown_and_the_others_go_on(cell_work, store, results, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rows = (replace(TABLE.rows[0], settings={"broken": True}), *TABLE.rows[1:])
    measured, lines = run(store, results, table=replace(TABLE, rows=rows))
    (where,) = measured.failures.values()
    assert measured.failures.keys() == {("ten", "good")}
    assert not os.path.isabs(where)
    assert "the loss is not a number" in (tmp_path / where).read_text()
    assert lines[0].startswith("Good, seed 0, ten: failed in offset: RuntimeError: the loss is not a number")
    text = (results / "ten" / "small.md").read_text()
    assert "failed" in text
    assert where in text
    assert [summary["row"] for summary in measured.summaries] == ["bad", "steady"]


def names(results):
    return {path.name for path in (results / "ten" / "runs").iterdir()}


def test_summaries_that_are_no_part_of_the_table_any_more_are_removed(cell_work, store, results):
    run(store, results, seeds=2)
    runs = results / "ten" / "runs"
    (runs / "stranger-seed0.json").write_text("{}")
    (runs / "bad-seed2.json").write_text("{")
    (runs / "steady-seed1.json").write_bytes((runs / "good-seed1.json").read_bytes())  # a row without seeds has one cell
    other = (replace(TABLE.rows[0], settings={"offset": 2}), *TABLE.rows[1:])
    run(store, results, table=replace(TABLE, rows=other))
    assert names(results) == {"good-seed0.json", "bad-seed0.json", "bad-seed1.json", "steady-seed0.json", "stranger-seed0.json"}


def test_a_failure_keeps_what_was_measured_before(cell_work, store, results, caplog):
    run(store, results, seeds=2)
    before = {name: text for name, text in contents(results / "ten" / "runs").items() if name.startswith("good")}
    broken = (replace(TABLE.rows[0], settings={"broken": True}), *TABLE.rows[1:])
    run(store, results, table=replace(TABLE, rows=broken), seeds=2)
    assert {name: text for name, text in contents(results / "ten" / "runs").items() if name.startswith("good")} == before
    line = next(line for line in (results / "ten" / "small.md").read_text().splitlines() if line.startswith("| Good"))
    assert "failed" in line and "75.0" not in line, "an old number is not printed as today's"
    assert f"Good failed; what an earlier run measured stays in {results}/ten/runs/good-seed0.json" in caplog.text


@pytest.fixture
def listed(monkeypatch):
    """Makes TABLE one of the suite's."""
    monkeypatch.setitem(tables.TABLES, "small", f"{__name__}:TABLE")
    monkeypatch.setattr(tables, "table", lambda name: TABLE)


def test_a_part_is_added_to_the_table_that_lies_there(cell_work, listed, store, results):
    run(store, results)
    before = contents(results)
    part = campaign.chosen(TABLE, ("bad",))
    measured = campaign.measure(part, campaign.plan_cells(part, ("ten",)), store, lambda line: None)
    parts.write(part, ("ten",), "clean", measured, results)
    assert contents(results) == before
    other = results.with_name("other")
    parts.write(part, ("ten",), "clean", measured, other)
    assert "Good" not in (other / "ten" / "small.md").read_text(), "where no other row lies, it is written alone"


def test_a_variant_goes_where_nothing_else_lies(cell_work, listed, store, results):
    run(store, results)
    part = campaign.chosen(TABLE, ("bad",))
    varied = campaign.plan_cells(part, ("ten",), given={"pairs": {"offset": 3}})
    with pytest.raises(ValueError, match=r"ten holds small with other settings than these \(good-seed0\.json\): name another folder with"):
        parts.refuse_mixing(part, varied, results)
    other = results.with_name("other")
    for _ in range(2):
        parts.refuse_mixing(part, varied, other)
        parts.write(part, ("ten",), "clean", campaign.measure(part, varied, store, lambda line: None), other)
    with pytest.raises(ValueError, match=r"other/ten holds small with other settings than these \(bad-seed0\.json\)"):
        parts.refuse_mixing(part, campaign.plan_cells(part, ("ten",), given={"pairs": {"offset": 4}}), other)


def test_further_seeds_that_another_table_made_of_the_same_cells_are_shown(cell_work, store, results):
    run(store, results, seeds=2)
    before = contents(results)
    measured, _ = run(store, results, seeds=1)
    assert {summary["seed"] for summary in measured.summaries} == {0}
    assert contents(results) == before
    assert "seed 0, 1 (Steady: 0)" in (results / "ten" / "small.md").read_text()


def test_a_part_of_a_table_keeps_the_claims_that_it_can_test():
    assert [row.key for row in campaign.chosen(TABLE, ("bad", "good")).rows] == ["good", "bad"]
    assert campaign.chosen(TABLE, ("bad", "good")).claims == TABLE.claims
    assert campaign.chosen(TABLE, ("good",)).claims == ()
    assert campaign.chosen(TABLE, ()) is TABLE
    with pytest.raises(ValueError, match="unknown row 'goood' of small: did you mean good"):
        campaign.chosen(TABLE, ("goood",))


def test_time_that_cells_share_counts_once():
    records = {"a": {"name": "data", "seconds": 2.0}, "b": {"name": "fit", "seconds": 3.0}, "c": {"name": "fit", "seconds": 4.0}}
    assert campaign.spent(records, {"b"}) == [("fit", 2, 7.0, "1 fresh, 1 cached"), ("data", 1, 2.0, "cached")]
    assert campaign.spent(records, {"a", "b", "c"})[1] == ("data", 1, 2.0, "fresh")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_damaged_summary_is_named(cell_work, results, text):
    path = results / "ten" / "runs" / "good-seed0.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=r"good-seed0\.json is .*delete it"):
        campaign.committed(results, ("ten",))


@pytest.mark.parametrize(("name", "value"), [("before_Q", "eJx"), ("queries", None)])
def test_a_summary_with_damaged_outcomes_is_named(cell_work, store, results, name, value):
    run(store, results)
    path = results / "ten" / "runs" / "good-seed0.json"
    stated = json.loads(path.read_text())
    stated["outcomes"][name] = value
    path.write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=r"good-seed0\.json is damaged \(stored outcomes .*\): delete it and run its cell again"):
        campaign.committed(results, ("ten",))


def test_a_results_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file/results .*--results"):
        campaign.writable(tmp_path / "file" / "results")
