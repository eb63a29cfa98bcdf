"""What training minimises: Eq. 7 on identifiers, Eq. 9 over candidates; and the scores of an identifier that Eq. 9 compares.

B batch, M candidates, L identifier length, V identifier tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avg.padding import PAD


def generative_loss(logits_BLV: Tensor, codes_BL: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Returns Eq. 7 as a mean over the tokens of the batch."""
    return nn.functional.cross_entropy(logits_BLV.flatten(0, 1), codes_BL.flatten(), ignore_index=PAD, label_smoothing=label_smoothing)


def with_positive(candidates_BML: Tensor, positive_BL: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns candidates that hold the positive, and its place (B,): it replaces a random one where the beam missed it (§3.2).

    Args:
        candidates_BML: of PAD alone where a beam found nothing.
    """
    candidates_BML = candidates_BML.clone()
    is_positive_BM = (candidates_BML == positive_BL[:, None]).all(-1)
    place_B = torch.where(
        is_positive_BM.any(1),
        is_positive_BM.int().argmax(1),
        torch.randint(candidates_BML.shape[1], (len(candidates_BML),), generator=generator),
    )
    candidates_BML[torch.arange(len(place_B)), place_B] = positive_BL
    return candidates_BML, place_B


def sequence_scores(logits_BLV: Tensor, codes_BL: Tensor) -> Tensor:
    """Returns the sum of log-probabilities of each identifier's tokens, (B,); what pads counts nothing."""
    kept_BL = codes_BL != PAD
    picked_BL = logits_BLV.log_softmax(-1).gather(-1, codes_BL.clamp(min=0)[..., None])[..., 0]
    return (picked_BL * kept_BL).sum(-1)


def summed_probabilities(logits_BLV: Tensor, codes_BL: Tensor) -> Tensor:
    """Returns "the sum of the corresponding vokens' generation probabilities" (§3.2, before Eq. 9), (B,); what pads counts nothing.

    Between 0 and L: a softmax over such scores tells two candidates apart by a factor of e^L at most, which is how much weaker this is than
    the sum of log-probabilities (`sequence_scores`).

    Example: two tokens of probability 0.5 and 0.2 give 0.7, where the log-probabilities sum to log 0.1.
    """
    picked_BL = logits_BLV.softmax(-1).gather(-1, codes_BL.clamp(min=0)[..., None])[..., 0]
    return (picked_BL * (codes_BL != PAD)).sum(-1)


def discriminative_loss(scores_BM: Tensor, place_B: Tensor, softmaxes: int = 1) -> Tensor:
    """Returns Eq. 9: cross-entropy of the positive among the candidates' sequence scores; a score of -inf is no candidate.

    Args:
        softmaxes: 2 takes a softmax of the scores before that of the cross-entropy, as AVG's release does. The loss of M candidates then
            lies between log(1 + (M - 1) / e) and log(M - 1 + e), however sure the model is.

    Example: scores (log 3, 0) with the first positive have softmax (0.75, 0.25): the loss is -log 0.75 = 0.288 with one softmax, and
    log(1 + exp(0.25 - 0.75)) = 0.474 with two.
    """
    if softmaxes == 2:
        scores_BM = scores_BM.softmax(-1).masked_fill(scores_BM.isneginf(), float("-inf"))
    return nn.functional.cross_entropy(scores_BM, place_B)
