"""Verdicts: on the orderings that a table states, and on how near a number comes to the one that was reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.paired import Comparison
from benchmarks.spec import Claim

MATCH, NEAR = 0.3, 1.0
"""Points. The same weights move by up to 0.8 between two code bases' resizing and precision."""

Closeness = Literal["match", "near", "differs"]
Word = Literal["supported", "not supported", "inconclusive", "missing"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the measurements say of a claim; `weakest` is the comparison that decides."""

    claim: Claim
    word: Word
    weakest: Comparison | None = None


def verdict(claim: Claim, comparisons: Mapping[tuple[str, str], Comparison]) -> Verdict:
    """Returns `supported` if every difference is significantly above zero, `not supported` if one is significantly below, else
    `missing` where a row has no measurement, and `inconclusive` where all have."""
    known = [comparisons[claim.better, worse] for worse in claim.worse if (claim.better, worse) in comparisons]
    weakest = min(known, key=lambda c: (c.direction, c.difference), default=None)
    if weakest is None or (len(known) < len(claim.worse) and weakest.direction >= 0):
        return Verdict(claim=claim, word="missing")
    words: dict[int, Word] = {1: "supported", 0: "inconclusive", -1: "not supported"}
    return Verdict(claim=claim, word=words[weakest.direction], weakest=weakest)


def closeness(value: float, reported: float) -> Closeness:
    """Returns how near a measurement on the same data is to the number that was reported, both in percent."""
    apart = round(abs(value - reported), 6)  # 62.5 - 62.2 is more than 0.3 in floats
    return "match" if apart <= MATCH else "near" if apart <= NEAR else "differs"
