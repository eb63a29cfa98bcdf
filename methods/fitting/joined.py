"""The training split and exposed pictures with their pseudo-queries, as one split.

N pictures, Q captions, B batch, T token positions, H width of a text state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from methods.pseudo_queries import PseudoQueries
from methods.split_features import PackedStates, SplitFeatures


@dataclass(frozen=True)
class JoinedStates(PackedStates):
    """Token states of several sets of captions, numbered through; those of the training split are large, and stay where they are.

    `states_TH` are the first set's alone, `start_Q1` counts through all.
    """

    parts: tuple[PackedStates, ...] = ()

    def take(self, rows_B: Tensor) -> tuple[Tensor, Tensor]:
        if not self.states_TH.shape[1]:  # a generator with a text encoder of its own reads none
            return super().take(rows_B)
        bounds = np.cumsum([0, *(len(part.start_Q1) - 1 for part in self.parts)]).tolist()
        states, masks, places = [], [], []
        for part, low, high in zip(self.parts, bounds, bounds[1:], strict=False):
            places_b = torch.nonzero((rows_B >= low) & (rows_B < high))[:, 0]
            if len(places_b):
                states_bTH, mask_bT = part.take(rows_B[places_b] - low)
                states.append(states_bTH)
                masks.append(mask_bT)
                places.append(places_b)
        longest = max(mask_bT.shape[1] for mask_bT in masks)
        back_B = torch.cat(places).argsort()
        states_BTH = torch.cat([torch.nn.functional.pad(each, (0, 0, 0, longest - each.shape[1])) for each in states])
        mask_BT = torch.cat([torch.nn.functional.pad(each, (0, longest - each.shape[1])) for each in masks])
        return states_BTH[back_B], mask_BT[back_B]


def joined(train: SplitFeatures, made: Sequence[PseudoQueries]) -> SplitFeatures:
    """Returns the features of the training split with further pictures, which have pseudo-queries in the place of captions."""
    images, texts, ids, rows = [train.images_ND], [train.texts_QD], [train.image_ids_N], [train.caption_rows_Q]
    parts, start = [train.states], [train.states.start_Q1]
    for queries in made:
        rows.append(queries.rows_P + sum(map(len, images)))
        images.append(queries.images_ND)
        texts.append(queries.texts_PD)
        ids.append(queries.image_ids_N)
        parts.append(PackedStates(queries.states_TH, queries.start_P1))
        start.append(queries.start_P1[1:] + start[-1][-1])
    states = JoinedStates(train.states.states_TH, torch.cat(start), tuple(parts))
    return SplitFeatures(np.concatenate(images), np.concatenate(texts), np.concatenate(ids), np.concatenate(rows), states)
