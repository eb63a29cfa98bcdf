"""The measurements of `decoding` as Markdown, LaTeX, CSV and a figure, from the records alone."""

from __future__ import annotations

import csv as csv_format
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest import figures, on_threads, rate, ratio
from benchmarks.drawing import save, set_style
from benchmarks.render import LATEX, MARKDOWN, Style
from benchmarks.side_tables import TextTable, tables_as_latex, tables_as_markdown
from benchmarks.speed.decoding import INDEX_LABELS, LABELS, PARTS, VECTOR_LABELS
from methods.files.durable import write_atomically

TITLES = {"beams": "beams", "batch": "queries in a batch", "images": "images", "vectors": "images"}
SIDES = ("beams", "batch", "images", "vectors")
PARTIAL = ("encoder", "products", "packed")
"""What is a part of a search, drawn dashed."""
Record = Mapping[str, Any]


def write(stored: Mapping[str, Any], folder: Path) -> str:
    """Returns the name of the files, after writing the records to a folder as JSON, Markdown, LaTeX, CSV and the figure."""
    settings = stored["settings"]
    whole = tuple(settings["parts"]) == PARTS
    name = f"{settings['size']}-{settings['dtype']}" + ("" if whole else "-" + "-".join(settings["parts"]))
    texts = {"json": json.dumps(stored, indent=1) + "\n", "md": markdown(stored), "tex": latex(stored), "csv": csv(stored)}
    for ending, text in texts.items():
        write_atomically(folder / f"{name}.{ending}", text)
    figure(stored, folder, name)
    return name


def _by_value(records: Sequence[Record], varied: str) -> dict[int, dict[str, Record]]:
    """Returns the records of a part by what is varied, and then by contender."""
    found: dict[int, dict[str, Record]] = {}
    for record in records:
        if record["varied"] == varied:
            found.setdefault(record["value"], {})[record["contender"]] = record
    return found


def queries_per_second(record: Record) -> float:
    return rate(record["queries"], record["seconds"])


def told(stored: Mapping[str, Any]) -> str:
    """Returns what was measured, and on what."""
    settings = stored["settings"]
    machine = settings["gpu"] or on_threads(settings["threads"], stored["environment"]["hardware"]["cpu"])
    return (
        f"Queries per second, {settings['size']} shape with random weights, {settings['dtype']}, on {machine}; median of "
        f"{settings['rounds']} rounds in which all took turns (the slowest ran once). A caption has 20 tokens, a code 4 of 1,024."
    )


def tables_of(stored: Mapping[str, Any], style: Style) -> list[TextTable]:
    """Returns (caption, headers, body in a format) of a table for each part: queries per second, and the ratios that matter below."""
    found = []
    for varied in SIDES:
        cases = _by_value(stored["records"], varied)
        if not cases:
            continue
        fixed = next(iter(next(iter(cases.values())).values()))
        others = {"beams": fixed["beams"], "batch": fixed["batch"], "images": fixed["images"]}
        rest = ", ".join(f"{name} {count:,}" for name, count in others.items() if name != varied)
        labels = VECTOR_LABELS if varied == "vectors" else LABELS
        body = [
            [style.escape(labels[name]), *[figures(queries_per_second(case[name])) if name in case else "" for case in cases.values()]]
            for name in labels
            if any(name in case for case in cases.values())
        ]
        if varied == "vectors":
            caption = "Searching vectors of width 512, 1,000 queries at once where the way allows it"
        else:
            caption = f"By {TITLES[varied]} ({rest})"
            body += _ratios(cases, style)
        found.append((caption, [TITLES[varied], *[f"{value:,}" for value in cases]], body))
    if index := _by_value(stored["records"], "index"):
        body = [
            [style.escape(text), *[f"{case[name]['seconds'][0]:.3g}" for case in index.values()]] for name, text in INDEX_LABELS.items()
        ]
        body.append([style.reference("its size, MB"), *[f"{case['build']['bytes'] / 1e6:,.3g}" for case in index.values()]])
        headers = ["images", *[f"{value:,}" for value in index]]
        found.append(("The prefix index itself, seconds (once each, in this order)", headers, body))
    return found


def markdown(stored: Mapping[str, Any]) -> str:
    return tables_as_markdown(f"**Decoding.** {told(stored)}", tables_of(stored, MARKDOWN), [])


