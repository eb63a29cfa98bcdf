"""Discriminative training: a contrastive loss over the images that the model itself retrieves (Eq. 8-10).

B batch, M candidates, L identifier length.
"""

from __future__ import annotations

import torch
from torch import Tensor


def with_positive(candidates_BML: Tensor, positive_BL: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns candidates that hold the positive, and its place (B,): it replaces a random one where the beam missed it (§3.2)."""
    candidates_BML = candidates_BML.clone()
    is_positive_BM = (candidates_BML == positive_BL[:, None]).all(-1)
    place_B = torch.where(
        is_positive_BM.any(1),
        is_positive_BM.int().argmax(1),
        torch.randint(candidates_BML.shape[1], (len(candidates_BML),), generator=generator),
    )
    candidates_BML[torch.arange(len(place_B)), place_B] = positive_BL
    return candidates_BML, place_B


def discriminative_loss(scores_BM: Tensor, place_B: Tensor) -> Tensor:
    """Returns Eq. 9: cross-entropy of the positive among the candidates' sequence scores; a score of -inf is no candidate."""
    return torch.nn.functional.cross_entropy(scores_BM, place_B)
