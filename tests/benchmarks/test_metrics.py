from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.metrics import Outcomes, Rule, hits, metrics_of, outcomes, recall, same_queries
from benchmarks.spec import RECALL
from methods.retriever import Ranking

RULES: tuple[Rule, ...] = ("expected", "optimistic", "pessimistic", "index", "codes")

# 10 and 11 share a code; 12 stands alone; 13, 14 and 15 share one. Asked for four, so that the last group runs past k.
IDS = np.array([10, 11, 12, 13, 14, 15])
GROUP = np.array([0, 0, 1, 2, 2, 2], np.int32)


def ranking(sizes: list[int], k: int, queries: int = 1) -> Ranking:
    group = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    ids = np.arange(len(group), dtype=np.int64)
    return Ranking.from_rows([(ids, -group.astype(np.float32), group)] * queries, k)


def test_outcomes_of_a_hand_made_ranking():
    one = (IDS, -GROUP.astype(np.float32), GROUP)
    result = outcomes(Ranking.from_rows([one] * 4, k=4), np.array([11, 12, 15, 99]))
    assert result.before_Q.tolist() == [0, 2, 3, -1]
    assert result.tied_Q.tolist() == [2, 1, 3, 0]
    assert result.group_Q.tolist() == [0, 1, 2, -1]
    assert result.place_Q.tolist() == [1, 0, 2, -1]
    assert result.image_ids_Q.tolist() == [11, 12, 15, 99]
    assert result.depth == 4


def test_padding_is_in_nobody_s_tie_group():
    short = (np.array([7]), np.zeros(1, np.float32), np.zeros(1, np.int32))
    result = outcomes(Ranking.from_rows([short, short], k=3), np.array([7, 8]))
    assert (result.before_Q.tolist(), result.tied_Q.tolist()) == ([0, -1], [1, 0])


@pytest.mark.parametrize(
    ("rule", "at_1", "at_2", "at_4"),
    [
        # targets 11 (second of two), 12 (alone, third), 15 (last of three, from fourth), 99 (not ranked)
        ("expected", [1 / 2, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1 / 3, 0]),
        ("optimistic", [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]),
        ("pessimistic", [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]),
        ("index", [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]),
        ("codes", [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]),
    ],
)
def test_hits_by_hand(rule, at_1, at_2, at_4):
    one = (IDS, -GROUP.astype(np.float32), GROUP)
    result = outcomes(Ranking.from_rows([one] * 4, k=4), np.array([11, 12, 15, 99]))
    for k, expected in ((1, at_1), (2, at_2), (4, at_4)):
        got = hits(result, k, rule)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected)
        assert recall(result, k, rule) == pytest.approx(25 * sum(expected))


def test_index_rule_tells_apart_the_places_in_a_group():
    result = outcomes(ranking([3], k=1, queries=3), np.array([0, 1, 2]))
    assert hits(result, 1, "index").tolist() == [1, 0, 0]


def test_recall_is_blank_beyond_the_depth():
    five = outcomes(ranking([1] * 10, k=10), np.array([2]), depth=5)
    assert recall(five, 5) == 100 and recall(five, 10) is None
    with pytest.raises(ValueError, match=r"R@10.*depth 5"):
        hits(five, 10)
    assert metrics_of(five, RECALL, np.random.default_rng(0))["R@10"] is None
    assert outcomes(ranking([1] * 10, k=3), np.array([2]), depth=5).depth == 3, "what was not asked for is not known either"


def test_a_miss_is_measured_as_zero():
    missed = outcomes(ranking([1] * 10, k=10), np.array([99]))
    assert metrics_of(missed, RECALL, np.random.default_rng(0))["R@1"] == {"value": 0, "low": 0, "high": 0}


