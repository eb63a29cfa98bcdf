"""Numbers of README and findings that were copied from result files, beside those files."""

from __future__ import annotations

import csv
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "openmoji-scenes"
ROWS = {
    "AVG": "avg",
    "IRGen": "irgen",
    "GRACE, semantic": "grace-semantic",
    "GRACE, structured": "grace-structured",
    "GRACE, numbers": "grace-numeric",
    "GRACE, strings": "grace-string",
    "CLIP": "clip",
    "the common encoder (CLIP)": "clip",
}


def cells_after(document: str, header: str) -> dict[str, list[str]]:
    """Returns {first cell: other cells} of the Markdown table whose header is this line."""
    _, found, rest = (ROOT / document).read_text().partition(f"\n{header}\n")
    assert found, header
    rows = [line.strip("| ").split("|") for line in rest.partition("\n\n")[0].splitlines()[1:]]
    return {first.strip(): [cell.strip() for cell in cells] for first, *cells in rows}


def values(name: str, column: str, folder: Path = RESULTS) -> dict[tuple[str, str], str]:
    """Returns {(row, what stands in a column): R@1 as it is printed} of a CSV file."""
    with (folder / name).open() as file:
        return {(line["row"], line[column]): f"{float(line['value']):.1f}" for line in csv.DictReader(file) if line["value"]}


def test_the_readme_shows_the_committed_table_1():
    block = re.search("<!-- table1 -->(.*)<!-- /table1 -->", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    shown = [line for line in block[1].splitlines() if line.startswith("|")]
    committed = (RESULTS / "table1.md").read_text().splitlines()
    assert shown == [line for line in committed if line.startswith("|")]


def test_the_readme_tells_the_committed_protocols():
    found = values("protocols.csv", "protocol")
    names = {
        "clean": "clean",
        "paper": "paper",
        "official": "official",
        "clean, but pseudo-queries of test images are trained on": "clean+exposure",
        "clean, but checkpoints are chosen on test": "clean+test-selection",
    }
    rows = cells_after("README.md", f"| | {' | '.join(names)} |")
    assert len(rows) > 3
    for label, cells in rows.items():
        assert cells == [found.get((ROWS[label], name), "missing") for name in names.values()], label


def test_the_findings_tell_the_committed_training_sizes():
    scenes = ["2,500", "5,000", "10,000", "29,000"]
    found = values("training-size.csv", "train")
    rows = cells_after("docs/findings.md", f"| training scenes | {' | '.join(scenes)} |")
    for label in rows.keys() & ROWS.keys():
        assert rows[label] == [found.get((ROWS[label], size.replace(",", "")), "") for size in scenes], label
    assert len(rows.keys() & ROWS.keys()) > 3


def test_the_findings_tell_the_committed_table_1_of_both_galleries():
    rows = cells_after("docs/findings.md", "| | 1,000 images | 5,000 images |")
    galleries = [values("table1.csv", "column", ROOT / "results" / name) for name in ("openmoji-scenes", "openmoji-scenes-5k")]
    assert rows.keys() >= ROWS.keys() - {"the common encoder (CLIP)"}
    for label in rows.keys() & ROWS.keys():
        assert rows[label][:2] == [found.get((ROWS[label], "R@1"), "missing") for found in galleries], label


def test_the_findings_tell_the_committed_speed_at_full_size():
    with (RESULTS / "figure4-full-size.csv").open() as file:
        points = [line for line in csv.DictReader(file) if (line["images"], line["gallery"]) == ("300000", "random")]
    measured = {(line["series"], line["batch"]): float(line["queries_per_second"]) for line in points}
    series = {
        "CLIP, HNSW": "clip-hnsw",
        "CLIP, one matrix product": "clip-matrix",
        "CLIP as the paper timed it": "clip-paper",
        **{f"AVG, beam {beam}": f"avg-beam{beam}" for beam in (10, 20, 40)},
    }
    rows = cells_after("docs/findings.md", "| | one at a time | 32 at once |")
    assert rows.keys() == series.keys()
    for label, cells in rows.items():
        for batch, cell in zip(("1", "32"), cells, strict=True):
            found = measured.get((series[label], batch))
            assert cell == ("-" if found is None else f"{found:.1f}" if found > 1 else f"{found:.2f}"), label
