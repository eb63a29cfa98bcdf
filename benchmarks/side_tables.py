"""Tables side by side: recall of rows under several conditions, each with its interval and its difference from another."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.estimates import Estimate
from benchmarks.grid import printed
from benchmarks.paired import Comparison
from benchmarks.render import LATEX, MARKDOWN, Style, latex_float, latex_row, tied

Address = tuple[str, str]
"""Row key and condition."""
TextTable = tuple[str, list[str], list[list[str]]]
"""Caption, headers and body, its cells in a format."""


def csv_numbers(found: Estimate, change: Comparison | None) -> list[str]:
    """Returns value, its interval and spread, difference, its interval, p and spread, as a CSV has them."""
    of_change = (change.difference, change.low, change.high, change.p, change.spread) if change else (None,) * 5
    return ["" if number is None else f"{number:.4f}" for number in (found.value, found.low, found.high, found.spread, *of_change)]


def value_cell(found: Estimate | None, style: Style) -> str:
    if found is None:
        return "missing"
    spread = "" if found.spread is None else f" ±{style.tie}{printed(found.spread)}"
    interval = style.escape(f"[{printed(found.low)},{style.tie}{printed(found.high)}]")
    return style.stacked(style.escape(f"{printed(found.value)}{spread}"), interval)


def change_cell(change: Comparison | None, style: Style) -> str:
    if change is None:
        return "missing"
    points, interval = tied(change, style)
    return style.stacked(points + (style.star if change.direction else ""), interval)


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
