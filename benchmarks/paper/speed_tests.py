"""Tests of statements about speed, over the points of a speed record and the time that rows took to search.

A record holds medians of one session: there is no interval of a ratio. What is within `statements.TIMING` of a bound is inconclusive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

from benchmarks.paper.effects import Effect, Scored, above, beyond, farthest, weakest, within
from benchmarks.paper.evidence import Evidence
from benchmarks.paper.statements import FLAT, Faster, Scales, Serves, Slows
from benchmarks.statistics import slope

LEAST_SIZES = 3
"""Points that a slope with an interval takes."""
SPEED = "queries_per_second"


def faster(test: Faster, evidence: Evidence) -> Scored:
    ratios = [_ratio(evidence, fast, slow, test) for fast in test.faster for slow in test.slower]
    return weakest([(beyond(ratio.value / test.times), ratio) for ratio in ratios])


def serves(test: Serves, evidence: Evidence) -> Scored:
    scored: list[Scored] = []
    for name in test.series:
        for gallery, point in evidence.at(name, test.images).items():
            value = point[SPEED]
            effect = Effect(what=name, at=f"{test.images:,} images, {gallery}{_reserved(point)}", value=value, unit="per second")
            scored.append((beyond(test.rate / value if test.fewer else value / test.rate), effect))
    return (farthest if test.fewer else weakest)(scored)


def scales(test: Scales, evidence: Evidence) -> Scored:
    """The time of a search over that of reading the caption, in the same rounds: sizes are timed one after the other, and what slows the
    machine meanwhile slows both."""
    found = []
    for name in test.series:
        for gallery, points in curves(evidence, name, test.galleries).items():
            sizes = f"{points[0]['images']:,} to {points[-1]['images']:,} images"
            times = [(point["images"], point["search_ms"] / point["encode_ms"]) for point in points]
            found.append(_slope(times, name, f"search / text encoding, {sizes}, {gallery}"))
    if test.grows:
        return weakest([(above(*_bounds(each), FLAT), each) for each in found])
    return farthest([(within(*_bounds(each), FLAT), each) for each in found])


def slows(test: Slows, evidence: Evidence) -> Scored:
    """Of the same ratio as `scales`, where all rows read captions before they search: each is timed in a run of its own, batches of
    captions read and searched by turns. Else of the time of the search."""
    rows = list(test.rows)
    times, told = evidence.over_reading, "search / text encoding"
    if any(row not in times for row in rows):
        times, told = evidence.seconds, "search"
    found = _slope([(test.rows[row], times[row]) for row in rows], f"{rows[0]} to {rows[-1]}", told)
    return above(*_bounds(found), FLAT), found


def untimed(test: Slows, evidence: Evidence) -> tuple[str, ...]:
    """Returns the rows whose searches were not timed, or in words that it is not known that all were on one number of threads."""
    lacking = tuple(row for row in test.rows if row not in evidence.seconds)
    threads = {evidence.threads.get(row) for row in test.rows}
    if lacking or (len(threads) == 1 and None not in threads):
        return lacking
    told = ", ".join(f"{row}: {evidence.threads.get(row, 'unknown')}" for row in test.rows) if threads != {None} else "none says how many"
    return (f"times on equally many threads ({told})",)


def curves(evidence: Evidence, series: str, kinds: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """Returns {gallery: points by size} of a series in galleries of some kinds, where there are enough sizes for a slope."""
    galleries: dict[str, list[Mapping[str, Any]]] = {}
    for point in sorted(evidence.points, key=lambda point: point["images"]):
        if point["series"] == series and point["gallery"] in kinds:
            galleries.setdefault(point["gallery"], []).append(point)
    return {gallery: points for gallery, points in galleries.items() if len(points) >= LEAST_SIZES}


def _ratio(evidence: Evidence, fast_series: str, slow_series: str, test: Faster) -> Effect:
    """Returns by how many times one series is faster than another, in the gallery where that is least.

    Galleries that both were timed with are compared; where there is none, each with each, since what reads every vector takes as long in
    any gallery and is timed with one.
    """
    fast, slow = (evidence.at(series, test.images, test.galleries) for series in (fast_series, slow_series))
    pairs = [(name, name) for name in fast if name in slow] or [(one, other) for one in fast for other in slow]
    value, gallery = min((fast[one][SPEED] / slow[other][SPEED], one) for one, other in pairs)
    reserved = "".join(map(_reserved, (fast[gallery], slow.get(gallery) or next(iter(slow.values())))))
    return Effect(what=f"{fast_series} / {slow_series}", at=f"{test.images:,} images, {gallery}{reserved}", value=value, unit="times")


def _reserved(point: Mapping[str, Any]) -> str:
    """Returns what is to be said of a point beside its speed: that it was not timed whole, or does not find all."""
    ten = point.get("of_the_ten")
    return ", extrapolated" * bool(point.get("extrapolated")) + (f", finding {100 * ten:.0f} % of the exact ten" if ten is not None else "")


def _slope(points: Sequence[tuple[float, float]], what: str, at: str) -> Effect:
    """Returns the slope of log y against log x."""
    value, low, high = slope([log10(x) for x, _ in points], [log10(y) for _, y in points])
    return Effect(what=what, at=at, value=value, unit="slope", low=low, high=high)


def _bounds(effect: Effect) -> tuple[float, float]:
    assert effect.low is not None and effect.high is not None
    return effect.low, effect.high
