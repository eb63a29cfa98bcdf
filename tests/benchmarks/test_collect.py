"""What a batch collects may stand in its results folder, or is refused: another may have been collected since it was submitted."""

from __future__ import annotations

import pytest

from benchmarks import campaign, results_folder, tables
from benchmarks.batch.batch import Request, create
from benchmarks.run import main
from tests.benchmarks.test_campaign import TABLE


@pytest.fixture
def submitted(cell_work, store, results, monkeypatch):
    """Submits some rows with some settings, as `table --set` does, and computes them; returns what collects them."""
    monkeypatch.setitem(tables.TABLES, "small", f"{__name__}:TABLE")
    monkeypatch.setattr(tables, "table", lambda name: TABLE)

    def submit(*rows, given=None, tiny=False):
        table = campaign.chosen(TABLE, rows)
        plans = campaign.plan_cells(table, ("ten",), tiny=tiny, given=given)
        how = {"tiny": tiny, "varied": bool(given)}
        results_folder.refuse_mixing(table, plans, results, **how)
        request = Request(table=table, datasets=("ten",), protocol="clean", plans=tuple(plans), results=results, **how)
        batch = create([request], store, "local", [])
        campaign.measure(table, plans, store)
        return lambda: main(["collect", "--batch", batch.id, "--store", str(store.root)])

    return submit


def summaries(results):
    return {path.name: path.read_bytes() for path in (results / "ten" / "runs").iterdir()}


def test_a_variant_does_not_overwrite_another_that_was_submitted_before_it(submitted, results, capsys):
    first = submitted("bad", given={"pairs": {"offset": 3}})
    second = submitted("bad", given={"pairs": {"offset": 4}})
    assert (first(), first()) == (0, 0)
    before = summaries(results)
    assert second() == 2
    told = capsys.readouterr().err
    assert "ten holds small with other settings than these (bad-seed0.json): name another folder with --results" in told
    assert summaries(results) == before


@pytest.mark.parametrize("tiny", [False, True])
def test_parts_of_one_table_are_collected_into_it(submitted, results, tiny):
    parts = [submitted(row, tiny=tiny) for row in ("bad", "good", "steady")]
    assert [collect() for collect in (*parts, *parts)] == [0] * 6
    assert set(summaries(results)) == {"bad-seed0.json", "good-seed0.json", "steady-seed0.json"}


def test_a_part_is_not_collected_beside_tiny_ones(submitted, capsys):
    tiny, usual = submitted("bad", tiny=True), submitted("good")
    assert (tiny(), usual()) == (0, 2)
    assert "other settings than these (bad-seed0.json)" in capsys.readouterr().err
