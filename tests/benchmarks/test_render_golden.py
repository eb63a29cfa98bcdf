"""Rendered bytes of hand-made summaries. After a wanted change: `python tests/benchmarks/test_render_golden.py` writes them anew."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import render
from benchmarks.grid import Grid, build_grid
from benchmarks.metrics import Outcomes
from benchmarks.tables import table

GOLDEN = Path(__file__).parent / "golden"
FAILURES = {("openmoji-scenes-5k", "grace-numeric"): "runs/grace_numeric & co.log"}
DATASETS = ("openmoji-scenes", "openmoji-scenes-5k")
FORMATS = {"md": render.markdown, "tex": render.latex, "csv": render.csv}


def summary(row: str, shift: float, dataset: str = "openmoji-scenes", seed: int = 0, images: int = 40, depth: int = 10) -> dict[str, Any]:
    """Returns a summary whose targets stand the deeper the greater the shift."""
    rng = np.random.default_rng((images, seed, round(100 * shift)))
    before = np.clip(np.round(rng.normal(scale=3, size=5 * images) + shift), 0, images - 1).astype(np.int32)
    one = np.ones_like(before)
    outcomes = Outcomes(before, one, before, one - 1, np.repeat(np.arange(images, dtype=np.int32), 5), depth)
    return {
        "format": 1, "table": "table1", "row": row, "method": row, "dataset": dataset, "split": "test", "protocol": "clean", "seed": seed,
        "knobs": {"beam": depth if depth < 10 else 40}, "exposure": "image-to-id" if "grace" in row else "none",
        "precision": "bf16", "images": images, "queries": 5 * images, "outcomes": outcomes.pack(),
        "data": {"duplicates": {"captions": 0.0042, "images": 0.008, "pictures": 0.0}},
    }  # fmt: skip


def make_summaries() -> list[dict[str, Any]]:
    return [
        summary("avg", 1.0, seed=0),
        summary("avg", 1.0, seed=1),
        summary("irgen", 5.0),
        summary("grace-string", 60.0),
        summary("clip", 0.0),
        summary("avg", 2.0, dataset="openmoji-scenes-5k", images=50, depth=5),
        summary("irgen", 2.0, dataset="openmoji-scenes-5k", images=50),
    ]


def golden_grid(datasets: tuple[str, ...] = DATASETS) -> Grid:
    return build_grid(table("table1"), datasets, json.loads((GOLDEN / "summaries.json").read_text()), FAILURES)


@pytest.mark.parametrize("ending", FORMATS)
def test_rendered_bytes(ending):
    assert FORMATS[ending](golden_grid()).encode() == (GOLDEN / f"table1.{ending}").read_bytes()


def cells_of(grid: Grid, dataset: str, row: str):
    group = next(group for group in grid.groups if group.dataset == dataset)
    return next(line for line in group.lines if line.row.key == row).cells


def test_states_of_cells():
    grid = golden_grid()
    assert [cell.state for cell in cells_of(grid, "openmoji-scenes", "grace-semantic")] == ["missing"] * 3
    assert [cell.state for cell in cells_of(grid, "openmoji-scenes-5k", "grace-numeric")] == ["failed"] * 3
    assert [cell.state for cell in cells_of(grid, "openmoji-scenes-5k", "avg")] == ["measured", "measured", "inapplicable"]
    zero = cells_of(grid, "openmoji-scenes", "grace-string")[0]
    assert (zero.state, zero.value) == ("measured", 0), "zero is a measurement"
    assert FAILURES["openmoji-scenes-5k", "grace-numeric"] in " ".join(grid.groups[1].notes)


def test_reported_numbers_stand_beside_the_pool_size_they_belong_to():
    grid = golden_grid()
    assert [cell.reported for cell in cells_of(grid, "openmoji-scenes", "avg")] == [62.8, 85.4, 91.2]
    assert [cell.reported for cell in cells_of(grid, "openmoji-scenes-5k", "avg")] == [31.3, 58.0, 66.5]
    assert [cell.reported for cell in cells_of(grid, "openmoji-scenes", "clip")] == [None] * 3


def test_references_take_no_part_in_bold_or_star():
    grid = golden_grid()
    clip, avg, irgen = (cells_of(grid, "openmoji-scenes", row)[0] for row in ("clip", "avg", "irgen"))
    assert clip.value > avg.value > irgen.value
    assert (clip.bold, clip.star) == (False, False)
    assert (avg.bold, avg.star) == (True, True)
    assert (irgen.bold, irgen.star) == (False, False)


def equal_rows(shares: dict[str, float], queries: int = 5000) -> Grid:
    """Returns a grid of rows that find the given share of the same queries at rank 1."""
    summaries = []
    for row, share in shares.items():
        before = np.where(np.arange(queries) < round(share * queries), 0, 20).astype(np.int32)
        zero = np.zeros_like(before)
        outcomes = Outcomes(before, zero + 1, before, zero, np.repeat(np.arange(queries // 5, dtype=np.int32), 5), 10)
        summaries.append({**summary(row, 0.0), "outcomes": outcomes.pack(), "queries": queries})
    return build_grid(table("table1"), DATASETS[:1], summaries)


def test_all_ties_at_printed_precision_are_bold_and_none_is_starred():
    grid = equal_rows({"avg": 0.6282, "irgen": 0.6280, "grace-string": 0.6270})
    cells = {row: cells_of(grid, "openmoji-scenes", row)[0] for row in ("avg", "irgen", "grace-string")}
    assert [cells[row].bold for row in cells] == [True, True, False]
    assert not any(cell.star for cell in cells.values())


def test_mean_and_deviation_over_seeds():
    grid = golden_grid()
    values = [
        build_grid(table("table1"), DATASETS[:1], [summary("avg", 1.0, seed=seed)]).groups[0].lines[5].cells[0].value for seed in (0, 1)
    ]
    cell = cells_of(grid, "openmoji-scenes", "avg")[0]
    assert cell.value == pytest.approx(np.mean(values))
    assert cell.spread == pytest.approx(np.std(values, ddof=1)) and cell.spread > 0
    assert f"± {cell.spread:.1f}".replace(" ", "\N{NO-BREAK SPACE}") in render.markdown(grid)


def test_order_of_summaries_does_not_matter():
    summaries = make_summaries()
    forth, back = (render.markdown(build_grid(table("table1"), DATASETS, order)) for order in (summaries, summaries[::-1]))
    assert forth == back


def test_nothing_measured_yet():
    grid = build_grid(table("table1"), DATASETS[:1], [])
    assert {cell.state for line in grid.groups[0].lines for cell in line.cells} == {"missing"}
    assert {verdict.word for verdict in grid.groups[0].verdicts} == {"missing"}
    assert all(form(grid) for form in FORMATS.values())


def test_rows_measured_on_different_queries_cannot_be_compared():
    with pytest.raises(ValueError, match="different queries"):
        build_grid(table("table1"), DATASETS[:1], [summary("avg", 1.0), summary("irgen", 1.0, images=41)])


def test_a_table_is_scored_by_the_tie_rule_of_its_one_protocol():
    zero = np.zeros(10, np.int32)
    tied = Outcomes(zero, zero + 2, zero, zero, np.arange(10, dtype=np.int32), 10).pack()
    clean, official = ({**summary("avg", 0.0), "outcomes": tied, "protocol": name} for name in ("clean", "official"))
    for measured, value in ((clean, 50), (official, 100)):
        assert cells_of(build_grid(table("table1"), DATASETS[:1], [measured]), "openmoji-scenes", "avg")[0].value == value
    with pytest.raises(ValueError, match="summaries of several protocols cannot stand in one table"):
        build_grid(table("table1"), DATASETS[:1], [clean, {**official, "row": "irgen"}])


def test_markdown_rows_have_one_width():
    blocks = re.findall(r"(?:^\|.*\n)+", render.markdown(golden_grid()), flags=re.M)
    assert len(blocks) == 3, "the table, and the verdicts of two data sets"
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_latex_is_balanced():
    text = render.latex(golden_grid())
    bare = re.sub(r"\\[\\{}&%$#_]", "", text)
    depth = np.cumsum([(letter == "{") - (letter == "}") for letter in bare])
    assert depth[-1] == 0 and depth.min() >= 0
    assert bare.count("$") % 2 == 0
    for environment in ("table", "tabular"):
        assert text.count(f"\\begin{{{environment}}}") == text.count(f"\\end{{{environment}}}") == 2
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, flags=re.S):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 3
        for line in rows:
            spanned = re.match(r"\\multicolumn\{(\d+)\}", line)
            assert (int(spanned[1]) if spanned else len(re.findall(r"(?<!\\)&", line)) + 1) == len(columns)
    assert text.isascii(), "a minimal document has no input encoding to rely on"


def test_csv_has_one_line_for_each_cell():
    lines = list(csv.DictReader(io.StringIO(render.csv(golden_grid()))))
    assert len(lines) == 2 * 9 * 3
    avg = next(line for line in lines if (line["dataset"], line["row"], line["column"]) == ("openmoji-scenes-5k", "avg", "R@10"))
    assert (avg["state"], avg["value"], avg["paper"]) == ("inapplicable", "", "66.5")


def test_rendering_a_full_table_is_quick():
    rows = table("table1").rows
    summaries = [summary(row.key, 1.0 + number, images=1000) for number, row in enumerate(rows)]
    start = time.perf_counter()
    grid = build_grid(table("table1"), DATASETS[:1], summaries)
    for form in FORMATS.values():
        form(grid)
    assert time.perf_counter() - start < 5, "half a second on an idle core"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "summaries.json").write_text(json.dumps(make_summaries(), indent=1) + "\n")
    for ending, form in FORMATS.items():
        (GOLDEN / f"table1.{ending}").write_bytes(form(golden_grid()).encode())