def latex(stored: Mapping[str, Any]) -> str:
    sentences = [(f"{caption}.", headers, body) for caption, headers, body in tables_of(stored, LATEX)]
    return tables_as_latex("decoding", sentences, [told(stored)])


def _ratios(cases: Mapping[int, Mapping[str, Record]], style: Style) -> list[list[str]]:
    lines = [
        ("ours is faster than the released path by", "released", "ours", "x"),
        ("ours is faster than transformers with cache by", "cached", "ours", "x"),
        ("the constraint costs", "ours", "free", "%"),
        ("of ours, the matrix products as PyTorch computes them are", "products", "ours", "share"),
        ("of ours, those with packed weights are", "packed", "ours", "share"),
    ]
    body = []
    for text, one, other, form in lines:
        cells = []
        for case in cases.values():
            seconds = {name: record["seconds"] for name, record in case.items()}
            found = ratio(seconds, one, other)
            if found is None:
                cells.append("")
            else:
                said = {"x": f"{found:.1f} ×", "%": f"{100 * (found - 1):+.0f} %", "share": f"{100 * found:.0f} %"}[form]
                cells.append(style.escape(said))
        body.append([style.reference(text), *cells])
    return body


def csv(stored: Mapping[str, Any]) -> str:
    stream = io.StringIO()
    writer = csv_format.writer(stream, lineterminator="\n")
    writer.writerow(
        ["varied", "value", "beams", "batch", "images", "contender", "queries", "rounds", "median_seconds", "queries_per_second"]
    )
    for record in stored["records"]:
        numbers = [len(record["seconds"]), f"{median(record['seconds']):.6f}", f"{queries_per_second(record):.4f}"]
        writer.writerow([*(record[name] for name in ("varied", "value", "beams", "batch", "images", "contender", "queries")), *numbers])
    return stream.getvalue()


def figure(stored: Mapping[str, Any], folder: Path, name: str) -> None:
    """Draws queries per second against what was varied, a panel a part, one colour and mark a contender throughout; PNG and PDF."""
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    sides = [varied for varied in SIDES if _by_value(stored["records"], varied)]
    set_style()
    rows = -(-len(sides) // 2)
    figure, grid = plt.subplots(
        rows, min(len(sides), 2), figsize=(6.2 * min(len(sides), 2), 4.4 * rows), squeeze=False, layout="constrained"
    )
    marks = "osD^vPX*h<"
    looks: dict[str, dict[str, Any]] = {}
    for labels in (LABELS, VECTOR_LABELS):
        shades = sns.color_palette("colorblind", len(labels))
        looks |= {key: {"color": shades[row], "marker": marks[row], "label": labels[key]} for row, key in enumerate(labels)}
    for axis, varied in zip(grid.flat, sides, strict=False):
        cases = _by_value(stored["records"], varied)
        for contender in (contender for contender in looks if any(contender in case for case in cases.values())):
            points = [(value, queries_per_second(case[contender])) for value, case in cases.items() if contender in case]
            line = {"linewidth": 2.4 if contender == "ours" else 1.2, "linestyle": "--" if contender in PARTIAL else "-"}
            axis.plot(*zip(*points, strict=True), markersize=5, **line, **looks[contender])
        axis.set(xscale="log", yscale="log", xlabel=TITLES[varied], ylabel="queries per second")
        axis.xaxis.set_major_locator(FixedLocator(list(cases)))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        low, high = axis.get_ylim()
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_title("vector search" if varied == "vectors" else f"decoding, by {TITLES[varied]}", loc="left")
        axis.grid(True, which="major", linewidth=0.4, alpha=0.5)
        sns.despine(ax=axis)
    for axis in list(grid.flat)[len(sides) :]:
        axis.remove()
    # a contender is named once, though it is in several panels: decoding's on the left, those of vectors on the right
    places: dict[bool, Any] = {False: "outside lower left", True: "outside lower right"}
    for vectors, place in places.items():
        panels = [axis for axis, varied in zip(figure.axes, sides, strict=True) if (varied == "vectors") == vectors]
        named = {text: handle for axis in panels for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}
        if named:
            figure.legend(named.values(), named.keys(), loc=place, ncols=1 if vectors else 2, frameon=False, fontsize="small")
    save(figure, folder, name)
