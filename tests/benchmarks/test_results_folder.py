"""A results folder: what is written of a table, what stays of an earlier one, what may not stand beside another, and rendering."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import campaign, results_folder, tables
from benchmarks.grid import build_grid
from benchmarks.render import markdown
from benchmarks.stages import Store
from benchmarks.user_error import UserError
from methods.files import durable
from tests.benchmarks.test_campaign import TABLE, run

COMMITTED = Path(__file__).resolve().parents[2] / "results"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(results):
    return {path.name for path in (results / "ten" / "runs").iterdir()}


@pytest.fixture
def listed(monkeypatch):
    """Makes TABLE one of the suite's."""
    monkeypatch.setitem(tables.TABLES, "small", f"{__name__}:TABLE")
    monkeypatch.setattr(tables, "table", lambda name: TABLE)


def part(store, results, rows, given=None):
    """Measures these rows and writes them, after asking whether they may stand there."""
    table = campaign.chosen(TABLE, rows)
    plans = campaign.plan_cells(table, ("ten",), given=given)
    results_folder.refuse_mixing(table, plans, results, varied=bool(given))
    return results_folder.write(table, ("ten",), "clean", campaign.measure(table, plans, store), results)


def test_a_table_is_written_with_all_that_it_was_computed_from(cell_work, store, results):
    run(store, results, seeds=2)
    assert set(contents(results / "ten")) == {
        *(f"small.{ending}" for ending in ("md", "tex", "csv")),
        *(f"runs/{name}.json" for name in ("good-seed0", "good-seed1", "bad-seed0", "bad-seed1", "steady-seed0")),
    }
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
    grid = build_grid(TABLE, ("ten", "twin"), results_folder.committed(results, ("ten", "twin")))
    results_folder.write_grid(grid, folder)
    assert contents(folder) == before


def test_summaries_that_are_no_part_of_the_table_any_more_are_removed(cell_work, store, results):
    run(store, results, seeds=2)
    runs = results / "ten" / "runs"
    (runs / "stranger-seed0.json").write_text("{}")
    (runs / "bad-seed2.json").write_text("{")
    (runs / "steady-seed1.json").write_bytes((runs / "good-seed1.json").read_bytes())  # a row without seeds has one cell
    other = (replace(TABLE.rows[0], settings={"offset": 2}), *TABLE.rows[1:])
    run(store, results, table=replace(TABLE, rows=other))
    assert names(results) == {"good-seed0.json", "bad-seed0.json", "bad-seed1.json", "steady-seed0.json", "stranger-seed0.json"}


def test_files_of_other_names_are_left_alone_and_not_read(cell_work, store, results):
    run(store, results, seeds=2)
    before = contents(results)
    backup = results / "ten" / "runs" / "good-seed0-old.json"
    backup.write_text("no summary")
    run(store, results)
    assert contents(results) == {**before, "ten/runs/good-seed0-old.json": b"no summary"}
    assert len(list(results_folder.rendered_again(TABLE, results))) == 1
    assert contents(results) == {**before, "ten/runs/good-seed0-old.json": b"no summary"}


