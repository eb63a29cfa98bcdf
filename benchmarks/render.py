r"""A grid as Markdown, LaTeX (booktabs) and CSV.

What is said once is written once: cells, notes and verdicts are put into words here by one function each, and a `Style` turns words into a
format. LaTeX needs `\usepackage{booktabs,graphicx}`.
"""

from __future__ import annotations

import csv as csv_format
import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.facts import FactLine
from benchmarks.grid import Cell, Grid, Line, printed
from benchmarks.paired import Comparison, printed_difference, printed_p
from benchmarks.spec import Row, Table
from benchmarks.verdicts import Verdict

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "§": r"$\S$",
    "×": r"$\times$",
}  # fmt: skip
CSV_HEADERS = (
    "dataset", "row", "label", "kind", "exposure", "column", "state", "value", "low", "high", "seed_sd", "paper", "verdict", "bold",
    "star",
)  # fmt: skip
VERDICT_HEADERS = ("Claim of the paper", "Source", "Closest rival", "Difference", "p (Holm)", "Verdict")
BELOW = r"\newcommand{\below}[3]{\tabular[t]{@{}#1@{}}#2\\[-2pt]{\scriptsize #3}\endtabular}"  # in the float, so that none is left
LONG_HEADER = 8  # letters; `100.0` and `p (Holm)` are shorter
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # narrows a wide table, leaves a narrow one


def _escape_latex(text: str) -> str:
    # two hyphens of an option would be set as a dash
    return "".join(LATEX_SPECIAL.get(letter, letter) for letter in text).replace("--", "-{}-")


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>])", r"\\\1", text)


@dataclass(frozen=True)
class Style:
    """How a format writes plain text, and text that stands out."""

    escape: Callable[[str], str]
    bold: str
    italic: str
    star: str
    tie: str
    """A space at which a narrow column may not break: a cell breaks before its interval, not within."""
    below: str
    """A text with its second part after it, or, where width is short, under it; the first field is `l` or `r`, the column's side."""

    def strong(self, text: str) -> str:
        return self.bold.format(self.escape(text))

    def stacked(self, first: str, second: str, side: str = "r") -> str:
        """Returns two texts of this format as one cell."""
        return self.below.format(side, first, second)

    def reference(self, text: str) -> str:
        return self.italic.format(self.escape(text))

    def label(self, row: Row) -> str:
        return self.escape(row.label) if row.kind == "compared" else self.reference(row.label)


MARKDOWN = Style(_escape_markdown, bold="**{}**", italic="*{}*", star=r"\*", tie="\N{NO-BREAK SPACE}", below="{1} {2}")
LATEX = Style(_escape_latex, bold=r"\textbf{{{}}}", italic=r"\textit{{{}}}", star=r"$^{*}$", tie=" ", below=r"\below{{{}}}{{{}}}{{{}}}")
HTML = Style(html.escape, bold="<strong>{}</strong>", italic="<em>{}</em>", star="<sup>*</sup>", tie="\N{NO-BREAK SPACE}", below="{1} {2}")


def markdown(grid: Grid) -> str:
    """Returns the table as GitHub Markdown: table, verdicts, notes."""
    from tabulate import tabulate

    several = len(grid.groups) > 1
    headers = _headers(grid)
    body: list[list[str]] = []
    for group in grid.groups:
        if several:
            body.append([MARKDOWN.strong(group.dataset), *[""] * (len(headers) - 1)])
        body += [_line(line, MARKDOWN) for line in group.lines]
    align = ["left", *["right"] * (len(headers) - 2), "left"]
    parts = [
        f"**{title(grid.table.name)}.** {MARKDOWN.escape(grid.table.caption)}",
        tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True),
    ]
    if grid.table.facts:
        headers, body = _fact_headers(grid), []
        for group in grid.groups:
            if several:
                body.append([MARKDOWN.strong(group.dataset), *[""] * (len(headers) - 1)])
            body += [_fact_line(line, grid, MARKDOWN) for line in group.facts]
        align = ["left"] + ["right"] * (len(headers) - 1)
        parts.append(tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True))
    for group in grid.groups:
        parts += [MARKDOWN.escape(note) for note in (*group.notes, *group.fact_notes)]
        if group.verdicts:
            claims = [_verdict(grid.table, verdict, MARKDOWN) for verdict in group.verdicts]
            align = ["left", "left", "left", "right", "right", "left"]
            parts.append(tabulate(claims, VERDICT_HEADERS, tablefmt="pipe", colalign=align, disable_numparse=True))
    parts += [MARKDOWN.escape(note) for note in grid.notes]
    return "\n\n".join(parts) + "\n"


