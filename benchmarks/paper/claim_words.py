"""A report on the paper's claims in words: what a test asks, how an effect reads, what must be said of the verdicts, what to run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.campaign import DEFAULT_PROTOCOL
from benchmarks.options import DEFAULT_DATASET
from benchmarks.paired import ALPHA
from benchmarks.paper.effects import Effect
from benchmarks.paper.judgement import Finding
from benchmarks.paper.stars import Star
from benchmarks.paper.statements import FLAT, TIMING, Alike, AtLeast, Beats, Fails, Faster, Harder, Near, Rises, Scales, Serves, Slows, Test
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
    counts = Counter[str](finding.word for finding in found.findings)
    words = ", ".join(f"{counts[word]} {word}" for word in ORDER if counts[word])
    return f"The paper's claims on {found.dataset} under the protocol {found.protocol}: {words}."


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
            return f"× {effect.value:.3g}"
        case "per second":
            return f"{effect.value:.3g} / s"
        case "slope":
            return f"{effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]"
        case "percent":
            return f"{effect.value:.1f} [{effect.low:.1f}, {effect.high:.1f}]"
        case "points":
            spread = "" if effect.spread is None else f" ± {effect.spread:.1f}"
            return f"{effect.value:+.1f}{spread} [{effect.low:+.1f}, {effect.high:+.1f}]"


def command(finding: Finding, protocol: str) -> str:
    """Returns the command that measures what a finding misses."""
    words = ["python -m benchmarks.run", finding.statement.measured_by]
    words += [] if finding.on == DEFAULT_DATASET else ["--dataset", finding.on]
    # speed depends on no protocol
    words += [] if protocol == DEFAULT_PROTOCOL or finding.statement.measured_by == "figure4" else ["--protocol", protocol]
    return " ".join(words)


def notes(found: Report) -> list[str]:
    """Returns what must be said of the verdicts: the rules, and what was not asked."""
    left_out = f"Not asked, since no data set here has the same methods search more images: {'; '.join(found.left_out)}."
    return [
        "Said in: section (sentence), counted from the section's start without captions, tables and run-in headings. Of several "
        "comparisons the weakest decides and is shown. Effects are in points of recall with a 95 % interval (percentile bootstrap over "
        f"images, {BOOTSTRAP_RESAMPLES:,} resamples); ± before it is the standard deviation over seeds. Orderings: paired randomisation "
        f"test over images, {RANDOMISATION_RESAMPLES:,} resamples, Holm over all orderings of a metric here, significant at p < {ALPHA}; "
        "supported if every difference is above zero, not supported if one is below, else inconclusive. Rows that should rise: supported "
        "if the last is above the first and none is below one before it. Between data sets: Welch's t-test over images.",
        "Where a margin or a bound is asked, the interval decides: on the asked side supported, on the other not supported, across it "
        "inconclusive. All bounds were fixed beforehand. Speeds are medians of one session, without an interval; within × "
        f"{TIMING:g} of the bound they are inconclusive. Slope: of log seconds of search against log size or setting, with Student's "
        "interval; rows are timed while they are evaluated, once.",
        *found.remarks,
        *([left_out] if found.left_out else []),
        "Stars: the paper gives neither unit nor n. Its test takes the best other's mean for known and, over queries, five captions of one "
        "image for independent; seeds are tested where there are two. The lines of the paper's data use the numbers that it prints. "
        "Paired randomisation is this suite's test, here without Holm.",
    ]
