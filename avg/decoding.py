"""How a transformers decoder writes many sequences to a source: their prefixes form a tree, of which each position is computed once.

B queries, M sequences or beams, L tokens, n new tokens of a beam, t tokens before them, T source positions, W model width.

Positions of a query are numbered as they are computed, and keep their number and what was computed of them: a beam is the list of its
positions. So beams change places, branch and die without anything being moved.

    read "start" -> 0      read 7, 9 after it -> 1, 2      both beams go on from token 9: past_BMt = [0 2], [0 2]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from torch import Tensor, nn

NONE = -1
"""Fills the past of a beam that is shorter than the longest."""


@dataclass(frozen=True)
class Source:
    """What the decoder attends to: (B, T, W) vectors and (B, T) True where there is one."""

    states_BTW: Tensor
    mask_BT: Tensor


class Decoding(ABC):
    """Runs a decoder. What `begin` returns belongs to it, and grows with every `advance`."""

    @abstractmethod
    def teach(self, embeds_BMLW: Tensor, source: Source) -> Tensor:
        """Returns the hidden states of whole sequences, each position seeing those before it, (B, M, L, W)."""

    @abstractmethod
    def begin(self, source: Source, length: int, room: int = 0) -> Any:
        """Returns the state in which nothing is written yet.

        Args:
            length: tokens of a sequence at most, its start among them.
            room: positions a query for which memory is laid out at once; more may come.
        """

    @abstractmethod
    def advance(self, embeds_BMnW: Tensor, state: Any, past_BMt: Tensor, ragged: bool = False) -> tuple[Tensor, Tensor]:
        """Returns the hidden states of n tokens more of each beam, (B, M, n, W), and the numbers of their positions, (M, n).

        Args:
            past_BMt: numbers of the positions before them, first to last.
            ragged: whether beams differ in length; then shorter pasts are filled with `NONE` at their end.
        """


def numbered(first: int, beams: int, tokens: int, device: torch.device) -> Tensor:
    """Returns the numbers of the positions that are computed next, (M, n)."""
    return torch.arange(first, first + beams * tokens, device=device).view(beams, tokens)


def taken(kept_BSX: Tensor, past_BMt: Tensor) -> Tensor:
    """Returns what is kept of some positions, (B, M, t, ...); of `NONE`, what stands first."""
    batch, room = kept_BSX.shape[:2]
    rows_BMt = past_BMt.clamp(min=0) + room * torch.arange(batch, device=past_BMt.device)[:, None, None]
    return kept_BSX.flatten(0, 1)[rows_BMt]


@dataclass
class _Embedded:
    source: Source
    embeds_BSW: Tensor | None = None  # of the decoder's width, which the source need not have


class OwnDecoding(Decoding):
    """Any decoder that takes `inputs_embeds` and attends to a source, through its own forward.

    Nothing but embeddings is kept: with a code of four tokens, computing prefixes again costs three times the positions, and needs to know
    nothing of a model's cache.
    """

    def __init__(self, decoder: nn.Module):
        self.decoder = decoder

    def teach(self, embeds_BMLW: Tensor, source: Source) -> Tensor:
        batch, beams = embeds_BMLW.shape[:2]
        hidden_XLW = self.decoder(
            inputs_embeds=embeds_BMLW.flatten(0, 1),
            encoder_hidden_states=source.states_BTW.repeat_interleave(beams, 0),
            encoder_attention_mask=source.mask_BT.repeat_interleave(beams, 0).long(),
            use_cache=False,
        ).last_hidden_state
        return hidden_XLW.unflatten(0, (batch, beams))

    def begin(self, source: Source, length: int, room: int = 0) -> _Embedded:
        return _Embedded(source)

    def advance(self, embeds_BMnW: Tensor, state: _Embedded, past_BMt: Tensor, ragged: bool = False) -> tuple[Tensor, Tensor]:
        beams, new = embeds_BMnW.shape[1:3]
        before = [] if state.embeds_BSW is None else [state.embeds_BSW]
        places_Mn = numbered(before[0].shape[1] if before else 0, beams, new, embeds_BMnW.device)
        state.embeds_BSW = torch.cat([*before, embeds_BMnW.flatten(1, 2)], 1)
        if not past_BMt.shape[2]:
            return self.teach(embeds_BMnW, state.source), places_Mn
        # new tokens stand right after a beam's own past, so that none sees what fills
        places_BMn = places_Mn.expand(len(past_BMt), -1, -1)
        path_BMs = torch.cat([past_BMt, places_BMn], 2)
        length_BM1 = (past_BMt != NONE).sum(2, keepdim=True)
        at_BMn = length_BM1 + torch.arange(new, device=length_BM1.device)
        path_BMs = path_BMs.scatter(2, at_BMn, places_BMn)
        hidden_BMsW = self.teach(taken(state.embeds_BSW, path_BMs), state.source)
        return hidden_BMsW.gather(2, at_BMn[..., None].expand(-1, -1, -1, hidden_BMsW.shape[3])), places_Mn