def test_metrics_of_is_the_recall_within_its_interval():
    rng = np.random.default_rng(3)
    before = rng.integers(0, 20, 200).astype(np.int32)
    zero = np.zeros(200, np.int32)
    result = Outcomes(before, zero + 1, before, zero, np.repeat(np.arange(40, dtype=np.int32), 5), depth=10)
    metrics = metrics_of(result, RECALL, np.random.default_rng(0))
    assert metrics == metrics_of(result, RECALL, np.random.default_rng(0))
    assert [entry["value"] for entry in metrics.values() if entry] == pytest.approx([100 * (before < k).mean() for k in (1, 5, 10)])
    assert all(entry and entry["low"] < entry["value"] < entry["high"] for entry in metrics.values())


buckets = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@given(buckets, st.data())
def test_expected_is_the_average_over_every_shuffle_of_the_bucket(sizes, data):
    target = data.draw(st.integers(0, sum(sizes) - 1))
    k = data.draw(st.integers(1, sum(sizes)))
    rows = ranking(sizes, k=sum(sizes))
    bucket = np.flatnonzero(rows.group_QW[0] == rows.group_QW[0, target])
    shuffles = []
    for order in itertools.permutations(bucket):
        ids = rows.ids_QW[0].copy()
        ids[bucket] = order
        shuffles.append(target in ids[:k])
    assert hits(outcomes(rows, np.array([target])), k)[0] == pytest.approx(np.mean(shuffles))


@given(buckets, st.data())
def test_rules_stand_in_order(sizes, data):
    target, k = data.draw(st.integers(0, sum(sizes))), data.draw(st.integers(1, sum(sizes)))
    result = outcomes(ranking(sizes, k=sum(sizes)), np.array([target]))
    at = {rule: hits(result, k, rule)[0] for rule in RULES}
    assert at["pessimistic"] <= at["expected"] <= at["optimistic"] <= at["codes"]
    assert at["pessimistic"] <= at["index"] <= at["optimistic"]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_pack_round_trip(sizes, targets):
    before = outcomes(ranking(sizes, k=sum(sizes), queries=len(targets)), np.array(targets))
    after = Outcomes.unpack(json.loads(json.dumps(before.pack())))
    for name in ("before_Q", "tied_Q", "group_Q", "place_Q", "image_ids_Q"):
        assert getattr(after, name).dtype == np.int32
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert after.depth == before.depth


def test_damaged_outcomes_are_named():
    packed = outcomes(ranking([1, 1], k=2), np.array([1])).pack()
    for broken in (packed["tied_Q"][:-6], "?", ""):
        with pytest.raises(ValueError, match="damaged at tied_Q"):
            Outcomes.unpack({**packed, "tied_Q": broken})
    with pytest.raises(ValueError, match="before_Q holds 1 of 2"):
        Outcomes.unpack({**packed, "queries": 2})


def test_summaries_of_another_version_of_the_data_are_refused():
    """Captions may have been edited under the same image ids; nothing is asked of a summary that does not say what it rests on."""
    outcomes = Outcomes(*(np.zeros(2, np.int32),) * 4, image_ids_Q=np.array([1, 2], np.int32), depth=1).pack()

    def summary(dataset: str, data: str | None = None):
        return {"dataset": dataset, "outcomes": outcomes, "stages": {"data": data} if data else {}}

    measured = [("row a", summary("d", "x")), ("row b", summary("e", "y")), ("row c", summary("d"))]
    assert same_queries("d", measured).tolist() == [1, 2]
    with pytest.raises(ValueError, match="d: row a and row d were measured on different versions of d; run the older of them again"):
        same_queries("d", [*measured, ("row d", summary("d", "z"))])


def test_metrics_are_of_the_tie_rule_and_their_interval_is_over_images():
    """Two images of fifty captions, one found in a tie of two: draws of two images hold neither, one or both."""
    before = np.repeat([0, 20], 50).astype(np.int32)
    result = Outcomes(before, np.full_like(before, 2), before, np.zeros_like(before), before, depth=10)
    found = {rule: metrics_of(result, RECALL, np.random.default_rng(0), rule)["R@1"] for rule in ("optimistic", "expected")}
    assert found["optimistic"] == {"value": 50, "low": 0, "high": 100}
    assert found["expected"] == {"value": 25, "low": 0, "high": 50}
