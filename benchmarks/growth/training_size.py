"""R@1 against the number of training scenes: the same test scenes and queries, so that differences are paired at every size.

RESULTS/DATASET/training-size.md .tex .csv .png .pdf      computed from the summaries in RESULTS/*/runs; DATASET is the usual one

Q queries.
"""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import one_training, results_folder, tables
from benchmarks.datasets import BY_TRAINING_SIZE, BY_TRAINING_SIZE_TINY, DATASETS
from benchmarks.drawing import name_ends, save, set_style
from benchmarks.estimates import Estimate, SeedHits, estimated, seed_of
from benchmarks.metrics import Outcomes, hits, same_queries
from benchmarks.options import DEFAULT_DATASET, TINY_DATASET
from benchmarks.paired import ALPHA, Comparison, compare
from benchmarks.protocol import CLEAN
from benchmarks.render import LATEX, MARKDOWN, Style
from benchmarks.side_tables import Address, TextTable, change_cell, csv_numbers, tables_as_latex, tables_as_markdown, value_cell
from benchmarks.spec import Row
from methods.files.durable import write_atomically

NAME = "training-size"
CEILING = "clip"
"""The row that others are compared with: the frozen encoder that their identifiers and sources come from."""
CSV_HEADERS = (
    "row",
    "dataset",
    "train",
    "seeds",
    "value",
    "low",
    "high",
    "seed_sd",
    "minus_clip",
    "minus_low",
    "minus_high",
    "p",
    "minus_seed_sd",
)


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What was measured; what was not is not there.

    Args:
        sizes: {data set: training scenes}.
        points, gaps: R@1 and its difference from the encoder's, by row key and data set.
        remarks: what must be said of them besides.
    """

    home: str
    sizes: Mapping[str, int]
    rows: Sequence[Row]
    points: Mapping[Address, Estimate]
    gaps: Mapping[Address, Comparison]
    remarks: Sequence[str]


def curves(sizes: Sequence[str], summaries: Sequence[Mapping[str, Any]]) -> Curves:
    """Returns R@1 of every row that was measured on two of these data sets at least, and learns from their training scenes.

    Raises:
        ValueError: if two of them were measured on different queries.
    """
    outcomes: dict[Address, dict[int, Outcomes]] = {}
    for summary in summaries:
        if not summary.get("fitted"):
            continue
        outcomes.setdefault((summary["row"], summary["dataset"]), {})[seed_of(summary)] = Outcomes.unpack(summary["outcomes"])
    rows = [row for row in tables.table("table1").rows if sum((row.key, dataset) in outcomes for dataset in sizes) > 1]
    series: dict[Address, SeedHits] = {
        (row.key, dataset): {seed: hits(one, 1, CLEAN.ties) for seed, one in outcomes[row.key, dataset].items()}
        for row in rows
        for dataset in sizes
        if (row.key, dataset) in outcomes
    }
    labels, shown = {row.key: row.label for row in rows}, [s for s in summaries if (s["row"], s["dataset"]) in series]
    clusters_Q = same_queries(NAME, ((f"{s['row']} on {s['dataset']}", s) for s in shown))
    remarks = one_training.notes([(f"{labels[s['row']]} on {s['dataset']}", s) for s in shown], NAME)
    formats = {name: {s["precision"] for s in shown if s["dataset"] == name and "precision" in s} for name in sizes}
    if len(set().union(*formats.values())) > 1:
        told = [f"{DATASETS[name]['train']:,} scenes: {' and '.join(sorted(found))}" for name, found in formats.items() if found]
        remarks.append(f"Not in one number format, since not on one machine ({'; '.join(told)}).")
    untaught = {summary["row"] for summary in summaries if not summary.get("fitted")}
    if left_out := [row.label for row in tables.table("table1").rows if row.key in untaught]:
        remarks.append(f"Measured, and left out, since nothing of them is learned from training scenes: {', '.join(left_out)}.")
    home = TINY_DATASET if TINY_DATASET in sizes else DEFAULT_DATASET
    found = Curves(home=home, sizes={name: DATASETS[name]["train"] for name in sizes}, rows=rows, points={}, gaps={}, remarks=remarks)
    if not series:
        return found
    pairs = [((row, name), (CEILING, name)) for row, name in series if row != CEILING]
    compared = compare(pairs, series, clusters_Q)
    gaps = {one: compared[one, other] for one, other in pairs if (one, other) in compared}
    return replace(found, points=estimated(series, clusters_Q), gaps=gaps)


def committed(results: Path, sizes: Sequence[str]) -> Curves:
    """Returns the curves from the summaries under a results folder, of the protocol `clean`."""
    return curves(sizes, results_folder.committed(results, sizes))


def committed_again(results: Path) -> list[Curves]:
    """Returns what a results folder holds of it."""
    return [
        committed(results, sizes)
        for home, sizes in ((DEFAULT_DATASET, BY_TRAINING_SIZE), (TINY_DATASET, BY_TRAINING_SIZE_TINY))
        if (results / home / f"{NAME}.md").exists()
    ]


def tables_of(found: Curves, style: Style) -> list[TextTable]:
    """Returns (caption, headers, body) of the two tables, their cells in a format: R@1, and the differences from the encoder."""
    headers = ["Training scenes", *[f"{count:,}" for count in found.sizes.values()]]

    values = [[style.label(row), *[value_cell(found.points.get((row.key, name)), style) for name in found.sizes]] for row in found.rows]
    gaps = [
        [style.label(row), *[change_cell(found.gaps.get((row.key, name)), style) for name in found.sizes]]
        for row in found.rows
        if row.key != CEILING
    ]
    return [("R@1 by the number of training scenes", headers, values), ("R@1 minus that of AVG's own encoder", headers, gaps)]


def notes_of(found: Curves) -> list[str]:
    return [
        f"Protocol clean; the test scenes and queries of {found.home} at every size, and each training split holds the smaller ones. The "
        "encoder is fitted on the same training scenes as what is built on it. 95 % intervals from a bootstrap over images; where ± is "
        "given, the standard deviation over seeds, and two rows are compared over the seeds that both have. *: "
        f"p < {ALPHA} (paired randomisation test over images, Holm over all of them).",
        *found.remarks,
    ]


def markdown(found: Curves) -> str:
    lead = "**Training size.** How R@1 grows with the number of training scenes."
    return tables_as_markdown(lead, tables_of(found, MARKDOWN), notes_of(found))


def latex(found: Curves) -> str:
    captioned = [(f"{caption}.", headers, body) for caption, headers, body in tables_of(found, LATEX)]
    return tables_as_latex(NAME, captioned, notes_of(found))


def csv(found: Curves) -> str:
    """Returns one line for each point."""
    stream = io.StringIO()
    writer = csv_format.writer(stream, lineterminator="\n")
    writer.writerow(CSV_HEADERS)
    for (row, name), point in found.points.items():
        writer.writerow([row, name, found.sizes[name], point.seeds, *csv_numbers(point, found.gaps.get((row, name)))])
    return stream.getvalue()


def figure(found: Curves, folder: Path) -> None:
    """Draws a line a row, with intervals, on a log axis of training scenes; each is named at its end. PNG and PDF."""
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    set_style()
    figure, panel = plt.subplots(figsize=(7, 4.2))
    figure.subplots_adjust(left=0.08, right=0.7, top=0.93, bottom=0.12)
    palette, ends = sns.color_palette("colorblind"), {}
    for shade, mark, row in zip(palette, "osD^vPX*h<", found.rows, strict=False):
        points = [(found.sizes[name], found.points[row.key, name]) for name in found.sizes if (row.key, name) in found.points]
        xs, ys = [x for x, _ in points], [point.value for _, point in points]
        bars = [[point.value - point.low for _, point in points], [point.high - point.value for _, point in points]]
        dashes = "-" if row.kind == "compared" else "--"
        panel.errorbar(
            xs, ys, yerr=bars, color=shade, marker=mark, linestyle=dashes, markersize=5, linewidth=1.4, elinewidth=0.8, capsize=2
        )
        ends[row.label] = (xs[-1], ys[-1], shade)
    panel.set(xscale="log", xlabel="training scenes", ylim=(0, None))
    panel.set_title("R@1 on the same 1,000 test scenes" if found.home == DEFAULT_DATASET else "R@1 on the same test scenes", loc="left")
    panel.xaxis.set_major_locator(FixedLocator(sorted({found.sizes[name] for _, name in found.points})))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    panel.grid(True, which="major", linewidth=0.4, alpha=0.5)
    sns.despine(ax=panel)
    name_ends(panel, ends)
    save(figure, folder, NAME)


def write(found: Curves, results: Path) -> Path:
    """Returns where it stands, without an ending, after writing tables and figure in all formats."""
    folder = results_folder.writable(results / found.home)
    for ending, text in (("md", markdown(found)), ("tex", latex(found)), ("csv", csv(found))):
        write_atomically(folder / f"{NAME}.{ending}", text)
    figure(found, folder)
    return folder / NAME
