"""What the paper's claims came to on one data set under one protocol, as Markdown, LaTeX and CSV.

RESULTS/DATASET[@PROTOCOL]/claims.md .tex .csv      computed from what is committed: run summaries, speed record, identifier report
"""

from __future__ import annotations

import csv as csv_format
import io
from pathlib import Path

from benchmarks import results_folder
from benchmarks.paired import printed_p
from benchmarks.paper.claim_words import Report, asked, circumstance, command, named, notes, shown, title
from benchmarks.paper.claims import CLAIMS
from benchmarks.paper.evidence import Evidence, committed
from benchmarks.paper.inconsistencies import INCONSISTENCIES
from benchmarks.paper.judgement import Finding, judge
from benchmarks.paper.stars import Star, printed_stars, stars
from benchmarks.render import LATEX, MARKDOWN, Style, latex_float, latex_row
from benchmarks.tables import table
from methods.files.durable import write_atomically

NAME = "claims"
JUDGED = ("Claim of the paper", "Said in", "Asked", "Decided by", "Effect", "p (Holm)", "Verdict")
MISSING = ("Claim of the paper", "Said in", "Asked", "Not measured", "Command")
READINGS = ("Claim of the paper", "Read as")
STARRED = ("Data", "Metric", "AVG", "Best other", "Values tested", "n", "t", "p", "Star")
WRONG = ("Where", "What", "Shown by")
WIDE = {
    # columns of LaTeX that break their lines
    JUDGED: r"p{3.2cm}p{2.2cm}lp{3.8cm}rrl",
    MISSING: r"p{4.6cm}p{3.2cm}lp{4.4cm}p{4.2cm}",
    READINGS: r"p{6cm}p{10cm}",
    WRONG: r"p{4cm}p{10cm}l",
}
PAGE = 24
"""Rows of a LaTeX table that fill a page at most, their lines being broken."""
CSV_HEADERS = (
    "dataset", "protocol", "claim", "text", "said_in", "test", "what", "at", "value", "low", "high", "unit", "p", "seed_sd", "verdict",
    "missing", "command",
)  # fmt: skip


Part = tuple[str, tuple[str, ...], list[list[str]], str]
"""Caption, headers, body in a format, alignment of its columns (l or r)."""


def report(evidence: Evidence) -> Report:
    """Returns the report on what was measured."""
    findings = judge(CLAIMS, evidence)
    asked = {finding.statement.key for finding in findings}
    return Report(
        dataset=evidence.dataset,
        protocol=evidence.protocol,
        findings=findings,
        remarks=evidence.remarks,
        left_out=[statement.text for statement in CLAIMS if statement.key not in asked],
        stars=[*stars(table("table1"), evidence), *printed_stars(table("table1"))],
    )


def parts(found: Report, style: Style) -> list[Part]:
    """Returns the tables that hold anything, each body in a format."""
    judged = [_judged(finding, style) for finding in found.findings if finding.effect]
    missing = [_missing(finding, found.protocol, style) for finding in found.findings if not finding.effect]
    starred = [_starred(star, style) for star in found.stars]
    read = [[style.escape(each.statement.text), style.escape(each.statement.reading)] for each in found.findings if each.statement.reading]
    wrong = [[style.escape(text) for text in (each.where, each.text, each.shown)] for each in INCONSISTENCIES]
    every = [
        ("Claims that were put to their test", JUDGED, judged, "llllrrl"),
        ("Claims whose rows or series are not measured here", MISSING, missing, "lllll"),
        ("How words were read that could be read in another way", READINGS, read, "ll"),
        ("The paper's stars by its own test, a one-sample t-test against the second best's mean", STARRED, starred, "llrllrrrl"),
        ("Where the paper contradicts itself", WRONG, wrong, "lll"),
    ]
    return [part for part in every if part[2]]


