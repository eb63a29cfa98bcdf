"""Each kind of test on made-up measurements whose verdict is known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks.metrics import Outcomes
from benchmarks.paper.claims import CLAIMS
from benchmarks.paper.evidence import Evidence, gathered
from benchmarks.paper.judgement import Finding, judge
from benchmarks.paper.statements import (
    Alike,
    AtLeast,
    Beats,
    Fails,
    Faster,
    Harder,
    Near,
    Rises,
    Slows,
)
from tests.benchmarks.made_evidence import asked, point, rows, speed, statement, summary


def test_one_row_beats_others_if_it_beats_the_best_of_them():
    above = Beats(better=("a",), worse=("b", "c"))
    found = asked(above, rows(a=0.9, b=0.5, c=0.6))
    assert (found.word, found.effect.what, found.effect.at) == ("supported", "a - c", "R@1")
    assert found.effect.value == pytest.approx(30)
    assert found.effect.low < 30 < found.effect.high and found.effect.p < 0.01
    assert asked(above, rows(a=0.9, b=0.5, c=0.9)).word == "inconclusive"
    assert asked(above, rows(a=0.6, b=0.5, c=0.9)).word == "not supported"


def test_several_rows_beat_one_if_the_least_of_them_does():
    found = asked(Beats(better=("a", "b"), worse=("c",)), rows(a=0.9, b=0.3, c=0.5))
    assert (found.word, found.effect.what) == ("not supported", "b - c")


def test_rising_rows_may_stand_still_and_not_fall():
    rising = Rises(rows=("a", "b", "c"))
    assert asked(rising, rows(a=0.4, b=0.6, c=0.6)).word == "supported"
    assert asked(rising, rows(a=0.4, b=0.6, c=0.6)).effect.what == "c - a"
    fallen = asked(rising, rows(a=0.4, b=0.8, c=0.6))
    assert (fallen.word, fallen.effect.what) == ("not supported", "c - b")
    assert asked(rising, rows(a=0.4, b=0.4, c=0.4)).word == "inconclusive"


def test_a_long_fall_is_no_rise_however_small_its_steps():
    steps = rows(a=0.2, b=0.7, c=0.68, d=0.66, e=0.64, f=0.62)
    assert asked(Beats(better=("e",), worse=("f",)), steps).word == "inconclusive"
    found = asked(Rises(rows=("a", "b", "c", "d", "e", "f")), steps)
    assert (found.word, found.effect.what) == ("not supported", "f - b")


def test_a_rise_is_asked_at_every_recall():
    """Half the hits of a tie of two count at R@1, and all at R@5."""
    outcomes = Outcomes.unpack(summary("a", 0.6)["outcomes"])
    tied = {**summary("a", 0.6), "outcomes": replace(outcomes, tied_Q=2 * outcomes.tied_Q).pack()}
    found = asked(Rises(rows=("a", "b"), columns=("R@1", "R@5")), gathered("openmoji-scenes", "clean", [tied, summary("b", 0.6)]))
    assert (found.word, found.effect.at) == ("inconclusive", "R@5")


def test_near_is_an_interval_within_the_margin():
    """Rows that differ in n of 200 images: n = 0 has no interval to speak of; 15 points are outside; 1 point is neither."""
    near = Near(pairs=(("a", "b"),), margin=1.5)
    same = asked(near, rows(a=0.5, b=0.5))
    assert (same.word, same.effect.value, same.effect.p) == ("supported", 0, None)
    apart = asked(near, rows(a=0.5, b=0.65))
    assert (apart.word, apart.effect.value) == ("not supported", -15)
    across = asked(near, rows(a=0.51, b=0.5))
    assert across.effect.low < 1.5 < across.effect.high
    assert across.word == "inconclusive"


def test_a_size_is_reached_by_the_whole_interval():
    def word(points: float) -> str:
        return asked(AtLeast(better=("a",), worse=("b", "c"), points=points, columns=("R@10",)), rows(a=0.9, b=0.5, c=0.6)).word

    assert [word(15), word(30), word(50)] == ["supported", "inconclusive", "not supported"]


def test_what_may_be_better_and_not_worse():
    """A margin on one side: to be far better than another is no fault."""
    as_good = AtLeast(better=("a", "b"), worse=("a", "b", "c"), points=-1.5)
    assert asked(as_good, rows(a=0.8, b=0.8, c=0.3)).word == "supported"
    worse = asked(as_good, rows(a=0.8, b=0.6, c=0.3))
    assert (worse.word, worse.effect.what) == ("not supported", "b - a")


def test_rows_are_compared_over_the_seeds_that_both_have():
    """A row of three seeds, of which the first is the other row's equal, is no better for its luck with the others."""
    trained = [summary("a", 0.6), summary("b", 0.6), summary("b", 0.5, seed=1), summary("b", 0.4, seed=2)]
    assert asked(Near(pairs=(("a", "b"),)), gathered("openmoji-scenes", "clean", trained)).word == "supported"


