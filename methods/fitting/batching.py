"""Batches of like length: what is padded is computed all the same, and with random batches that is near half of a caption model's work.

X rows, B batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

POOL = 64
"""Batches that are sorted together: enough for little padding, few enough that a batch differs from epoch to epoch."""


def batches(target_X: Tensor, source_X: Tensor, batch: int, random: torch.Generator) -> list[Tensor]:
    """Returns every row once, in batches of rows whose targets, and then whose sources, are of like length, in random order.

    Args:
        target_X, source_X: lengths in tokens.
    """
    found: list[Tensor] = []
    shuffled = torch.randperm(len(target_X), generator=random)
    for first in range(0, len(shuffled), POOL * batch):
        rows = shuffled[first : first + POOL * batch]
        order = np.lexsort((source_X[rows].numpy(), target_X[rows].numpy()))
        found += rows[torch.from_numpy(order)].split(batch)
    return [found[place] for place in torch.randperm(len(found), generator=random)]
