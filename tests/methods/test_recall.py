"""Where a target stands, ties shared: by hand, and exactly so for equal vectors."""

from __future__ import annotations

import numpy as np
import pytest

from methods.dense import unit
from methods.recall import dense_recall, dense_standing, distinct, expected_hits, standing


def vectors(images=1000, width=256, copies=((700, 3), (999, 3))):
    vectors_ND = unit(np.random.default_rng(0).normal(size=(images, width)).astype(np.float32))
    for copy, of in copies:
        vectors_ND[copy] = vectors_ND[of]
    return vectors_ND


def test_a_hit_is_shared_by_those_that_tie_across_the_cut():
    assert expected_hits(np.array([0, 0, 1, 3]), np.array([1, 4, 2, 1]), 2).tolist() == [1, 0.5, 0.5, 0]


def test_standing_counts_what_scores_more_and_what_scores_as_much():
    before_Q, tied_Q = standing(np.array([[3.0, 1.0, 2.0], [2.0, 5.0, 2.0]]), np.array([2, 0]))
    assert (before_Q.tolist(), tied_Q.tolist()) == ([1, 1], [1, 2])


def test_equal_vectors_tie_for_every_query_wherever_they_stand():
    images_ND, texts_QD = vectors(), np.random.default_rng(1).normal(size=(2500, 256)).astype(np.float32)
    for row in (3, 700, 999):
        before_Q, tied_Q = dense_standing(texts_QD, images_ND, np.full(2500, row))
        assert (tied_Q == 3).all()
        assert (before_Q == dense_standing(texts_QD, images_ND, np.full(2500, 3))[0]).all()
    assert dense_recall(images_ND, images_ND, np.arange(1000)) == pytest.approx(100 * (997 + 1) / 1000)


def test_vectors_that_all_differ_are_multiplied_as_they_are():
    images_ND = vectors(copies=())
    found_CD, which_N = distinct(images_ND)
    assert found_CD is images_ND and which_N.tolist() == list(range(1000))
    found_CD, which_N = distinct(vectors())
    assert len(found_CD) == 998
    np.testing.assert_array_equal(found_CD[which_N], vectors())


def test_what_is_not_a_number_finds_nothing():
    """So that no epoch of a training that diverged is chosen."""
    texts_QD, images_ND, rows_Q = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), np.arange(3)
    assert dense_recall(texts_QD, images_ND, rows_Q) == 100
    assert dense_recall(np.full_like(texts_QD, np.nan), images_ND, rows_Q) == 0
    assert dense_recall(texts_QD, np.full_like(images_ND, np.nan), rows_Q) == 0