def latex(grid: Grid) -> str:
    """Returns the table as a LaTeX float, and others with what is known besides recall and with the verdicts of all groups."""
    headers = _headers(grid)
    body: list[str] = []
    for group in grid.groups:
        body.append(r"\midrule")
        if len(grid.groups) > 1:
            body += [rf"\multicolumn{{{len(headers)}}}{{l}}{{{LATEX.strong(group.dataset)}}} \\", r"\midrule"]
        for kind in ("compared", "reference"):
            lines = [latex_row(_line(line, LATEX)) for line in group.lines if line.row.kind == kind]
            body += ([r"\midrule"] if lines and kind == "reference" else []) + lines
    notes = [note for group in grid.groups for note in group.notes] + list(grid.notes)
    columns = "l" + "r" * (len(headers) - 2) + "l"
    name = LATEX.escape(grid.table.name)
    text = latex_float(rf"\caption{{{LATEX.escape(grid.table.caption)}}}\label{{tab:{name}}}", columns, headers, body, notes)
    if grid.table.facts:
        headers, body = _fact_headers(grid), []
        for group in grid.groups:
            body.append(r"\midrule")
            if len(grid.groups) > 1:
                body += [rf"\multicolumn{{{len(headers)}}}{{l}}{{{LATEX.strong(group.dataset)}}} \\", r"\midrule"]
            body += [latex_row(_fact_line(line, grid, LATEX)) for line in group.facts]
        caption = rf"\caption{{Speed and cost of what {title(grid.table.name)} compares.}}\label{{tab:{name}-cost}}"
        notes = [note for group in grid.groups for note in group.fact_notes]
        text += "\n" + latex_float(caption, "l" + "r" * (len(headers) - 1), headers, body, notes)
    if any(group.verdicts for group in grid.groups):
        claims: list[str] = []
        for group in grid.groups:
            claims.append(r"\midrule")
            if len(grid.groups) > 1:
                claims += [rf"\multicolumn{{6}}{{l}}{{{LATEX.strong(group.dataset)}}} \\", r"\midrule"]
            claims += [latex_row(_verdict(grid.table, verdict, LATEX)) for verdict in group.verdicts]
        caption = rf"\caption{{Claims of the paper on {title(grid.table.name)}, tested.}}\label{{tab:{name}-claims}}"
        text += "\n" + latex_float(caption, "lllrrl", VERDICT_HEADERS, claims, [])
    return text


def csv(grid: Grid) -> str:
    """Returns one line for each cell: its address, state and numbers, those of metrics in percent."""
    stream = io.StringIO()
    writer = csv_format.writer(stream, lineterminator="\n")
    writer.writerow(CSV_HEADERS)
    for group in grid.groups:
        for line in group.lines:
            for column, cell in zip(grid.table.columns, line.cells, strict=True):
                numbers = (cell.value, cell.low, cell.high) if cell.state == "measured" else (None, None, None)
                writer.writerow(
                    [group.dataset, line.row.key, line.row.label, line.row.kind, line.exposure, column.key, cell.state]
                    + ["" if number is None else f"{number:.4f}" for number in (*numbers, cell.spread)]
                    + ["" if cell.reported is None else _reported(cell.reported), cell.closeness or "", int(cell.bold), int(cell.star)]
                )
        for known in group.facts:
            address = [group.dataset, known.key, known.label, known.row.kind, ""]
            for fact, told in zip(grid.table.facts, known.cells, strict=True):
                if told.state != "blank":
                    value = f"{told.value:.6g}" if isinstance(told.value, float) else told.value
                    writer.writerow([*address, fact.key, told.state, value, "", "", "", told.reported, "", 0, 0])
    return stream.getvalue()


def laid_out(grid: Grid, style: Style) -> dict[str, Any]:
    """Returns the parts of a table for what lays it out by itself: headings and notes as plain text, cells in a format.

    {"title", "caption", "headers", "fact_headers", "notes", "verdict_headers",
     "groups": [{"dataset", "notes", "facts": [cells], "verdicts": [cells],
                 "lines": [{"kind", "cells", "percent": {place of a cell: its number}}]}]}
    """

    def line(of: Line) -> dict[str, Any]:
        values = enumerate(zip(grid.table.columns, of.cells, strict=True))
        percent = {1 + 2 * n: cell.value for n, (column, cell) in values if cell.state == "measured" and column.key.startswith("R@")}
        return {"kind": of.row.kind, "cells": _line(of, style), "percent": percent}

    return {
        "title": title(grid.table.name),
        "caption": grid.table.caption,
        "headers": _headers(grid),
        "fact_headers": _fact_headers(grid) if grid.table.facts else [],
        "notes": grid.notes,
        "verdict_headers": VERDICT_HEADERS,
        "groups": [
            {
                "dataset": group.dataset,
                "notes": (*group.notes, *group.fact_notes),
                "facts": [_fact_line(line, grid, style) for line in group.facts],
                "verdicts": [_verdict(grid.table, verdict, style) for verdict in group.verdicts],
                "lines": [line(of) for of in group.lines],
            }
            for group in grid.groups
        ],
    }