def markdown(found: Report) -> str:
    from tabulate import tabulate

    text = [f"**Claims.** {MARKDOWN.escape(title(found))}"]
    for caption, headers, body, columns in parts(found, MARKDOWN):
        align = [{"l": "left", "r": "right"}[column] for column in columns]
        text += [f"{caption}:", tabulate(body, headers, tablefmt="pipe", colalign=align, disable_numparse=True)]
    return "\n\n".join([*text, *map(MARKDOWN.escape, notes(found))]) + "\n"


def latex(found: Report) -> str:
    """Returns a float for each table, or for each page of a long one; the notes stand below all, since the first may fill a page."""
    floats = []
    for number, (caption, headers, body, columns) in enumerate(parts(found, LATEX)):
        for first in range(0, len(body), PAGE):
            text = title(found) if not number else f"{caption} ({found.dataset}, {found.protocol})."
            name = f"{NAME}-{number + 1}{f'-{first + 1}' if first else ''}"
            label = rf"\caption{{{LATEX.escape(text + ' Continued.' * bool(first))}}}\label{{tab:{name}}}"
            lines = [r"\midrule", *map(latex_row, body[first : first + PAGE])]
            floats.append(latex_float(label, WIDE.get(headers, columns), headers, lines, []))
    told = "\n".join(rf"\par\smallskip\noindent {LATEX.escape(note)}" for note in notes(found))
    return "\n".join([*floats, rf"{{\scriptsize {told}\par}}" + "\n"])


def csv(found: Report) -> str:
    """Returns one line for each claim."""
    stream = io.StringIO()
    writer = csv_format.writer(stream, lineterminator="\n")
    writer.writerow(CSV_HEADERS)
    for finding in found.findings:
        statement, effect = finding.statement, finding.effect
        numbers = (effect.value, effect.low, effect.high) if effect else (None,) * 3
        writer.writerow(
            [found.dataset, found.protocol, statement.key, statement.text, statement.places, asked(finding.test)]
            + ([effect.what, effect.at] if effect else ["", ""])
            + ["" if number is None else f"{number:.6g}" for number in numbers]
            + ([effect.unit, *("" if each is None else f"{each:.4f}" for each in (effect.p, effect.spread))] if effect else ["", "", ""])
            + [finding.word, "; ".join(finding.missing), "" if effect else command(finding, found.protocol)]
        )
    return stream.getvalue()


def write(found: Report, results: Path) -> Path:
    """Returns the folder, after writing the report to it in all formats."""
    folder = results_folder.writable(results / results_folder.folder_name([found.dataset], found.protocol))
    for ending, text in (("md", markdown(found)), ("tex", latex(found)), ("csv", csv(found))):
        write_atomically(folder / f"{NAME}.{ending}", text)
    return folder


def rewrite(results: Path, dataset: str, protocol: str) -> tuple[Report, Path]:
    """Returns the report on what is committed, and the folder that it was written to."""
    found = report(committed(results, dataset, protocol))
    return found, write(found, results)


def _judged(finding: Finding, style: Style) -> list[str]:
    statement, effect = finding.statement, finding.effect
    assert effect
    p = "" if effect.p is None else printed_p(effect.p)
    decided = named(f"{effect.at}: {effect.what}", statement)
    texts = (statement.text, statement.places, asked(finding.test), decided, shown(effect), p)
    return [*map(style.escape, texts), style.strong(finding.word)]


def _missing(finding: Finding, protocol: str, style: Style) -> list[str]:
    statement = finding.statement
    names, where = named(", ".join(finding.missing), statement), circumstance(finding.test)
    texts = (statement.text, statement.places, asked(finding.test), names + where, command(finding, protocol))
    return [style.escape(text) for text in texts]


def _starred(star: Star, style: Style) -> list[str]:
    t, table1 = "" if star.t is None else f"{star.t:.1f}", table("table1")
    texts = (
        star.data,
        star.column,
        f"{star.best:.1f}",
        f"{table1.called(table1.row(star.second))} {star.second_best:.1f}",
        star.values,
        f"{star.n:,}",
        t,
        printed_p(star.p),
    )
    return [*map(style.escape, texts), style.star if star.starred else ""]
