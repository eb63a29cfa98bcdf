"""Rows that rest on two trainings of one stage are named, and only those."""

from __future__ import annotations

from benchmarks.grid import build_grid
from benchmarks.side_by_side import side_by_side
from benchmarks.tables import table
from tests.benchmarks.made_evidence import summary


def trained(row: str, losses: dict[str, float], key: str = "k", **more: str) -> dict:
    """A summary whose stages reported these losses, and are named by the row's settings."""
    stages = {stage: f"{stage}-{key}" for stage in losses}
    return {**summary(row, 0.5), "stages": stages, "fitted": {stage: {"loss": loss} for stage, loss in losses.items()}, **more}


def notes(*summaries: dict) -> list[str]:
    found = build_grid(table("table7"), ["openmoji-scenes"], summaries).groups[0].notes
    return [note for note in found if "NOT ONE TRAINING" in note]


def test_rows_of_one_training_are_not_remarked_on():
    assert not notes(trained("avg", {"encoder": 1.0}), trained("avg-beam10", {"encoder": 1.0}))


def test_settings_that_differ_may_be_trained_to_other_losses():
    assert not notes(trained("avg", {"encoder": 1.0}), trained("avg-beam10", {"encoder": 2.0}, key="other"))


def test_the_first_stage_of_two_trainings_is_named_with_its_rows():
    first, again = {"encoder": 1.0, "tokenizer": 1.0, "generator": 1.0}, {"encoder": 1.0, "tokenizer": 2.0, "generator": 2.0}
    (note,) = notes(trained("avg", first), trained("avg-beam10", again), trained("avg-beam20", first))
    assert "a stage tokenizer of equal settings was trained more than once, for beam size 10 | beam size 20, beam size 40:" in note
    assert "python -m benchmarks.run table7" in note


def test_protocols_that_share_a_stage_are_remarked_on_too():
    one, other = trained("avg", {"encoder": 1.0}), trained("avg", {"encoder": 2.0}, protocol="paper")
    found = side_by_side(table("table1"), "openmoji-scenes", [one, other]).notes
    assert [note for note in found if "for AVG (clean) | AVG (paper):" in note]
