"""A generator with sources before it, reading identifiers' tokens of many beams at once: what a search asks of a model.

B queries, M beams, n tokens read at once, t positions of a beam's past, V identifier tokens, C tokens asked for, W model width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from avg.padding import PAD

if TYPE_CHECKING:
    from avg.generator import Generator

LOGITS = 2**25
"""Logits that are computed at once: of long identifiers a beam's rest has more than memory holds."""


@dataclass(frozen=True)
class Read:
    """What a model says after tokens.

    Args:
        hidden_BMnW: its hidden states after each.
        places_Mn: numbers of the positions that were read.
    """

    reader: Reader
    hidden_BMnW: Tensor
    places_Mn: Tensor

    def logs(self, tokens_BMnC: Tensor) -> Tensor:
        """Returns the log-probability of each of some tokens to follow, float32 (B, M, n, C); of PAD, which follows an end, 0."""
        hidden_XW, tokens_XC = self.hidden_BMnW.flatten(0, 2), tokens_BMnC.flatten(0, 2)
        size = max(LOGITS // self.reader.words, 1)
        logs_XC = torch.cat(
            [self.reader.logs(some_XW, some_XC) for some_XW, some_XC in zip(hidden_XW.split(size), tokens_XC.split(size), strict=True)]
        )
        return logs_XC.masked_fill(tokens_XC == PAD, 0.0).view(tokens_BMnC.shape)


class Reader:
    """A generator in inference mode before a batch of sources.

    Args:
        state: as from `generator.begin`.
        queries: B.
        whole_vocabulary: whether log-probabilities are normalised over all that the model could say, as `transformers` does, and not over
            the V identifier tokens that it was trained on.

    `positions` counts those that were read, of each query.
    """

    def __init__(self, generator: Generator, state: Any, queries: int, whole_vocabulary: bool = False):
        self.queries, self.start, self.device = queries, generator.tokens, generator.device
        self._generator, self._state, self._whole = generator, state, whole_vocabulary
        self.positions = 0
        self.words = generator.vocabulary if whole_vocabulary else generator.tokens

    def __call__(self, tokens_BMn: Tensor, past_BMt: Tensor, ragged: bool = False) -> Read:
        """Returns what follows n tokens more of each beam; what they pad with counts nothing.

        Args:
            past_BMt: numbers of the positions before them.
            ragged: whether beams differ in length; then shorter pasts are filled with `decoding.NONE` at their end.
        """
        self.positions += tokens_BMn.shape[1] * tokens_BMn.shape[2]
        return Read(self, *self._generator.advance(tokens_BMn.clamp(min=0), self._state, past_BMt, ragged))

    def logs(self, hidden_XW: Tensor, tokens_XC: Tensor) -> Tensor:
        """Returns log-probabilities after some positions."""
        logits_XV = self._generator.logits(hidden_XW)
        total_X1 = (self._generator.whole_logits(hidden_XW) if self._whole else logits_XV).logsumexp(-1, keepdim=True)
        return logits_XV.gather(-1, tokens_XC.clamp(min=0)) - total_X1
