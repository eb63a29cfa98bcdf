"""Where the data are the paper's, each cell says how near it comes. After a wanted change: `python tests/benchmarks/test_closeness.py`."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import render
from benchmarks.grid import Grid, build_grid
from benchmarks.metrics import Outcomes
from benchmarks.tables import table
from benchmarks.verdicts import closeness

GOLDEN = Path(__file__).parent / "golden"
FORMATS = {"md": render.markdown, "tex": render.latex, "csv": render.csv}
ROWS = ("irgen", "avg", "clip")
TABLE1 = replace(table("table1"), rows=tuple(row for row in table("table1").rows if row.key in ROWS), claims=table("table1").claims[:1])


def summary(row: str, shares: tuple[float, float, float], dataset: str = "flickr30k", **changes: Any) -> dict[str, Any]:
    """Returns a summary of 5,000 queries whose R@1, R@5 and R@10 are the given percentages."""
    images = 1000
    within = np.cumsum([0, *np.diff([0, *[round(share * 50) for share in shares]])])
    before = np.full(5 * images, 20, np.int32)
    for place, rank in enumerate((0, 3, 7)):
        before[within[place] : within[place + 1]] = rank
    before = np.random.default_rng(0).permutation(before)
    zero = np.zeros_like(before)
    outcomes = Outcomes(before, zero + 1, before, zero, np.repeat(np.arange(images, dtype=np.int32), 5), 10)
    return {
        "format": 1, "table": "table1", "row": row, "method": row, "dataset": dataset, "split": "test", "protocol": "clean", "seed": 0,
        "knobs": {"beam": 40}, "exposure": "none", "precision": "bf16", "images": images, "queries": 5 * images,
        "outcomes": outcomes.pack(), "data": {"duplicates": {"captions": 0.0012, "images": 0.002, "pictures": None}, "as_published": True},
        **changes,
    }  # fmt: skip


def grid_of(*summaries: dict[str, Any], dataset: str = "flickr30k") -> Grid:
    return build_grid(TABLE1, (dataset,), summaries)


def golden_grid() -> Grid:
    # The paper has 49.0 / 68.9 / 72.5 and 62.8 / 85.4 / 91.2.
    return grid_of(summary("irgen", (49.2, 69.8, 75.0)), summary("avg", (62.5, 84.4, 90.1)), summary("clip", (58.78, 83.56, 90.02)))


def found(grid: Grid, row: str) -> list[str | None]:
    return [cell.closeness for line in grid.groups[0].lines if line.row.key == row for cell in line.cells]


@pytest.mark.parametrize("ending", FORMATS)
def test_rendered_bytes(ending):
    assert FORMATS[ending](golden_grid()).encode() == (GOLDEN / f"closeness.{ending}").read_bytes()


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (62.8, "match"),
        (62.5, "match"),
        (63.1, "match"),
        (62.49, "near"),
        (63.8, "near"),
        (61.8, "near"),
        (61.79, "differs"),
        (0.0, "differs"),
    ],
)
def test_the_bounds_belong_to_the_better_word(value, word):
    assert closeness(value, 62.8) == word


def test_cells_are_judged_one_by_one_and_only_beside_a_number_of_the_paper():
    grid = golden_grid()
    assert found(grid, "irgen") == ["match", "near", "differs"]
    assert found(grid, "avg") == ["match", "near", "differs"]
    assert found(grid, "clip") == [None, None, None]
    assert "49.0 match" in render.markdown(grid).replace("\N{NO-BREAK SPACE}", " ")
    assert [line["verdict"] for line in csv.DictReader(io.StringIO(render.csv(grid)))][:3] == ["match", "near", "differs"]
    note = grid.groups[0].notes[1]
    assert "within 0.3 points" in note and "The protocol clean is not the paper's" in note


@pytest.mark.parametrize(
    ("changes", "dataset", "note"),
    [
        ({"data": {"as_published": False}}, "flickr30k", "the test split here is not the published one"),
        ({"data": {}}, "flickr30k-entities", "the test split here is not the published one"),
        ({"split": "val"}, "flickr30k", "these are of the split val"),
        ({}, "openmoji-scenes", "other data and so not comparable"),
        ({}, "mine", "other data and so not comparable"),
    ],
)
def test_other_data_of_the_same_name_are_context_only(changes, dataset, note):
    grid = grid_of(summary("avg", (62.8, 85.4, 91.2), dataset, **changes), dataset=dataset)
    assert found(grid, "avg") == [None] * 3
    assert [cell.reported for line in grid.groups[0].lines if line.row.key == "avg" for cell in line.cells] == [62.8, 85.4, 91.2]
    assert re.search(note, " ".join(grid.groups[0].notes))


SMALL, LARGE = {"encoder": {"model": ""}}, {"encoder": {"model": "ViT-L-14"}, "generator": {"backbone": "google-t5/t5-base"}}


@pytest.mark.parametrize("settings", [SMALL, {**LARGE, "generator": {"backbone": ""}}, {"model": ""}, {"blip": {"model": ""}}])
def test_small_models_are_not_judged_by_the_papers_numbers(settings):
    grid = grid_of(summary("avg", (62.8, 85.4, 91.2), settings=settings))
    assert found(grid, "avg") == [None] * 3
    note = grid.groups[0].notes[1]
    assert note.endswith("these are of this suite's small models (--settings paper-size has the paper's), so that they are context only.")


def test_a_row_of_small_models_beside_others_is_named():
    grid = grid_of(summary("avg", (62.8, 85.4, 91.2), settings=LARGE), summary("irgen", (49.0, 68.9, 72.5), settings=SMALL))
    assert (found(grid, "avg"), found(grid, "irgen")) == (["match"] * 3, [None] * 3)
    assert (
        grid.groups[0]
        .notes[1]
        .endswith("Context only beside what is of this suite's small models (--settings paper-size has the paper's): IRGen.")
    )


def test_coco_and_its_cut_are_the_papers():
    for dataset in ("mscoco-5k", "mscoco-5k-five-captions"):
        assert found(grid_of(summary("avg", (31.3, 57.5, 60.0), dataset), dataset=dataset), "avg") == ["match", "near", "differs"]


@pytest.mark.parametrize(
    ("dataset", "judged", "note"),
    [
        ("flickr30k", ["match", "near", "differs"], "its numbers on this data. Match"),
        ("flickr30k-entities", [None] * 3, "its numbers on Flickr30K, of which this is another split and so not comparable."),
        ("openmoji-scenes", [None] * 3, "its numbers on Flickr30K, other data and so not comparable."),
    ],
)
def test_references_are_published_for_one_split_of_flickr30k(dataset, judged, note):
    row = "vit-b-32-quickgelu-openai"
    grid = build_grid(table("references"), (dataset,), [summary(row, (58.78, 83.0, 88.0), dataset)])
    assert found(grid, row) == judged
    assert [cell.reported for cell in grid.groups[0].lines[0].cells] == [58.78, 83.56, 90.02]
    assert note in grid.groups[0].notes[-1]


def test_table_1_is_the_papers_on_both_splits_of_flickr30k():
    for dataset in ("flickr30k", "flickr30k-entities"):
        assert found(grid_of(summary("avg", (62.8, 84.4, 90.1), dataset), dataset=dataset), "avg") == ["match", "near", "differs"]


def test_what_is_not_measured_is_not_judged():
    grid = grid_of(summary("avg", (62.8, 85.4, 91.2)))
    assert found(grid, "irgen") == [None] * 3
    assert found(build_grid(TABLE1, ("flickr30k",), []), "avg") == [None] * 3


if __name__ == "__main__":
    for ending, form in FORMATS.items():
        (GOLDEN / f"closeness.{ending}").write_bytes(form(golden_grid()).encode())
