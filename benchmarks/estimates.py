"""Recall of rows under several conditions, each with its interval and its difference from another: the cells of tables side by side.

Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.claims import Comparison
from benchmarks.grid import printed
from benchmarks.render import LATEX, MARKDOWN, Style, latex_float, latex_row
from benchmarks.statistics import SEED, intervals, seed_spread

Address = tuple[str, str]
"""Row key and condition."""
TextTable = tuple[str, list[str], list[list[str]]]
"""Caption, headers and body, its cells in a format."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Recall in percent: mean over seeds, interval, spread over seeds, and how it differs from what it is compared with."""

    value: float
    low: float
    high: float
    spread: float | None
    seeds: int
    change: Comparison | None

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """Value, interval and spread; difference, its interval and p: a line of a CSV."""
        change = self.change
        return (
            self.value, self.low, self.high, self.spread,
            *((change.difference, change.low, change.high, change.p) if change else (None,) * 4),
        )  # fmt: skip


def entries(
    hits_of: Mapping[Address, Sequence[np.ndarray]], clusters_Q: np.ndarray, changes: Mapping[Address, Comparison]
) -> dict[Address, Entry]:
    """Returns an entry of each address.

    Args:
        hits_of: hits (Q,) of each seed.
        clusters_Q: the image of each query.
    """
    if not hits_of:
        return {}
    means = {address: np.mean(seeds, axis=0) for address, seeds in hits_of.items()}
    bounds_S2 = intervals(np.stack(list(means.values())), clusters_Q, np.random.default_rng(SEED))
    found = {}
    for (address, seeds), (low, high) in zip(hits_of.items(), bounds_S2, strict=True):
        value, low, high = (round(100 * float(share), 6) for share in (means[address].mean(), low, high))
        spread = seed_spread([100 * float(each.mean()) for each in seeds])
        found[address] = Entry(value=value, low=low, high=high, spread=spread, seeds=len(seeds), change=changes.get(address))
    return found


def value_cell(entry: Entry | None, style: Style) -> str:
    if entry is None:
        return "missing"
    spread = "" if entry.spread is None else f" ±{style.tie}{printed(entry.spread)}"
    interval = style.escape(f"[{printed(entry.low)},{style.tie}{printed(entry.high)}]")
    return style.stacked(style.escape(f"{printed(entry.value)}{spread}"), interval)


def change_cell(entry: Entry | None, style: Style) -> str:
    if entry is None or entry.change is None:
        return "missing"
    change = entry.change
    star = style.star if change.direction else ""
    interval = style.escape(f"[{change.low:+.1f},{style.tie}{change.high:+.1f}]")
    return style.stacked(style.escape(f"{change.difference:+.1f}") + star, interval)


def tables_as_markdown(lead: str, tables: Sequence[TextTable], notes: Sequence[str]) -> str:
    """Returns tables that have a body, first among them what they are about, below them their notes. The notes are plain text."""
    from tabulate import tabulate

    parts = [lead]
    for caption, headers, body in tables:
        if body:
            align = ["left", *["right"] * (len(headers) - 1)]
            parts += [f"{MARKDOWN.escape(caption)}:", tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True)]
    return "\n\n".join(parts + [MARKDOWN.escape(note) for note in notes]) + "\n"


def tables_as_latex(name: str, tables: Sequence[TextTable], notes: Sequence[str]) -> str:
    """Returns floats of the tables that have a body, labelled `tab:NAME-1` and so on, with the notes in the first."""
    floats: list[str] = []
    for number, (caption, headers, body) in enumerate(tables):
        if body:
            text = rf"\caption{{{LATEX.escape(caption)}}}\label{{tab:{name}-{number + 1}}}"
            lines = [r"\midrule", *map(latex_row, body)]
            floats.append(latex_float(text, "l" + "r" * (len(headers) - 1), headers, lines, [] if floats else notes))
    return "\n".join(floats)
