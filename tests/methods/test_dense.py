"""The two-tower machine: exact ties of equal vectors, and how far a list reaches."""

from __future__ import annotations

import numpy as np
import pytest

from avg.padding import PAD
from avg.settings import Settings
from methods.dense import DenseRetriever, best_groups
from methods.retriever import Ranking, SearchKnobs
from tests.methods.test_recall import vectors


class Given(DenseRetriever):
    """Vectors as they are given; a query is one."""

    paradigm = "two-tower"
    Config = Settings

    def stages(self, data, exposure):
        return {}

    def _load_parts(self):
        return

    def image_vectors(self, gallery):
        return np.stack(gallery.pictures)

    def encode(self, queries):
        return np.stack(queries)


def ranked(vectors_ND, queries_QD, k):
    retriever = Given()
    retriever.use_index({"ids_N": np.arange(len(vectors_ND)), "vectors_ND": vectors_ND})
    return retriever.search(queries_QD, k, SearchKnobs())


def test_equal_vectors_are_tied_for_every_query():
    queries_QD = np.random.default_rng(1).normal(size=(128, 256)).astype(np.float32)
    ranking = ranked(vectors(), queries_QD, 1000)
    group_QN = np.take_along_axis(ranking.group_QW, np.argsort(ranking.ids_QW, axis=1), axis=1)
    assert (group_QN[:, 3] == group_QN[:, 700]).all() and (group_QN[:, 3] == group_QN[:, 999]).all()
    assert (ranking.group_QW.max(1) >= 990).all(), "what differs is not tied"


def test_where_all_differ_scores_are_those_of_one_product():
    vectors_ND, queries_QD = vectors(copies=()), np.random.default_rng(1).normal(size=(128, 256)).astype(np.float32)
    np.testing.assert_array_equal(ranked(vectors_ND, queries_QD, 1000).scores_QW, -np.sort(-(queries_QD @ vectors_ND.T), axis=1))


def test_a_list_goes_on_until_it_has_k_groups():
    ids, scores, group = best_groups(np.arange(10, 17), np.array([5, 4, 4, 4, 3, 3, 1], np.float32), 3)
    assert (ids.tolist(), scores.tolist()) == ([10, 11, 12, 13, 14, 15], [5, 4, 4, 4, 3, 3])
    assert group.tolist() == [0, 1, 1, 1, 2, 2]
    assert best_groups(np.arange(3), np.ones(3, np.float32), 2)[0].tolist() == [0, 1, 2], "there is one group only"


def test_the_first_images_of_a_ranking_are_those_and_what_ties_with_the_last():
    images_ND = np.array([[5], [4], [4], [4], [3], [1]], np.float32)
    ranking = ranked(images_ND, np.array([[1], [-1]], np.float32), 3)
    assert ranking.ids_QW.tolist() == [[0, 1, 2, 3, 4], [5, 4, 1, 2, 3]]
    assert ranking.listed(3).tolist() == [[0, 1, 2, 3, PAD], [5, 4, 1, 2, 3]]
    assert ranking.listed(1).tolist() == [[0], [5]]


def test_an_image_whose_score_is_no_number_is_left_out_and_takes_nobody_with_it():
    images_ND = np.array([[np.nan], [4], [5], [3]], np.float32)
    ranking = ranked(images_ND, np.array([[1]], np.float32), 1)
    assert ranking.ids_QW[0].tolist() == [2]
    assert ranked(images_ND, np.array([[1]], np.float32), 10).ids_QW[0].tolist()[:4] == [2, 1, 3, PAD]
    assert ranked(images_ND * np.nan, np.array([[1]], np.float32), 2).ids_QW[0].tolist() == [PAD, PAD]


def test_of_no_images_none_are_best():
    assert [len(each) for each in best_groups(np.empty(0, np.int64), np.empty(0, np.float32), 3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("ids", "scores", "group", "message"),
    [
        ([3, 5], [1, 2], [0, 1], "scores never rise"),
        ([3, 5], [2, 1], [0, 2], "groups count up from 0"),
        ([3, 5], [2, 1], [1, 2], "groups count up from 0"),
        ([3, 3], [2, 1], [0, 1], "an image appears once in a row"),
        ([PAD, 3], [-np.inf, -np.inf], [PAD, 0], "what pads stands last"),
        ([3, PAD], [1, 0], [0, PAD], "ids, scores and groups pad together"),
    ],
)
def test_what_is_no_ranking_is_refused(ids, scores, group, message):
    with pytest.raises(AssertionError, match=message):
        Ranking.from_rows([(np.array(ids), np.array(scores, np.float32), np.array(group, np.int32))], 2)


def test_a_row_of_fewer_images_than_asked_for_is_listed_whole():
    short = np.array([7, 9]), np.array([2, 1], np.float32), np.arange(2, dtype=np.int32)
    assert Ranking.from_rows([short], 3).listed(3).tolist() == [[7, 9, PAD]]


def test_image_ids_beyond_32_bits_are_stored_whole(tmp_path):
    row = np.array([2**31, 5]), np.array([2, 1], np.float32), np.arange(2, dtype=np.int32)
    Ranking.from_rows([row], 2).save(tmp_path / "ranking.npz")
    assert Ranking.load(tmp_path / "ranking.npz").ids_QW.tolist() == [[2**31, 5]]
