"""Statistics of identifiers: hand-made codes with values computed by hand, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods.code_statistics import (
    also_in,
    buckets,
    level_usage,
    neighbours,
    overall_usage,
    prefix_shares,
    random_others,
    shared_lengths,
)
from methods.coding import Coding


def coding(codes: list[list[int]], rows: list[int] | None = None) -> Coding:
    rows_X = np.arange(len(codes)) if rows is None else np.array(rows)
    return Coding(np.array(codes), rows_X, 100 + np.arange(rows_X.max() + 1))


FOUR = coding([[0, 1, 2], [0, 1, 3], [0, 1, 2], [3, 0, -1]])


def test_use_of_levels_by_hand():
    alphabets = [np.arange(4)] * 3
    first, second, third = level_usage(FOUR.codes_XL, alphabets)
    # rows 0, 0, 0, 3: two of four, entropy of (3/4, 1/4)
    assert first == {"coverage": 0.5, "perplexity": pytest.approx(np.exp(0.5623351), abs=0.01), "dead": 2, "identifiers": 4}
    assert second["dead"] == 2 and third == {"coverage": 0.5, "perplexity": pytest.approx(1.89, abs=0.01), "dead": 2, "identifiers": 3}
    # over the levels together 0 comes four times, 1 three times, 2 and 3 twice
    together = overall_usage(FOUR.codes_XL, alphabets)
    shares = np.array([4, 3, 2, 2]) / 11
    assert together == {
        "coverage": 1.0,
        "perplexity": pytest.approx(np.exp(-(shares * np.log(shares)).sum()), abs=0.01),
        "dead": 0,
        "identifiers": 11,
    }


def test_a_codebook_of_each_level_has_tokens_of_its_own():
    codes_XL = np.array([[0, 5], [1, 5]])
    assert [level["coverage"] for level in level_usage(codes_XL, [np.arange(4), np.arange(4, 8)])] == [0.5, 0.25]
    assert overall_usage(codes_XL, [np.arange(4), np.arange(4, 8)])["coverage"] == 3 / 8


def test_a_level_that_nothing_reaches_is_all_dead():
    (level,) = level_usage(np.array([[-1], [-1]]), [np.arange(3)])
    assert level == {"coverage": 0.0, "perplexity": 0.0, "dead": 3, "identifiers": 0}


def test_buckets_by_hand():
    found = buckets(FOUR)
    assert sorted(found.size_C) == [1, 1, 2]
    assert found.smallest_N.tolist() == found.largest_N.tolist() == [2, 1, 2, 1]
    assert found.code_N[0] == found.code_N[2] and len(set(found.code_N.tolist())) == 3


def test_of_several_identifiers_the_least_shared_counts():
    # image 0 has (1,) and (2,), image 1 has (2,) twice, image 2 has (2,) and (3,)
    found = buckets(coding([[1], [2], [2], [2], [2], [3]], [0, 0, 1, 1, 2, 2]))
    assert found.size_C.tolist() == [1, 3, 1], "an image that has an identifier twice counts once"
    assert found.smallest_N.tolist() == [1, 3, 1] and found.largest_N.tolist() == [3, 3, 3]
    assert found.code_N.tolist() == [0, 1, 2]


def test_identifiers_of_another_split_by_hand():
    other = coding([[0, 1, 2, 9], [3, 0, -1, -1]])
    assert also_in(FOUR, other).tolist() == [False, False, False, True], "(0, 1, 2) begins (0, 1, 2, 9) and is another"
    assert also_in(coding([[1, 1], [3, 0]], [0, 0]), other).tolist() == [True], "one of several is enough"


def test_shared_lengths_by_hand():
    one, other = np.array([0, 0, 0, 3]), np.array([1, 2, 3, 3])
    assert shared_lengths(FOUR, one, other).tolist() == [2, 3, 0, 2], "what pads is shared by nobody"
    several = coding([[1, 2], [5, 6], [5, 7], [1, 3]], [0, 0, 1, 2])
    assert shared_lengths(several, np.array([0, 0, 1]), np.array([1, 2, 2])).tolist() == [1, 1, 0]


def test_shares_of_pairs_sum_to_the_mean_length():
    lengths_P = np.array([2, 3, 0, 0])
    assert prefix_shares(lengths_P, 4) == [0.5, 0.5, 0.25, 0.0]
    assert sum(prefix_shares(lengths_P, 4)) == lengths_P.mean()


def test_neighbours_by_hand():
    vectors = np.array([[1.0, 0.0], [10.0, 1.0], [0.0, 1.0], [-1.0, 0.05]])
    assert neighbours(vectors, 1).tolist() == [[1], [0], [1], [2]]
    assert neighbours(vectors, 9).shape == (4, 3), "there are no more than three others"


def test_random_others_are_others_and_the_same_each_time():
    drawn = random_others(5, 200, np.random.default_rng(0))
    assert (drawn != np.arange(5)[:, None]).all() and all(set(row) == set(range(5)) - {n} for n, row in enumerate(drawn.tolist()))
    assert np.array_equal(drawn, random_others(5, 200, np.random.default_rng(0)))


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_shared_length_is_symmetric_and_whole_for_equal_codes(codes, random):
    this = coding(codes)
    one_P = np.array([random.randrange(len(codes)) for _ in range(20)])
    other_P = np.array([random.randrange(len(codes)) for _ in range(20)])
    found = shared_lengths(this, one_P, other_P)
    assert np.array_equal(found, shared_lengths(this, other_P, one_P))
    oracle = [next((n for n in range(3) if codes[a][n] != codes[b][n]), 3) for a, b in zip(one_P, other_P, strict=True)]
    assert found.tolist() == oracle


@given(st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=1, max_size=12))
def test_buckets_count_every_image_once(codes):
    found = buckets(coding(codes))
    assert found.size_C.sum() == len(codes)
    assert found.smallest_N.tolist() == [codes.count(code) for code in codes]


def test_what_is_computed_in_parts_is_whole(monkeypatch):
    monkeypatch.setattr("methods.code_statistics.CHUNK", 3)
    assert shared_lengths(FOUR, np.array([0, 0, 0, 3]), np.array([1, 2, 3, 3])).tolist() == [2, 3, 0, 2]
    angles = np.arange(1100) / 1000
    nearest = neighbours(np.stack([np.cos(angles), np.sin(angles)], 1), 2)
    assert (np.sort(nearest[1:-1], 1) == np.arange(1, 1099)[:, None] + [-1, 1]).all(), "nobody is its own neighbour"


def test_neighbours_are_near_by_direction_whatever_their_length():
    assert neighbours(np.array([[1.0, 0.0], [9.0, 9.0], [1.0, 0.1]]), 1).tolist() == [[2], [2], [0]]
