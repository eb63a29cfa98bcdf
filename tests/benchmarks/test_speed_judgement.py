"""Each kind of test about speed on made-up measurements whose verdict is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.paper.evidence import Evidence, gathered
from benchmarks.paper.statements import GALLERIES, Faster, Scales, Serves, Slows
from methods.timing import made_galleries
from tests.benchmarks.made_evidence import asked, point, rows, speed, summary


def test_faster_by_a_factor_beyond_what_timing_can_tell():
    def word(fast: float, times: float) -> str:
        points = point("a", 300_000, fast), point("b", 300_000, 10.0)
        return asked(Faster(faster=("a",), slower=("b",), times=times), speed(*points)).word

    assert [word(11.0, 1), word(10.5, 1), word(9.0, 1)] == ["supported", "inconclusive", "not supported"]
    assert [word(45, 4), word(40, 4), word(30, 4)] == ["supported", "inconclusive", "not supported"]


def test_the_least_of_the_faster_stands_against_the_best_of_the_slower():
    points = [point(name, 300_000, rate) for name, rate in (("a", 20.0), ("b", 50.0), ("c", 10.0))]
    found = asked(Faster(faster=("a", "b"), slower=("c", "d")), speed(*points, point("d", 300_000, 40.0) | {"extrapolated": True}))
    assert (found.word, found.effect.what, found.effect.value) == ("not supported", "a / d", 0.5)
    assert found.effect.at == "300,000 images, random, extrapolated"


def test_the_gallery_where_it_is_least_decides():
    fast = point("a", 300_000, 50.0), point("a", 300_000, 20.0, "clustered")
    faster = Faster(faster=("a",), slower=("b",))
    both = asked(faster, speed(*fast, point("b", 300_000, 10.0), point("b", 300_000, 40.0, "clustered")))
    assert (both.word, both.effect.value) == ("not supported", 0.5)
    # what was timed in one gallery stands for all
    assert asked(faster, speed(*fast, point("b", 300_000, 10.0))).effect.value == 5
    assert asked(faster, speed(fast[1], point("b", 300_000, 10.0))).effect.value == 2


def test_claims_ask_for_every_gallery_that_is_made():
    assert GALLERIES == made_galleries.GALLERIES


def test_serving_is_a_number_of_queries_a_second():
    serves, never = Serves(series=("a", "b"), rate=1.0), Serves(series=("a",), rate=1.0, fewer=True)
    slow, quick = point("a", 300_000, 7e-5), point("b", 300_000, 4.0)
    found = asked(serves, speed(slow, quick))
    assert (found.word, found.effect.what, found.effect.value) == ("not supported", "a", 7e-5)
    assert asked(Serves(series=("b",), rate=1.0), speed(quick)).word == "supported"
    found = asked(Serves(series=("b",), rate=1.0), speed(quick | {"extrapolated": True, "of_the_ten": 0.41}))
    assert found.effect.at.endswith(", random, extrapolated, finding 41 % of the exact ten")
    at_five = [asked(Serves(series=("b",), rate=5.0, fewer=fewer), speed(quick)).word for fewer in (False, True)]
    assert at_five == ["not supported", "supported"]
    both = asked(Serves(series=("b",), rate=1.0), speed(quick, point("b", 300_000, 0.5, "clustered")))
    assert (both.word, both.effect.at) == ("not supported", "300,000 images, clustered")
    assert asked(never, speed(slow)).word == "supported"
    assert asked(never, speed(point("a", 300_000, 4.0))).word == "not supported"


SIZES = (1_000, 10_000, 100_000, 1_000_000)


def curve(slope: float, wobble: float = 0.0) -> Evidence:
    """Search takes N ** slope, with every other point off by a part."""
    return speed(*(point("a", n, 1000 / (n**slope * (1 + wobble * (-1) ** place))) for place, n in enumerate(SIZES)))


def test_constant_and_growing_times_are_slopes():
    constant, grows = Scales(series=("a",)), Scales(series=("a",), grows=True)
    linear = asked(grows, curve(1.0))
    assert linear.word == "supported" and linear.effect.value == pytest.approx(1)
    assert asked(constant, curve(1.0)).word == "not supported"
    assert asked(constant, curve(0.0)).word == "supported"
    assert asked(grows, curve(0.0)).word == "not supported"
    assert asked(constant, curve(0.0, wobble=0.3)).word == "inconclusive"
    assert asked(constant, speed(*(point("a", n, 5.0) for n in SIZES[:2]))).missing == ("a",), "two points have no interval"


def test_what_slows_the_machine_between_sizes_is_no_slope():
    slowed = [{**point("a", n, 1000 / ms), "encode_ms": ms / 2} for n, ms in zip(SIZES, (10, 13, 19, 25), strict=True)]
    found = asked(Scales(series=("a",)), speed(*slowed))
    assert found.word == "supported" and found.effect.value == pytest.approx(0)
    assert found.effect.at == "search / text encoding, 1,000 to 1,000,000 images, random"


def test_of_series_that_should_grow_the_flattest_is_told_whatever_order_they_were_timed_in():
    points = [point(name, n, 1000 / n**slope) for name, slope in (("a", 1.0), ("b", 0.5)) for n in (10_000, 1_000, 100_000)]
    found = asked(Scales(series=("a", "b"), grows=True), speed(*points))
    assert (found.effect.what, found.effect.value) == ("b", pytest.approx(0.5))
    assert found.effect.at == "search / text encoding, 1,000 to 100,000 images, random"


def test_galleries_that_do_not_count_decide_nothing():
    random = [point("a", n, 5.0) for n in SIZES]
    clustered = [point("a", n, 1000 / n, "clustered") for n in SIZES]
    assert asked(Scales(series=("a",)), speed(*random, *clustered)).word == "not supported"
    assert asked(Scales(series=("a",), galleries=("random",)), speed(*random, *clustered)).word == "supported"
    assert asked(Scales(series=("a",), galleries=("random",)), speed(*clustered)).missing == ("a",)
    one_kind = Faster(faster=("a",), slower=("b",), galleries=("random",))
    assert asked(one_kind, speed(point("a", 300_000, 9.0), point("b", 300_000, 9.0, "clustered"))).missing == ("b",)
    points = (
        point("a", 300_000, 50.0),
        point("b", 300_000, 10.0),
        point("a", 300_000, 1.0, "clustered"),
        point("b", 300_000, 9.0, "clustered"),
    )
    assert asked(Faster(faster=("a",), slower=("b",)), speed(*points)).word == "not supported"
    assert asked(Faster(faster=("a",), slower=("b",), galleries=("random",)), speed(*points)).effect.value == 5


def test_the_slope_and_its_interval_by_hand():
    # y = 0, 0, 1, 1 over x = 3, 4, 5, 6: slope 0.4, error sqrt(0.2 / 2 / 5), t(2) at 97.5 % = 4.3027
    found = asked(Scales(series=("a",)), speed(*(point("a", n, 1000 / ms) for n, ms in zip(SIZES, (1, 1, 10, 10), strict=True))))
    half = 4.302653 * np.sqrt(0.02)
    assert [found.effect.value, found.effect.low, found.effect.high] == pytest.approx([0.4, 0.4 - half, 0.4 + half], rel=1e-5)


def test_a_setting_slows_the_search():
    slows = Slows(rows={"a": 1, "b": 10, "c": 100})

    def times(*seconds: float, threads=(2, 2, 2)) -> Evidence:
        timed = zip("abc", seconds, threads, strict=True)
        found = [summary(row, 0.5, seconds=each) | {"threads": number} for row, each, number in timed]
        return gathered("openmoji-scenes", "clean", found)

    assert asked(slows, times(1, 2, 4)).word == "supported"
    assert asked(slows, times(4, 4, 4)).word == "not supported"
    assert asked(slows, rows(a=0.5)).missing == ("b", "c")
    busy = (("a", 1.0), ("b", 2.0), ("c", 4.0))
    drifting = [summary(row, 0.5, seconds=slow) | {"threads": 1, "encode_seconds": slow / 2} for row, slow in busy]
    flat = asked(slows, gathered("openmoji-scenes", "clean", drifting))
    assert flat.word == "not supported" and flat.effect.at == "search / text encoding", "a busy machine is no slope"
    by_seconds = asked(slows, gathered("openmoji-scenes", "clean", [*drifting[:2], drifting[2] | {"encode_seconds": 0.001}]))
    assert by_seconds.word == "supported" and by_seconds.effect.at == "search", "one row reads captions in its search"
    for threads, told in (((2, 2, 1), "a: 2, b: 2, c: 1"), ((2, None, 2), "a: 2, b: unknown, c: 2"), ((None,) * 3, "none says how many")):
        assert asked(slows, times(1, 2, 4, threads=threads)).missing == (f"times on equally many threads ({told})",)