def test_nothing_is_removed_before_what_replaces_it_is_written(cell_work, store, results, monkeypatch):
    run(store, results, seeds=2)
    before = names(results)
    other = replace(TABLE, rows=(replace(TABLE.rows[0], settings={"offset": 2}), *TABLE.rows[1:]))
    measured = campaign.measure(other, campaign.plan_cells(other, ("ten",)), store)
    monkeypatch.setattr(durable.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        results_folder.write(other, ("ten",), "clean", measured, results)
    assert names(results) == before


def full_disk(handle):
    raise OSError(28, "No space left on device")


def test_a_failure_keeps_what_was_measured_before(cell_work, store, results, caplog):
    run(store, results, seeds=2)
    before = {name: text for name, text in contents(results / "ten" / "runs").items() if name.startswith("good")}
    broken = (replace(TABLE.rows[0], settings={"broken": True}), *TABLE.rows[1:])
    run(store, results, table=replace(TABLE, rows=broken), seeds=2)
    assert {name: text for name, text in contents(results / "ten" / "runs").items() if name.startswith("good")} == before
    line = next(line for line in (results / "ten" / "small.md").read_text().splitlines() if line.startswith("| Good"))
    assert "failed" in line and "75.0" not in line, "an old number is not printed as today's"
    assert f"Good failed; what an earlier run measured stays in {results}/ten/runs/good-seed0.json" in caplog.text


def test_further_seeds_that_another_table_made_of_the_same_cells_are_shown(cell_work, store, results):
    run(store, results, seeds=2)
    before = contents(results)
    measured = run(store, results, seeds=1)
    assert {summary["seed"] for summary in measured.summaries} == {0}
    assert contents(results) == before
    assert "seed 0, 1 (Steady: 0)" in (results / "ten" / "small.md").read_text()


def test_a_part_is_written_as_the_whole_table_that_rendering_gives(cell_work, listed, store, results):
    part(store, results, ("bad",))
    before = contents(results)
    line = next(line for line in before["ten/small.md"].decode().splitlines() if line.startswith("| Good"))
    assert "missing" in line
    assert len(list(results_folder.rendered_again(TABLE, results))) == 1
    assert contents(results) == before


def test_a_part_is_added_to_the_table_that_lies_there(cell_work, listed, store, results):
    run(store, results)
    before = contents(results)
    part(store, results, ("bad",))
    assert contents(results) == before


def test_a_variant_goes_where_nothing_else_lies(cell_work, listed, store, results):
    run(store, results)
    given = {"pairs": {"offset": 3}}
    with pytest.raises(ValueError, match=r"ten holds small with other settings than these \(bad-seed0\.json\): name another folder with"):
        part(store, results, ("bad",), given)
    other = results.with_name("other")
    for _ in range(2):
        part(store, other, ("bad",), given)
    assert json.loads((other / "ten" / "runs" / "bad-seed0.json").read_text())["variant"] == {"offset": 3}
    with pytest.raises(ValueError, match=r"other/ten holds small with other settings than these \(bad-seed0\.json\)"):
        part(store, other, ("bad",), {"pairs": {"offset": 4}})


def test_a_variant_is_not_added_beside_rows_that_it_leaves_out(cell_work, listed, store, results):
    part(store, results, ("steady",))
    with pytest.raises(ValueError, match=r"other settings than these \(steady-seed0\.json\)"):
        part(store, results, ("bad",), {"pairs": {"beam": 3}})


@pytest.mark.parametrize("rows", [(), ("bad",), ("steady",)])
def test_nothing_else_is_added_beside_a_variant_or_put_in_its_place(cell_work, listed, store, results, rows):
    part(store, results, ("bad",), {"pairs": {"beam": 3}})
    before = contents(results)
    with pytest.raises(ValueError, match=r"ten holds small with other settings than these \(bad-seed0\.json\): name another folder with"):
        part(store, results, rows)
    assert contents(results) == before


def test_what_changes_no_result_makes_no_variant(cell_work, listed, store, results, monkeypatch):
    monkeypatch.setattr(cell_work.Config, "HOW", frozenset({"offset"}))
    part(store, results, ("good",), {"pairs": {"offset": 3}})
    part(store, results, ("steady",))


def test_rows_of_an_older_version_are_no_variant(cell_work, listed, store, results):
    """Their settings lack what came since, and had other defaults."""
    run(store, results)
    for path in (results / "ten" / "runs").iterdir():
        stated = json.loads(path.read_text())
        path.write_text(json.dumps({**stated, "settings": {"offset": 7}}))
    part(store, results, ("good",))
    part(store, results, ())


def test_what_is_committed_takes_the_rows_of_its_table():
    table = tables.table("table1")
    for path in COMMITTED.glob("*/runs"):
        dataset, _, protocol = path.parent.name.partition("@")
        results_folder.refuse_mixing(table, campaign.plan_cells(table, [dataset], protocol or "clean"), COMMITTED)


@pytest.mark.slow
def test_what_is_committed_is_what_its_summaries_say():
    paths = list(COMMITTED.glob("*/table?.md"))
    assert paths
    for path in paths:
        dataset, _, protocol = path.parent.name.partition("@")
        measured = campaign.Measured(summaries=results_folder.committed(COMMITTED, [dataset], protocol or "clean"))
        assert path.read_text() == markdown(results_folder.grid(tables.table(path.stem), [dataset], measured, COMMITTED))


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_damaged_summary_is_named(cell_work, results, text):
    path = results / "ten" / "runs" / "good-seed0.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=r"good-seed0\.json is .*delete it"):
        results_folder.committed(results, ("ten",))


def test_a_folder_in_a_summarys_place_is_named(results):
    (results / "ten" / "runs" / "good-seed0.json").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"good-seed0\.json cannot be read \(Is a directory\): delete it and run its cell again"):
        results_folder.committed(results, ("ten",))


@pytest.mark.parametrize(("name", "value"), [("before_Q", "eJx"), ("queries", None)])
def test_a_summary_with_damaged_outcomes_is_named(cell_work, store, results, name, value):
    run(store, results)
    path = results / "ten" / "runs" / "good-seed0.json"
    stated = json.loads(path.read_text())
    stated["outcomes"][name] = value
    path.write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=r"good-seed0\.json is damaged \(stored outcomes .*\): delete it and run its cell again"):
        results_folder.committed(results, ("ten",))


def test_a_results_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file/results .*--results"):
        results_folder.writable(tmp_path / "file" / "results")


def test_where_results_go():
    kept_in, tiny = results_folder.kept_in, ("openmoji-scenes-tiny",)
    named = Path("named")
    assert kept_in(None, ("ten",), tiny=False) == kept_in(None, tiny, tiny=True) == Path("results")
    assert kept_in(None, ("ten",), tiny=True) is None
    assert kept_in(None, ("ten",), tiny=False, part=True) is kept_in(None, ("ten",), tiny=False, split="val") is None
    assert kept_in(named, ("ten",), tiny=True) == kept_in(named, ("ten",), tiny=False, part=True) == named
    with pytest.raises(ValueError, match="--split val is to look at and --results keeps what was measured on test"):
        kept_in(named, ("ten",), tiny=False, split="val")


def test_a_write_that_fails_names_its_file_and_leaves_none(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as caught:
        durable.write_atomically(tmp_path / "folder", "text")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "folder"), None)
    with pytest.raises(OSError) as caught:
        durable.write_atomically(tmp_path / "nowhere" / "file", "text")
    assert caught.value.filename == str(tmp_path / "nowhere" / "file")
    monkeypatch.setattr(durable.os, "fsync", full_disk)
    with pytest.raises(OSError) as caught:
        durable.write_atomically(tmp_path / "file", "text")
    assert caught.value.filename == str(tmp_path / "file")
    assert os.listdir(tmp_path) == ["folder"]
