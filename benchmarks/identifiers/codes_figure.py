"""The identifier report as a figure: use of the levels, what the first vokens keep, who shares prefixes; a colour and a mark a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.drawing import save, set_style
from benchmarks.identifiers.codes import SHARED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 10
MARKS = "osD^vPX*hp<>"
KINDS = dict(zip(SHARED, ("|", "s", "o", "D"), strict=True))
"""Marks of those with whom an image's prefix is compared."""


def figure(stored: Mapping[str, Any], folder: Path, name: str) -> None:
    """Draws a record as `name.png` and `name.pdf`: coverage and perplexity by level, cosine by vokens, shared tokens by row."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    rows = stored["rows"]
    set_style()
    figure, ((coverage, perplexity), (cosine, prefix)) = plt.subplots(2, 2, figsize=(11, 7.4), layout="constrained")
    shades = sns.color_palette("colorblind", len(rows))
    longest = max(sum(level["level"] != "all" for level in row["levels"]) for row in rows)
    looks = {row["row"]: {"color": shades[place], "marker": MARKS[place % len(MARKS)]} for place, row in enumerate(rows)}
    for axis, what, title in ((coverage, "coverage", "share of a level's tokens in use"), (perplexity, "perplexity", "perplexity")):
        for row in rows:
            levels = [level for level in row["levels"] if level["level"] != "all"][:LEVELS]
            values = [level["split"][what] for level in levels]
            axis.plot(range(1, len(values) + 1), values, markersize=5, linewidth=1.4, label=row["label"], **looks[row["row"]])
        axis.set(xlabel=f"level, the first {LEVELS}" if longest > LEVELS else "level", ylabel=f"{title}, {stored['split']}")
        axis.set_title(f"{what}", loc="left")
    coverage.set_ylim(0, 1.05)
    perplexity.set_yscale("log")
    _plain_numbers(perplexity)
    _cosines(cosine, rows, looks)
    _prefixes(prefix, rows, stored["split"])
    for axis in (coverage, perplexity, cosine):
        axis.xaxis.get_major_locator().set_params(integer=True)
    for axis in figure.axes:
        axis.grid(True, which="major", linewidth=0.4, alpha=0.5)
        sns.despine(ax=axis)
    figure.legend(*coverage.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(rows), 6), frameon=False)
    save(figure, folder, name)


def _cosines(axis: Axes, rows: Sequence[Mapping[str, Any]], looks: Mapping[str, Mapping[str, Any]]) -> None:
    told = [row for row in rows if row["cosines"]]
    for row in told:
        for of, line in (("picture", "-"), ("captions", "--")):
            values = [each[of] for each in row["cosines"]]
            axis.plot(range(len(values)), values, linestyle=line, markersize=5, linewidth=1.4, **looks[row["row"]])
    axis.set(xlabel="vokens decoded", ylabel="mean cosine")
    axis.set_title("decoded vokens with the picture (solid), its captions (dashed)", loc="left")
    if not told:
        axis.text(0.5, 0.5, "these identifiers decode to nothing", ha="center", va="center", transform=axis.transAxes)


def _prefixes(axis: Axes, rows: Sequence[Mapping[str, Any]], split: str) -> None:
    """A line a row, from random pairs to nearest pictures: the mean number of leading tokens two images have in common."""
    for place, row in enumerate(rows):
        means = {kind: sum(row["shared"][kind]) for kind in KINDS}
        axis.plot([min(means.values()), max(means.values())], [place, place], color="0.75", linewidth=2, zorder=1)
        for kind, mark in KINDS.items():
            filled = "0.15" if kind == "nearest" else "white"
            size = 11 if mark == "|" else 6
            axis.plot(
                means[kind], place, marker=mark, markersize=size, color="0.15", markerfacecolor=filled, markeredgewidth=1.4, linestyle="",
                label="" if place else SHARED[kind],
            )  # fmt: skip
    axis.set_yticks(range(len(rows)), [row["label"] for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    # captions as identifiers share ten times as much as the rest, chance shares nothing: neither may hide the others
    axis.set_xscale("symlog", linthresh=0.1)
    axis.set_xlim(-0.005, 1.6 * max(1.0, *(sum(row["shared"]["nearest"]) for row in rows)))
    _plain_numbers(axis, "x")
    axis.set(xlabel=f"mean number of leading tokens shared, {split}")
    axis.set_title("leading tokens that two images share", loc="left")
    axis.legend(loc="best", fontsize="small", frameon=True)


def _plain_numbers(axis: Axes, which: str = "y") -> None:
    from matplotlib.ticker import FuncFormatter

    getattr(axis, f"{which}axis").set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
