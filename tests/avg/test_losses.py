"""Eq. 8-10 with numbers that are computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from avg.losses import discriminative_loss, sequence_scores, summed_probabilities, with_positive

PROBABILITIES = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], [[0.25, 0.25, 0.5], [0.6, 0.3, 0.1]]])


def test_the_papers_score_sums_probabilities_and_padding_counts_nothing():
    codes = torch.tensor([[0, 2], [2, -1]])
    assert summed_probabilities(PROBABILITIES.log(), codes).tolist() == pytest.approx([0.5 + 0.7, 0.5])
    assert sequence_scores(PROBABILITIES.log(), codes).tolist() == pytest.approx([math.log(0.5 * 0.7), math.log(0.5)])


def test_the_two_scores_can_order_candidates_differently():
    """Probabilities 0.4 and 0.4 sum to less than 0.02 and 0.98, and multiply to more."""
    logits = torch.tensor([[[0.4, 0.6], [0.4, 0.6]], [[0.02, 0.98], [0.98, 0.02]]]).log()
    codes = torch.zeros(2, 2, dtype=torch.long)
    even, uneven = summed_probabilities(logits, codes)
    assert even < uneven
    even, uneven = sequence_scores(logits, codes)
    assert even > uneven


def test_eq_9_with_one_softmax_and_with_two():
    scores, place = torch.tensor([[math.log(3), 0.0]]), torch.tensor([0])
    assert float(discriminative_loss(scores, place)) == pytest.approx(-math.log(0.75))
    assert float(discriminative_loss(scores, place, softmaxes=2)) == pytest.approx(math.log(1 + math.exp(0.25 - 0.75)))


@pytest.mark.parametrize("candidates", [2, 10])
def test_two_softmaxes_bound_the_loss_however_sure_the_model_is(candidates):
    sure = torch.zeros(1, candidates)
    sure[0, 0] = 1e4
    right = float(discriminative_loss(sure, torch.tensor([0]), softmaxes=2))
    wrong = float(discriminative_loss(sure, torch.tensor([1]), softmaxes=2))
    assert right == pytest.approx(math.log(1 + (candidates - 1) / math.e))
    assert wrong == pytest.approx(math.log(candidates - 1 + math.e))
    assert float(discriminative_loss(sure, torch.tensor([0]))) == 0


@pytest.mark.parametrize("softmaxes", [1, 2])
def test_what_is_no_candidate_changes_nothing(softmaxes):
    scores, none = torch.tensor([[0.3, -1.2, 0.9]]), torch.full((1, 2), float("-inf"))
    place = torch.tensor([2])
    with_none = discriminative_loss(torch.cat([scores, none], 1), place, softmaxes)
    assert float(with_none) == pytest.approx(float(discriminative_loss(scores, place, softmaxes)))


def test_the_positive_replaces_a_random_candidate_only_where_it_is_missing():
    candidates = torch.tensor([[[1, 1], [2, 2], [3, 3]]] * 2)
    positive = torch.tensor([[2, 2], [9, 9]])
    places = set()
    for seed in range(30):
        held, place = with_positive(candidates, positive, torch.Generator().manual_seed(seed))
        assert torch.equal(with_positive(candidates, positive, torch.Generator().manual_seed(seed))[1], place)
        assert place[0] == 1 and torch.equal(held[0], candidates[0])
        assert held[1, place[1]].tolist() == [9, 9] and (held[1] == candidates[1]).all(-1).sum() == 2
        places.add(int(place[1]))
    assert places == {0, 1, 2}
