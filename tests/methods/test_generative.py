from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avg.padding import PAD
from benchmarks.metrics import Rule, hits, outcomes
from methods.avg import AVG
from methods.decoding.beam import beam_search
from methods.decoding.best_first import Exact
from methods.retriever import Ranking, SearchKnobs
from tests.methods.test_beam import Diverged


class _NoNumber(Diverged):
    def __init__(self):
        super().__init__(1, 0)

    def logits(self, query, prefix):
        return super().logits(1, prefix)


@pytest.fixture
def retriever():
    """Four images; 30 and 10 share the code (0, 1), image 40 has two codes."""
    retriever = AVG()
    retriever.use_index(
        {
            "ids_N": np.array([30, 20, 10, 40]),
            "codes_XL": np.array([[0, 1], [0, 2], [0, 1], [3, 0], [0, 0]]),
            "rows_X": np.array([0, 1, 2, 3, 3]),
        }
    )
    return retriever  # distinct codes, sorted: (0, 0), (0, 1), (0, 2), (3, 0)


def test_images_of_one_code_tie_in_gallery_order_and_are_listed_in_full(retriever):
    ranking = retriever.rank_codes(np.array([[1, 2, 3]]), np.array([[-1.0, -2.0, -3.0]]), k=1)
    assert ranking.ids_QW.tolist() == [[30, 10]] and ranking.group_QW.tolist() == [[0, 0]]


def test_an_image_counts_by_its_best_code(retriever):
    ranking = retriever.rank_codes(np.array([[0, 3, 2]]), np.array([[-1.0, -2.0, -3.0]]), k=4)
    assert ranking.ids_QW.tolist() == [[40, 20, PAD, PAD]] and ranking.group_QW.tolist() == [[0, 1, PAD, PAD]]


def test_codes_of_equal_score_tie_also_across_the_cut(retriever):
    ranking = retriever.rank_codes(np.array([[2, 1, 3]]), np.array([[-1.0, -1.0, -2.0]]), k=1)
    assert ranking.ids_QW.tolist() == [[30, 20, 10]] and ranking.group_QW.tolist() == [[0, 0, 0]]


def test_the_list_goes_on_until_k_codes_are_on_it(retriever):
    """Two images of one code are more than k = 2 codes ask for: image 20 under the second is on the list as well."""
    ranking = retriever.rank_codes(np.array([[1, 2, 3]]), np.array([[-1.0, -2.0, -3.0]]), k=2)
    assert ranking.ids_QW.tolist() == [[30, 10, 20]] and ranking.group_QW.tolist() == [[0, 0, 1]]
    found = outcomes(ranking, np.array([20]))
    assert hits(found, 2, "codes").tolist() == [1]
    assert [float(hits(found, 2, rule)[0]) for rule in ("expected", "optimistic", "pessimistic", "index")] == [0, 0, 0, 0]


def test_a_code_of_images_that_were_found_under_better_ones_is_no_further_code(retriever):
    ranking = retriever.rank_codes(np.array([[0, 3, 2, 1]]), np.array([[-1.0, -2.0, -3.0, -4.0]]), k=2)
    assert ranking.ids_QW.tolist() == [[40, 20]]


@given(st.lists(st.integers(0, 11), min_size=12, max_size=12), st.permutations(range(12)), st.integers(1, 5), st.integers(1, 5))
def test_every_rule_judges_a_list_as_it_judges_the_list_of_all(code_of, order, k, asked):
    """`asked` is at most what was listed for: what lies beyond changes nothing."""
    asked, retriever = min(asked, k), AVG()
    codes_XL = np.array(code_of)[:, None]
    retriever.use_index({"ids_N": np.arange(12), "codes_XL": codes_XL, "rows_X": np.arange(12)})
    codes = [code for code in order if code < len(set(code_of))]
    scores = -np.arange(len(codes), dtype=float) // 2  # some codes tie
    short, whole = (retriever.rank_codes(np.array([codes] * 12), np.array([scores] * 12), depth) for depth in (k, 12))
    for rule in get_args(Rule):
        of_short, of_whole = (hits(outcomes(ranking, np.arange(12)), asked, rule) for ranking in (short, whole))
        np.testing.assert_array_equal(of_short, of_whole)


def test_dead_beams_are_not_ranked(retriever):
    ranking = retriever.rank_codes(np.array([[2, PAD]]), np.array([[-1.0, -np.inf]]), k=2)
    assert ranking.ids_QW.tolist() == [[20, PAD]]


def test_exact_search_lists_k_groups_though_images_have_several_codes():
    """The first code is of five images, each of which has worse codes of its own: they make no groups, image 6 makes the second."""
    shared, own = [[0, 0]] * 5, [[1, token] for token in range(10)]
    retriever = AVG()
    retriever.use_index(
        {
            "ids_N": np.arange(7),
            "codes_XL": np.array([*shared, *own, [2, 0], [2, 1]]),
            "rows_X": np.r_[np.arange(5), np.arange(10) // 2, 5, 6],
        }
    )
    asked = []

    def best(reader, trie, k):
        asked.append(k)
        rows = np.where(np.arange(k) < 13, np.arange(k), PAD)[None]
        return Exact(torch.from_numpy(rows), torch.from_numpy(np.where(rows < 0, -np.inf, -rows)), torch.ones(1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("methods.decoding.best_first.best_first", best)
        patch.setattr(retriever, "_reader", lambda encoded: None)
        ranking = retriever.search(None, 2, SearchKnobs(exact=True))
        assert ranking.ids_QW.tolist() == [[0, 1, 2, 3, 4, 5]] and asked == [6, 12]
        found = retriever.search(None, 5, SearchKnobs(exact=True))
    assert found.group_QW.max() == 2 and asked[2:] == [15], "there are no more"


def test_a_generator_that_diverged_lists_nothing(retriever):
    codes, scores = beam_search(_NoNumber(), retriever._trie, 4)
    ranking = retriever.rank_codes(codes.numpy(), scores.numpy(), k=3)
    assert (ranking.ids_QW == PAD).all()


def test_the_codes_of_images_are_all_that_each_has_without_padding(retriever):
    assert retriever.codes_of([10, 40]) == [[(0, 1)], [(3, 0), (0, 0)]]
    retriever.use_index({"ids_N": np.array([5]), "codes_XL": np.array([[7, PAD]]), "rows_X": np.array([0])})
    assert retriever.codes_of([5]) == [[(7,)]]


@pytest.mark.parametrize(
    ("ids", "scores", "group"),
    [
        ([[1, 1]], [[0, 0]], [[0, 0]]),
        ([[1, 2]], [[0, 1]], [[0, 1]]),
        ([[1, 2]], [[1, 0]], [[0, 2]]),
        ([[PAD, 1]], [[-np.inf, 0]], [[PAD, 0]]),
    ],
    ids=["an image twice", "rising scores", "a group left out", "padding first"],
)
def test_an_impossible_ranking_is_refused(ids, scores, group):
    with pytest.raises(AssertionError):
        Ranking(np.array(ids), np.array(scores, np.float32), np.array(group, np.int32), 2)
