"""Exposed pictures and their pseudo-queries beside the training split."""

from __future__ import annotations

import numpy as np
import torch

from methods.fitting.joined import joined
from methods.pseudo_queries import PseudoQueries
from methods.split_features import PackedStates, SplitFeatures

PICTURES, CAPTIONS, WIDTH = 4, 3, 2


def features(first_id: int, longest: int, seed: int) -> SplitFeatures:
    """Returns random features whose captions have 1 to `longest` tokens, of another number in each."""
    rng = np.random.default_rng(seed)
    count = PICTURES * CAPTIONS
    lengths = torch.from_numpy(1 + np.arange(count) % longest)
    states = PackedStates(
        torch.from_numpy(rng.normal(size=(int(lengths.sum()), 5))).bfloat16(), torch.cat([torch.zeros(1).long(), lengths.cumsum(0)])
    )
    images, texts = (rng.normal(size=(rows, WIDTH)).astype(np.float32) for rows in (PICTURES, count))
    return SplitFeatures(images, texts, np.arange(first_id, first_id + PICTURES), np.repeat(np.arange(PICTURES), CAPTIONS), states)


def queries(split: str, of: SplitFeatures) -> PseudoQueries:
    said = (of.images_ND, of.texts_QD, of.states.states_TH, of.states.start_Q1)
    return PseudoQueries(split, tuple(f"{split} {row}" for row in range(len(of.texts_QD))), of.caption_rows_Q, of.image_ids_N, *said)


def test_every_caption_keeps_its_picture_its_vector_and_its_states():
    parts = [features(100, 3, 0), features(200, 7, 1), features(300, 2, 2)]
    both = joined(parts[0], [queries("val", parts[1]), queries("test", parts[2])])
    assert both.image_ids_N.tolist() == [*range(100, 104), *range(200, 204), *range(300, 304)]
    order = torch.randperm(len(both.texts_QD), generator=torch.Generator().manual_seed(0))
    states_BTH, mask_BT = both.states.take(order)
    assert states_BTH.shape[1] == 7
    for row, states_TH, mask_T in zip(order.tolist(), states_BTH, mask_BT, strict=True):
        part, own = parts[row // 12], row % 12
        np.testing.assert_array_equal(both.texts_QD[row], part.texts_QD[own])
        assert both.image_ids_N[both.caption_rows_Q[row]] == part.image_ids_N[part.caption_rows_Q[own]]
        np.testing.assert_array_equal(both.images_ND[both.caption_rows_Q[row]], part.images_ND[part.caption_rows_Q[own]])
        first, end = part.states.start_Q1[own : own + 2].tolist()
        torch.testing.assert_close(states_TH[mask_T], part.states.states_TH[first:end])
        assert (states_TH[~mask_T] == 0).all()
    lengths = torch.cat([part.states.start_Q1.diff() for part in parts])
    assert both.states.start_Q1.diff().tolist() == lengths.tolist()


def test_one_part_alone_is_no_wider_than_it_needs():
    parts = [features(100, 3, 0), features(200, 7, 1)]
    both = joined(parts[0], [queries("test", parts[1])])
    states_BTH, mask_BT = both.states.take(torch.tensor([5, 1]))
    expected_BTH, expected_BT = parts[0].states.take(torch.tensor([5, 1]))
    torch.testing.assert_close(states_BTH, expected_BTH)
    assert mask_BT.tolist() == expected_BT.tolist()


def test_a_generator_with_words_of_its_own_gets_no_states():
    train, made = features(100, 3, 0), features(200, 7, 1)
    without = SplitFeatures(
        train.images_ND, train.texts_QD, train.image_ids_N, train.caption_rows_Q, PackedStates(torch.empty(0, 0), train.states.start_Q1)
    )
    both = joined(without, [queries("test", made)])
    states_BTH, mask_BT = both.states.take(torch.tensor([0, 20]))
    assert states_BTH.shape[0] == len(mask_BT) == 2 and states_BTH.shape[2] == 0
    assert len(both.states.start_Q1) == 25
