"""The effect that decides a statement, and its score: 1 supported, 0 inconclusive, -1 not supported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.paper.statements import TIMING

Unit = Literal["points", "percent", "times", "per second", "slope"]
Score = Literal[-1, 0, 1]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A comparison and its size, e.g. `avg - irgen` at `R@1`: +3.6 points, 95 % from `low` to `high`.

    Args:
        p: Holm-adjusted; None where an interval or a factor decides.
        spread: standard deviation of the difference over seeds; None of one seed.
    """

    what: str
    at: str
    value: float
    unit: Unit
    low: float | None = None
    high: float | None = None
    p: float | None = None
    spread: float | None = None


Scored = tuple[Score, Effect]


def weakest(scored: Sequence[Scored]) -> Scored:
    """Returns what decides: the lowest score, and of equal ones the smallest effect."""
    return min(scored, key=lambda each: (each[0], each[1].value))


def farthest(scored: Sequence[Scored]) -> Scored:
    """Returns what decides where no effect is wanted: the lowest score, and of equal ones the effect that is farthest from none."""
    return min(scored, key=lambda each: (each[0], -abs(each[1].value)))


def sign(direction: float) -> Score:
    return 1 if direction > 0 else -1 if direction < 0 else 0


def above(low: float, high: float, bound: float) -> Score:
    """Scores an interval that should lie above a bound; across it, nothing is said."""
    return 1 if low > bound else -1 if high < bound else 0


def within(low: float, high: float, margin: float) -> Score:
    """Scores an interval that should lie within a margin on both sides of 0; across the margin, nothing is said."""
    return 1 if low > -margin and high < margin else -1 if low > margin or high < -margin else 0


def beyond(ratio: float) -> Score:
    """Scores a ratio of speeds that should be above 1, by more than timing can tell from 1."""
    return 1 if ratio >= TIMING else -1 if ratio <= 1 / TIMING else 0