def test_what_draws_nothing_stands_against_every_seed():
    trained = [{**summary("a", 0.5), "seeded": False}, summary("b", 0.6), summary("b", 0.4, seed=1)]
    found = asked(Beats(better=("b",), worse=("a",)), gathered("openmoji-scenes", "clean", trained))
    assert found.effect.value == 0 and found.effect.spread == pytest.approx(100 * np.std([0.1, -0.1], ddof=1))


def test_rows_without_a_seed_in_common_are_compared_by_their_means():
    trained = [summary("a", 0.8), summary("b", 0.5, seed=1), summary("b", 0.3, seed=2)]
    found = asked(Beats(better=("a",), worse=("b",)), gathered("openmoji-scenes", "clean", trained))
    assert (found.word, found.effect.value, found.effect.spread) == ("supported", pytest.approx(40), None)


def with_larger(here: dict[str, float], there: dict[str, float]) -> Evidence:
    more = [summary(row, share, "openmoji-scenes-5k", images=500) for row, share in there.items()]
    return replace(rows(**here), larger=gathered("openmoji-scenes-5k", "clean", more))


def test_more_images_are_harder():
    harder = Harder(rows=("a", "b"))
    found = asked(harder, with_larger({"a": 0.9, "b": 0.8}, {"a": 0.5, "b": 0.5}))
    assert (found.word, found.effect.what) == ("supported", "b, openmoji-scenes - openmoji-scenes-5k")
    assert found.effect.value == pytest.approx(30) and found.effect.low > 20
    assert asked(harder, with_larger({"a": 0.9, "b": 0.5}, {"a": 0.5, "b": 0.8})).word == "not supported"
    assert asked(harder, with_larger({"a": 0.9, "b": 0.5}, {"a": 0.5, "b": 0.5})).word == "inconclusive"
    assert asked(harder, with_larger({}, {})).on == "openmoji-scenes", "what is to be measured first"


def test_images_that_are_all_alike_give_no_spread_to_test_by():
    """On one side alone they leave that of the other."""

    def found(here: float, there: float) -> Finding:
        return asked(Harder(rows=("a",)), with_larger({"a": here}, {"a": there}))

    sure, same = found(1.0, 0.0), found(0.0, 0.0)
    assert (sure.word, sure.effect.low, sure.effect.value, sure.effect.high, sure.effect.p) == ("supported", 100, 100, 100, 0)
    assert (same.word, same.effect.value, same.effect.p) == ("inconclusive", 0, 1)
    for each in (found(0.5, 0.0), found(1.0, 0.5)):
        assert each.word == "supported" and each.effect.low < 50 < each.effect.high


def test_failing_is_measured_on_more_images():
    fails = Fails(rows=("a",), percent=1.0, columns=("R@10",))
    assert asked(fails, with_larger({"a": 0.5}, {"a": 0.0})).word == "supported"
    assert asked(fails, with_larger({"a": 0.0}, {"a": 0.5})).word == "not supported"
    assert asked(fails, with_larger({}, {"a": 0.01})).word == "inconclusive", "five images of 500: the interval lies across"
    found = asked(fails, with_larger({}, {}))
    assert (found.word, found.missing, found.on) == ("missing", ("a",), "openmoji-scenes-5k")


def test_what_asks_for_more_images_is_not_asked_where_there_are_none():
    assert judge([statement(Harder(rows=("a",))), statement(Fails(rows=("a",), percent=1.0, columns=("R@1",)))], rows(a=0.5)) == []


def test_near_images_share_more_than_random_ones():
    def word(near: float, random: float) -> str:
        shared = {"avg": {"pictures": [near, 0.1], "random": [random, 0.0]}}
        return asked(Alike(row="avg", near="pictures"), Evidence(dataset="a", protocol="clean", shared=shared)).word

    assert [word(0.4, 0.1), word(0.2, 0.1), word(0.1, 0.0)] == ["supported"] * 3, "twice as often, exactly, is enough"
    assert [word(0.15, 0.1), word(0.0, 0.0)] == ["not supported"] * 2


def test_what_was_not_measured_is_named_and_judged_by_nothing():
    found = asked(Beats(better=("a",), worse=("b", "c")), rows(a=0.9, b=0.5))
    assert (found.word, found.missing, found.effect) == ("missing", ("c",), None)
    shallow = gathered("openmoji-scenes", "clean", [summary("a", 0.9), summary("b", 0.5, depth=5)])
    assert asked(Beats(better=("a",), worse=("b",), columns=("R@5", "R@10")), shallow).missing == ("b at R@10",)
    assert asked(Faster(faster=("a",), slower=("b",)), speed(point("a", 300_000, 1.0), point("b", 1_000, 1.0))).missing == ("b",)
    assert asked(Faster(faster=("a",), slower=("b",)), speed(point("a", 1_000, 1.0), point("b", 300_000, 1.0))).missing == ("a",)
    assert asked(Alike(row="avg", near="pictures"), rows(a=0.5)).missing == ("avg",)


