"""Figure 4: queries per second against the size of the gallery, on log axes, each line named at its end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drawing import name_ends, save, set_style
from benchmarks.speed.efficiency import BATCHES, chosen

LOOKS = {
    # series: (colour of seaborn's colourblind palette, mark, dashes); one paradigm, one colour
    "clip-paper": (0, "v", (1, 1)),
    "clip-matrix": (0, "s", ()),
    "clip-flat": (0, "o", (4, 1.5)),
    "clip-hnsw": (0, "^", (6, 1.5, 1, 1.5)),
    "clip-ivfpq": (0, "D", (2, 2)),
    "avg-beam10": (3, "p", ()),
    "avg-beam20": (3, "h", (4, 1.5)),
    "avg-beam40": (3, "d", (6, 1.5, 1, 1.5)),
    "avg-clip": (4, "P", (2, 2)),
    "grace-structured": (1, "X", ()),
    "clip-blip": (7, "<", (4, 1.5)),
    "blip-rerank": (7, ">", (2, 2)),
    "blip-pairs": (7, "*", (1, 1)),
}
Series = tuple[str, Mapping[int, Mapping[str, Any]]]
"""The key of a series, and its points by number of images."""
NAMES = {
    "clip-paper": "CLIP, paper's way",
    "clip-matrix": "CLIP, matrix product",
    "clip-flat": "CLIP, FAISS flat",
    "clip-hnsw": "CLIP, HNSW",
    "clip-ivfpq": "CLIP, IVF-PQ",
    "avg-beam10": "AVG, beam 10",
    "avg-beam20": "AVG, beam 20",
    "avg-beam40": "AVG, beam 40",
    "avg-clip": "AVG 40, then CLIP",
    "grace-structured": "GRACE, beam 10",
    "clip-blip": "CLIP, then BLIP on 128",
    "blip-rerank": "BLIP on 128",
    "blip-pairs": "BLIP, every pair",
}
GREY = (0.35, 0.35, 0.35)
COMPARED = ("clip-hnsw", "clip-ivfpq", "avg-beam10", "avg-beam40", "grace-structured")
"""Of which random and clustered galleries are drawn in one panel."""


def draw(stored: Mapping[str, Any], folder: Path, name: str) -> None:
    """Draws whole queries one at a time and in batches, search alone, and what clusters change; PNG and PDF."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    one, many = (chosen(stored, "random", batch) for batch in BATCHES)
    clustered = chosen(stored, "clustered", 1)
    set_style()
    figure, grid = plt.subplots(2, 2, figsize=(14, 9.6))
    figure.subplots_adjust(left=0.055, right=0.855, top=0.96, bottom=0.055, hspace=0.22, wspace=0.58)
    panels = list(grid.flat)
    _lines(panels[0], {NAMES[key]: (key, points) for key, points in one.items()}, "queries_per_second")
    panels[0].set(title="Text encoding and search, one query at a time", ylabel="queries per second")
    _lines(panels[1], {NAMES[key]: (key, points) for key, points in many.items()}, "queries_per_second")
    panels[1].set(title=f"Text encoding and search, {BATCHES[1]} queries at once", ylabel="queries per second")
    timed = {key: points for key, points in one.items() if not next(iter(points.values()))["extrapolated"]}
    levels = _readings(timed, stored["settings"]["full_size"])
    _lines(panels[2], {NAMES[key]: (key, points) for key, points in timed.items()}, "search_ms", band="search_p95_ms", levels=levels)
    barred = any(point["search_p95_ms"] is not None for points in timed.values() for point in points.values())
    bars = ", and bars up to the 95th percentile" if barred else ""
    panels[2].set(title=f"Search alone, one query: median{bars}", ylabel="milliseconds")
    compared = [key for key in COMPARED if key in clustered and key in one]
    both = {NAMES[key]: (key, one[key]) for key in compared}
    both |= {f"{NAMES[key]}, clustered": (key, clustered[key]) for key in compared}
    _lines(panels[3], both, "queries_per_second", pale={NAMES[key] for key in compared})
    panels[3].set(title="Random galleries (pale) and clustered ones, one query at a time", ylabel="queries per second")
    for panel in panels:
        panel.title.set(fontsize=10.5, ha="left", x=0)
        panel.grid(True, which="major", linewidth=0.4, alpha=0.5)
        sns.despine(ax=panel)
    save(figure, folder, name)


def _readings(timed: Mapping[str, Mapping[int, Mapping[str, Any]]], full_size: bool) -> dict[str, float]:
    """Returns {what reads captions: milliseconds, the median}: one tower for all; at full size generators read for themselves."""
    readers = {"CLIP encodes text": ("clip-",), "T5 encodes text": ("avg-beam", "grace-")} if full_size else {"text encoding": ("",)}
    taken = {
        reader: [point["encode_ms"] for name, points in timed.items() if name.startswith(begin) for point in points.values()]
        for reader, begin in readers.items()
    }
    return {reader: float(np.median(times)) for reader, times in taken.items() if times}


def _lines(
    panel: Any, series: Mapping[str, Series], value: str, band: str = "", pale: Collection[str] = (),
    levels: Mapping[str, float] | None = None,
) -> None:  # fmt: skip
    """Draws a line of each series, {its name: (its key, its points)}, and one at each level, and names them at their ends."""
    import seaborn as sns
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    palette = sns.color_palette("colorblind")
    ends = {}
    for name, (key, points) in series.items():
        shade, mark, dashes = LOOKS[key]
        xs, ys = list(points), [point[value] for point in points.values()]
        hollow = next(iter(points.values()))["extrapolated"] or name in pale
        look = {"color": palette[shade], "marker": mark, "markersize": 5.5, "linewidth": 1.4, "alpha": 0.5 if name in pale else 1.0}
        panel.plot(xs, ys, dashes=dashes or (None, None), markerfacecolor="white" if hollow else palette[shade], **look)
        if band:
            raised = [(x, y, points[x][band] - y) for x, y in zip(xs, ys, strict=True) if points[x][band] is not None]
            if raised:
                at, low, up = zip(*raised, strict=True)
                panel.errorbar(
                    at,
                    low,
                    yerr=[[0] * len(up), [max(0.0, each) for each in up]],
                    fmt="none",
                    ecolor=palette[shade],
                    elinewidth=0.8,
                    capsize=2,
                )
        ends[name] = (xs[-1], ys[-1], palette[shade])
    panel.set(xscale="log", yscale="log", xlabel="images in the gallery")
    sizes = sorted({images for _, points in series.values() for images in points})
    for name, level in (levels or {}).items():
        panel.axhline(level, color=GREY, linewidth=0.8)
        ends[f"{name}: {level:.3g} ms"] = (sizes[-1], level, GREY)
    panel.xaxis.set_major_locator(FixedLocator(sizes))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda images, _: _short(images)))
    low, high = panel.get_ylim()
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,), numticks=20))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.10g}"))
    name_ends(panel, ends)


def _short(images: float) -> str:
    return f"{images / 1e6:g} M" if images >= 1e6 else f"{images / 1e3:g} k" if images >= 1e3 else f"{images:g}"