def title(name: str) -> str:
    return re.sub(r"(\D+)(\d+)", r"\1 \2", name).capitalize()


def _headers(grid: Grid) -> list[str]:
    """A column of the paper's beside each of ours, named in full so that it stands on its own when read aloud or copied."""
    recall = [text for column in grid.table.columns for text in (column.label, f"paper {column.label}")]
    return [grid.table.rows_by, *recall, "Sees test images"]


def _line(line: Line, style: Style) -> list[str]:
    cells = [text for cell in line.cells for text in (_cell(cell, style), _beside(cell, style))]
    first, plus, second = line.exposure.partition(" + ")
    exposure = style.stacked(style.escape(first + " +"), style.escape(second), "l") if plus else style.escape(first)
    return [style.label(line.row), *cells, exposure]


def _fact_headers(grid: Grid) -> list[str]:
    """A column of the paper's beside each fact of which it says something."""
    told = [(fact.label, f"paper {fact.label}")[: 1 + _paper(grid, place)] for place, fact in enumerate(grid.table.facts)]
    return [grid.table.rows_by, *[text for texts in told for text in texts]]


def _fact_line(line: FactLine, grid: Grid, style: Style) -> list[str]:
    texts = [style.label(replace(line.row, label=line.label))]
    for place, cell in enumerate(line.cells):
        texts.append("missing" if cell.state == "missing" else style.escape(cell.text))
        texts += [style.escape(cell.reported)] * _paper(grid, place)
    return texts


def _paper(grid: Grid, place: int) -> bool:
    """Says whether the paper says something of a fact, of any row."""
    return any(line.cells[place].reported for group in grid.groups for line in group.facts)


def _cell(cell: Cell, style: Style) -> str:
    """`62.8* ± 0.4 [61.0, 64.5]`, or why there is no number."""
    if cell.state != "measured":
        return {"inapplicable": "-", "missing": "missing", "failed": "failed"}[cell.state]
    value = (style.strong if cell.bold else style.escape)(printed(cell.value)) + (style.star if cell.star else "")
    spread = "" if cell.spread is None else f" ±{style.tie}{printed(cell.spread)}"
    return style.stacked(value + style.escape(spread), style.escape(f"[{printed(cell.low)},{style.tie}{printed(cell.high)}]"))


def _beside(cell: Cell, style: Style) -> str:
    """The paper's number, and how near ours is to it where the data are the same: `62.8 near`."""
    if cell.reported is None:
        return ""
    return _reported(cell.reported) + (f"{style.tie}{cell.closeness}" if cell.closeness else "")


def _reported(value: float) -> str:
    """The paper's number with the digits that it prints: below 1 percent it prints two."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _verdict(table: Table, verdict: Verdict, style: Style) -> list[str]:
    claim = [style.escape(verdict.claim.text), style.escape(verdict.claim.source)]
    if verdict.weakest is None:
        return [*claim, "-", "-", "-", verdict.word]
    least: Comparison = verdict.weakest
    points, interval = tied(least, style)
    difference = style.stacked(style.escape(f"{verdict.claim.column} ") + points, interval)
    rival = style.escape(table.called(table.row(least.worse)))
    return [*claim, rival, difference, style.escape(printed_p(least.p)), style.strong(verdict.word)]


def tied(found: Comparison, style: Style) -> tuple[str, str]:
    """Returns a difference and its interval in a format, neither of which is broken over lines."""
    texts = printed_difference(found.difference, found.low, found.high, found.spread)
    points, interval = (style.escape(text.replace(" ", style.tie)) for text in texts)
    return points, interval


def latex_row(cells: Sequence[str]) -> str:
    """Returns one line of a tabular, of cells in LaTeX."""
    return " & ".join(cells) + r" \\"


def latex_float(caption: str, columns: str, headers: Sequence[str], body: Sequence[str], notes: Sequence[str]) -> str:
    """Returns a table float; headers and notes are plain text, caption and body LaTeX."""
    sides = re.findall(r"[lrcp]", re.sub(r"\{.*?\}", "", columns))
    heads = [_latex_header(header, side) for header, side in zip(headers, sides, strict=True)]
    lines = [
        r"\begin{table}", r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{4pt}", BELOW,
        caption, FIT, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", latex_row(heads), *body,
        r"\bottomrule", r"\end{tabular}}",
        *[rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {LATEX.escape(note)}}}" for note in notes], r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _latex_header(header: str, side: str) -> str:
    """Returns a header, on two lines where it is longer than the numbers under it: broken at the space nearest its middle."""
    spaces = [place for place, letter in enumerate(header) if letter == " "]
    if side == "r" and spaces and len(header) > LONG_HEADER:
        middle = min(spaces, key=lambda place: abs(2 * place - len(header)))
        return rf"\shortstack[r]{{{LATEX.escape(header[:middle])}\\{LATEX.escape(header[middle + 1 :])}}}"
    return LATEX.escape(header)
