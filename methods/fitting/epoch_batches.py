"""What an epoch learns and in which order: every caption once, and beside each batch of them a third as many pictures.

B batch, P pictures of a batch, N pictures.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from methods.fitting.batching import batches
from methods.fitting.identified import Identified, Shown, lengths, trimmed
from methods.fitting.objective import Batch


def epoch_batches(captions: Identified, shown: Shown | None, size: int, random: torch.Generator) -> list[Batch]:
    """Returns an epoch's batches, each with identifiers drawn anew for images that have several.

    Args:
        size: captions of a batch.
    """
    codes_QL = captions.draw(captions.caption_images(torch.arange(len(captions.features.texts_QD))), random)
    third, count = max(size // 3, 1), -(-len(codes_QL) // size)
    picked_P = passes(len(shown.vectors_ND), count * third, random) if shown else codes_QL.new_empty(0)
    codes_PL = shown.identified.draw(picked_P, random) if shown else codes_QL[:0]
    rows = batches(lengths(codes_QL), captions.features.states.lengths_Q, size, random)
    picture_rows = batches(lengths(codes_PL), torch.zeros(len(codes_PL)), third, random)
    planned = [Batch(rows_B, trimmed(codes_QL[rows_B])) for rows_B in rows]
    if not shown:
        return planned
    return [
        replace(batch, pictures_P=picked_P[rows_P], picture_codes_PL=trimmed(codes_PL[rows_P]))
        for batch, rows_P in zip(planned, picture_rows, strict=True)
    ]


def passes(items: int, count: int, random: torch.Generator) -> Tensor:
    """Returns the first so many places of one shuffled pass over all items after another: none is left out while others come again."""
    return torch.cat([torch.randperm(items, generator=random) for _ in range(-(-count // items))])[:count]
