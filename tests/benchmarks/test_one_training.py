"""Rows that rest on two trainings or two versions of one stage are named, and only those."""

from __future__ import annotations

import json

from benchmarks import one_training
from benchmarks.grid import build_grid
from benchmarks.side_by_side import side_by_side
from benchmarks.tables import table
from tests.benchmarks.made_evidence import summary
from tests.command import ROOT


def trained(row: str, losses: dict[str, float], key: str = "k", **more: str) -> dict:
    """A summary whose stages reported these losses, and are named by the row's settings."""
    stages = {stage: f"{stage}-{key}" for stage in losses}
    return {**summary(row, 0.5), "stages": stages, "fitted": {stage: {"loss": loss} for stage, loss in losses.items()}, **more}


def notes(*summaries: dict) -> list[str]:
    found = build_grid(table("table7"), ["openmoji-scenes"], summaries).groups[0].notes
    return [note for note in found if "NOT ONE" in note]


def test_rows_of_one_training_are_not_remarked_on():
    assert not notes(trained("avg", {"encoder": 1.0}), trained("avg-beam10", {"encoder": 1.0}))


def test_settings_that_differ_may_be_trained_to_other_losses():
    small = trained("avg-beam10", {"encoder": 2.0}, key="other", settings={"encoder": {"width": 8}})
    assert not notes(trained("avg", {"encoder": 1.0}), small)


def test_equal_settings_with_two_names_are_of_two_versions():
    old, new = (trained("avg", {"encoder": 1.0, "generator": 1.0}, key) for key in ("old", "new"))
    new["stages"]["encoder"] = old["stages"]["encoder"]
    (note,) = notes(old, {**new, "row": "avg-beam10"})
    assert "NOT ONE VERSION: a stage generator" in note and "for beam size 10 | beam size 40." in note
    assert not notes(old, {**new, "row": "avg-beam10", "settings": {"codebook": 8}})
    for stage in ("index", "ranking"):
        assert not notes(*({**old, "row": row, "stages": {stage: row}, "fitted": {}} for row in ("avg", "avg-beam10")))


def test_what_one_row_is_and_another_has_as_a_part_is_compared():
    """CLIP's list in BLIP's order beside a BLIP that was mended meanwhile."""
    mended = {**summary("blip", 0.5), "settings": {"layers": 3, "seed": 0}, "stages": {"data": "d", "blip": "new"}}
    parts = {"encoder": {"width": 8}, "blip": {"layers": 3, "seed": 0}, "seed": 0}
    listed = {**summary("clip-blip", 0.5), "settings": parts, "stages": {"data": "d", "encoder": "e", "blip": "old"}}
    (note,) = one_training.notes([("BLIP", mended), ("CLIP, BLIP", listed)], "table2")
    assert "a stage blip of equal settings" in note and "BLIP | CLIP, BLIP." in note and "run table2" in note
    assert not one_training.notes([("BLIP", mended), ("CLIP, BLIP", {**listed, "dataset": "other"})], "table2")
    larger = {**listed, "settings": {**parts, "blip": {"layers": 12, "seed": 0}}}
    assert not one_training.notes([("BLIP", mended), ("CLIP, BLIP", larger)], "table2")
    irgen = {**listed, "settings": {"encoder": {"width": 8}, "tokenizer": {"codes": 9}}, "stages": {"encoder": "e", "tokenizer": "t"}}
    assert not one_training.notes([("CLIP, BLIP", listed), ("IRGen", irgen)], "table2")


def test_committed_rows_are_of_one_version():
    folders = sorted((ROOT / "results").glob("*/runs"))
    assert len(folders) > 5
    for folder in folders:
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        assert not [note for note in one_training.notes([(each["row"], each) for each in found], "all") if "VERSION" in note], folder


def test_the_first_stage_of_two_trainings_is_named_with_its_rows():
    first, again = {"encoder": 1.0, "tokenizer": 1.0, "generator": 1.0}, {"encoder": 1.0, "tokenizer": 2.0, "generator": 2.0}
    (note,) = notes(trained("avg", first), trained("avg-beam10", again), trained("avg-beam20", first))
    assert "a stage tokenizer of equal settings was trained more than once, for beam size 10 | beam size 20, beam size 40:" in note
    assert "python -m benchmarks.run table7" in note


def test_protocols_that_share_a_stage_are_remarked_on_too():
    one, other = trained("avg", {"encoder": 1.0}), trained("avg", {"encoder": 2.0}, protocol="paper")
    found = side_by_side(table("table1"), "openmoji-scenes", [one, other]).notes
    assert [note for note in found if "for AVG (clean) | AVG (paper):" in note]
