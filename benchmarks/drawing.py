"""How figures look and how they are saved: alike, and to the same bytes from the same record. Imports are inside functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 0.052
"""Least distance of two names, in heights of a panel."""


def set_style() -> None:
    """Makes figures those of a paper, whatever was drawn before in this process; text stays text in a PDF."""
    import matplotlib

    matplotlib.use("Agg")
    import seaborn as sns

    sns.set_theme(style="ticks", context="paper", rc={"pdf.fonttype": 42})


def save(figure: Figure, folder: Path, name: str) -> None:
    """Writes `name.png` and `name.pdf`, without dates, and closes the figure. An OSError names the file."""
    import matplotlib.pyplot as plt

    for ending in ("png", "pdf"):
        path = folder / f"{name}.{ending}"
        try:
            figure.savefig(path, dpi=150, metadata={"CreationDate": None} if ending == "pdf" else {"Software": None})
        except OSError as error:
            error.filename = str(path)  # a full disk names none
            raise
    plt.close(figure)


def name_ends(panel: Any, ends: Mapping[str, tuple[float, float, Any]]) -> None:
    """Writes each line's name right of the panel, as near to the height of its end as the others leave room, with a thin line to it."""
    panel.autoscale_view()
    to_axes = panel.transData + panel.transAxes.inverted()
    at = {name: to_axes.transform((x, y)) for name, (x, y, _) in ends.items()}
    heights = apart({name: float(y) for name, (_, y) in at.items()}, GAP)
    for name, (x, y) in at.items():
        colour = ends[name][2]
        panel.annotate(
            name, (x, y), xycoords="axes fraction", xytext=(1.06, heights[name]), textcoords="axes fraction", fontsize=8.5, va="center",
            color="0.1", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 5, "alpha": 0.8, "relpos": (0, 0.5)},
        )  # fmt: skip


def apart(heights: Mapping[str, float], gap: float) -> dict[str, float]:
    """Returns heights in the same order, each at least `gap` from the next and between 0 and 1 while there is room, together as near to
    the given ones as can be.

    Names that crowd form a block that stands about the mean of its own heights (the pool-adjacent-violators algorithm).
    """
    order = sorted(heights, key=lambda name: heights[name])
    # without the gaps that must lie below each, the order is all that is asked
    blocks: list[list[float]] = []
    for place, name in enumerate(order):
        blocks.append([heights[name] - place * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = [float(np.mean(block)) for block in blocks for _ in block]
    room = max(1 - (len(order) - 1) * gap, 0.0)
    return {name: min(max(height, 0.0), room) + place * gap for place, (name, height) in enumerate(zip(order, level, strict=True))}
