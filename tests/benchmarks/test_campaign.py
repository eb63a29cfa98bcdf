"""All cells of a table: planned, measured, and what came of them."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from benchmarks import campaign, results_folder
from benchmarks.spec import RECALL, Claim, Row, Table

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
    measured = campaign.measure(table, campaign.plan_cells(table, datasets, protocol, seeds, **options), store)
    results_folder.write(table, datasets, protocol, measured, results)
    return measured


def test_each_cell_is_told_as_it_arrives(cell_work, store, results, capsys):
    measured = run(store, results, seeds=2)
    told = [line for line in capsys.readouterr().err.splitlines() if ", seed " in line]
    assert told[0] == "Good, seed 0, ten: R@1 75.0  R@5 100.0  R@10 100.0"
    assert len(told) == len(measured.summaries) == 5
    assert not measured.failures
    assert {stage["name"] for stage in measured.records.values()} == {"data", "offset", "index", "ranking"}


def test_a_failed_cell_is_shown_and_the_others_go_on(cell_work, store, results, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    rows = (replace(TABLE.rows[0], settings={"broken": True}), *TABLE.rows[1:])
    measured = run(store, results, table=replace(TABLE, rows=rows))
    (where,) = measured.failures.values()
    assert measured.failures.keys() == {("ten", "good")}
    assert not os.path.isabs(where)
    assert "the loss is not a number" in (tmp_path / where).read_text()
    assert "Good, seed 0, ten: failed in offset: RuntimeError: the loss is not a number" in capsys.readouterr().err
    text = (results / "ten" / "small.md").read_text()
    assert "failed" in text
    assert where in text
    assert [summary["row"] for summary in measured.summaries] == ["bad", "steady"]


def test_what_is_left_counts_once_what_cells_share(cell_work, store):
    plans = campaign.plan_cells(TABLE, ("ten",))
    count = len({stage.key for plan in plans for stage in plan.ranking.ancestors()})
    assert campaign.left(plans + plans, store).startswith(f"{count} stages are missing, about ")


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
