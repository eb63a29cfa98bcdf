"""A report on the paper's claims in words: what a test asks, how an effect reads, what must be said of the verdicts, what to run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import tables
from benchmarks.campaign import DEFAULT_PROTOCOL
from benchmarks.contest import figures
from benchmarks.options import DEFAULT_DATASET
from benchmarks.paired import ALPHA, printed_difference
from benchmarks.paper.effects import Effect
from benchmarks.paper.judgement import Finding
from benchmarks.paper.stars import Star
from benchmarks.paper.statements import (
    FLAT,
    TIMING,
    Alike,
    AtLeast,
    Beats,
    Fails,
    Faster,
    Harder,
    Near,
    Rises,
    Scales,
    Serves,
    Slows,
    Statement,
    Test,
)
from benchmarks.speed.efficiency import SERIES
from benchmarks.statistics import BOOTSTRAP_RESAMPLES, RANDOMISATION_RESAMPLES

ORDER = ("supported", "not supported", "inconclusive", "missing")


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is printed of a data set under a protocol."""

    dataset: str
    protocol: str
    findings: Sequence[Finding]
    remarks: Sequence[str]
    left_out: Sequence[str]
    stars: Sequence[Star]


def title(found: Report) -> str:
    return f"The paper's claims on {found.dataset} under the protocol {found.protocol}: {counts(found)}."


def counts(found: Report) -> str:
    number = Counter[str](finding.word for finding in found.findings)
    return ", ".join(f"{number[word]} {word}" for word in ORDER if number[word])


def asked(test: Test) -> str:
    """Returns in a few words what a test asks of its effect."""
    match test:
        case Beats() | Harder():
            return "above 0"
        case Rises():
            return "rises, never falls"
        case Near():
            return f"within ±{test.margin:g}"
        case AtLeast():
            return f"above {test.points:g}"
        case Fails():
            return f"below {test.percent:g} %"
        case Faster():
            return f"above × {test.times:g}"
        case Serves():
            return f"{'below' if test.fewer else 'above'} {test.rate:g} / s"
        case Scales():
            return f"slope above {FLAT:g}" if test.grows else f"slope within ±{FLAT:g}"
        case Slows():
            return f"slope above {FLAT:g}"
        case Alike():
            return f"at least × {test.times:g}"


def circumstance(test: Test) -> str:
    """Returns what a series must have been measured at, or an empty string."""
    match test:
        case Faster() | Serves():
            return f" at {test.images:,} images"
        case Scales():
            return " at three sizes or more"
        case Alike():
            return ": its identifiers"
        case _:
            return ""


def shown(effect: Effect) -> str:
    """Returns an effect as printed: `+3.6 [+1.3, +5.8]`, `× 3.9`, `4.32 / s`."""
    match effect.unit:
        case "times":
            return f"× {figures(effect.value)}"
        case "per second":
            return f"{figures(effect.value)} / s"
        case "slope":
            return f"{effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]"
        case "percent":
            return f"{effect.value:.1f} [{effect.low:.1f}, {effect.high:.1f}]"
        case "points":
            assert effect.low is not None and effect.high is not None
            return " ".join(printed_difference(effect.value, effect.low, effect.high, effect.spread))


def named(text: str, statement: Statement) -> str:
    """Returns a text with rows and series called as the table or figure of a statement calls them."""
    names = {row.key: row.label for row in tables.table("table1").rows if row.kind == "compared"} | SERIES
    if statement.measured_by in tables.TABLES:
        measured_by = tables.table(statement.measured_by)
        names = {row.key: measured_by.called(row) for row in measured_by.rows}
    return re.sub(r"[a-z0-9-]+", lambda found: names.get(found[0], found[0]), text)


def command(finding: Finding, protocol: str) -> str:
    """Returns the command that measures what a finding misses."""
    words = ["python -m benchmarks.run", finding.statement.measured_by]
    words += [] if finding.on == DEFAULT_DATASET else ["--dataset", finding.on]
    # speed depends on no protocol
    words += [] if protocol == DEFAULT_PROTOCOL or finding.statement.measured_by == "figure4" else ["--protocol", protocol]
    return " ".join(words)


def notes(found: Report) -> list[str]:
    """Returns what must be said of the verdicts: the rules, and what was not asked."""
    why = "since this data set lacks their rows, or no data set here has the same methods search more images"
    left_out = f"Not asked, {why}: {'; '.join(found.left_out)}."
    timed = any(isinstance(finding.test, Faster | Serves | Scales) and finding.effect for finding in found.findings)
    speeds = [f"Speeds are of the models that {DEFAULT_PROTOCOL} trains."] if timed and found.protocol != DEFAULT_PROTOCOL else []
    return [
        "Said in: section (sentence), counted from the section's start without captions, tables and run-in headings. Of several "
        "comparisons the weakest decides and is shown. Where the paper names no metric, R@1 is asked. Effects are in points of recall with "
        f"a 95 % interval (percentile bootstrap over images, {BOOTSTRAP_RESAMPLES:,} resamples); ± before it is the standard deviation "
        f"over seeds. Orderings: paired randomisation test over images, {RANDOMISATION_RESAMPLES:,} resamples, Holm over the orderings of "
        f"one table and metric, significant at p < {ALPHA}; supported if every difference is above zero, not supported if one is below, "
        "whatever else is not measured, else inconclusive. Rows that should rise: supported if the last is above the first and none is "
        "below one before it. Between data sets: Welch's t-test over images, as if none were in both. p and interval answer for other "
        "images, not for another training of the same models.",
        "Where a margin or a bound is asked, the interval decides: on the asked side supported, on the other not supported, across it "
        "inconclusive. Each interval is one of 95 %, not corrected for how many are asked. All bounds were fixed beforehand. Speeds are "
        "medians of one session, without an interval, or extrapolated from "
        f"such, as said; within × {TIMING:g} of the bound they are inconclusive. Slope, with Student's interval: against log size, of "
        "the log of a search's time over that of reading the caption in the same rounds, since a machine's speed drifts between sizes; "
        "against a log setting, of the same, or of log seconds of search where the generator itself reads the words; rows are timed while "
        "they are evaluated, once, and again where the store's folder `ranking` was deleted.",
        *speeds,
        *found.remarks,
        *([left_out] if found.left_out else []),
        "Stars: the paper gives neither unit nor n. Its test takes the best other's mean for known and, over queries, five captions of one "
        "image for independent; seeds are tested where there are two. The lines of the paper's data use the numbers that it prints. "
        "Paired randomisation is this suite's test, here without Holm.",
    ]