def test_one_measured_pair_refutes_what_is_said_of_all():
    """What is not measured could only confirm it; so for a margin, but not for a rise, whose ends must be there."""
    known = rows(a=0.5, b=0.9)
    assert (found := asked(Beats(better=("a",), worse=("b", "c")), known)).word == "not supported" and found.effect.what == "a - b"
    assert asked(AtLeast(better=("b",), worse=("a", "c"), points=60.0), known).word == "not supported"
    assert asked(Near(pairs=(("a", "b"), ("a", "c"))), known).word == "not supported"
    undecided = AtLeast(better=("b",), worse=("a", "c"), points=40.0)
    for test in (Beats(better=("b",), worse=("a", "c")), Near(pairs=(("a", "a"), ("a", "c"))), Rises(rows=("b", "a", "c")), undecided):
        assert asked(test, known).word == "missing"


def test_a_statement_about_rows_of_other_data_sets_is_not_asked():
    flickr, own = statement(Beats(better=("blip-flickr30k",), worse=("clip",))), Evidence(dataset="mine", protocol="clean")
    assert judge([flickr], own) == [] and len(judge([flickr], replace(own, dataset="flickr30k"))) == 1
    assert judge([statement(Slows(rows={"clip": 1, "blip-flickr30k": 2}))], own) == []
    (coco,) = (judge([each], replace(own, dataset="mscoco-5k")) for each in CLAIMS if each.key == "one-tower-ranks")
    assert coco[0].missing[0] == "blip-mscoco"


def test_holm_runs_over_all_orderings_of_a_recall_and_over_no_others():
    """a beats b in 8 of 200 images, always: p = 2 / 2 ** 8 = 0.0078 alone, more than 0.01 beside another comparison."""
    evidence, one = rows(a=0.54, b=0.5, c=0.5), Beats(better=("a",), worse=("b",))
    near = Near(pairs=(("b", "c"),))
    alone = asked(one, evidence)
    assert alone.word == "supported"
    two = Beats(better=("b",), worse=("c",))
    beside = judge([statement(one), statement(two, "two"), statement(near, "three")], evidence)
    assert beside[0].word == "inconclusive"
    assert beside[0].effect.p == pytest.approx(2 * alone.effect.p)
    other_recall = judge([statement(one), statement(replace(two, columns=("R@5",)), "two"), statement(near, "three")], evidence)
    assert other_recall[0].effect.p == alone.effect.p
    other_table = judge([statement(one), replace(statement(two, "two"), measured_by="table3")], evidence)
    assert other_table[0].effect.p == alone.effect.p


def test_seeds_are_averaged_and_their_spread_is_shown():
    evidence = gathered(
        "openmoji-scenes", "clean", [summary("a", 0.8), summary("a", 0.9, seed=1), summary("b", 0.5), summary("b", 0.5, seed=1)]
    )
    effect = asked(Beats(better=("a",), worse=("b",)), evidence).effect
    assert effect.value == pytest.approx(35)
    assert effect.spread == pytest.approx(np.std([30, 40], ddof=1))
    assert asked(Beats(better=("a",), worse=("b",)), rows(a=0.9, b=0.5)).effect.spread is None


def test_stand_ins_are_tested_on_scenes_only():
    both = replace(statement(Beats(better=("real",), worse=("b",))), on={"openmoji-scenes*": Beats(better=("made",), worse=("b",))})
    assert judge([both], rows(made=0.9, b=0.5))[0].word == "supported"
    assert judge([both], replace(rows(made=0.9, b=0.5), dataset="flickr30k"))[0].missing == ("real",)


def test_the_pair_that_is_farthest_apart_is_told_where_none_should_be():
    found = asked(Near(pairs=(("a", "b"), ("c", "b"), ("d", "b"))), rows(a=0.35, b=0.5, c=0.8, d=0.6))
    assert (found.word, found.effect.what, found.effect.value) == ("not supported", "c - b", 30)


def test_welchs_test_is_over_images_and_holm_over_rows():
    evidence = with_larger({"a": 0.58, "b": 0.58}, {"a": 0.47, "b": 0.47})
    theirs = stats.ttest_ind(np.arange(200.0) < 116, np.arange(500.0) < 235, equal_var=False)
    alone, both = asked(Harder(rows=("a",)), evidence), asked(Harder(rows=("a", "b")), evidence)
    assert (alone.word, both.word) == ("supported", "inconclusive")
    assert (alone.effect.p, both.effect.p) == pytest.approx((theirs.pvalue, 2 * theirs.pvalue))
    assert (alone.effect.low, alone.effect.high) == pytest.approx([100 * bound for bound in theirs.confidence_interval(0.95)])
