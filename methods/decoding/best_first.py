"""Exact search over a prefix index: the best k identifiers, found best prefix first.

Q queries, P prefixes that wait, E of them read at once, C edges of a node at most, t positions of a prefix's past, L identifier length.

A log-probability is never positive, so what a prefix has scored bounds all identifiers that begin with it. Once k whole identifiers score
above every prefix that waits, nothing better is left: unlike a beam's, the result cannot miss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from avg.decoding import NONE
from avg.padding import PAD
from methods.decoding.beam import DeviceTrie, Reader

NEVER = float("-inf")


@dataclass(frozen=True)
class Exact:
    """The best identifiers, rows of the index, best first (Q, k), -1 where there are fewer; their scores; positions read of each query."""

    rows_Qk: Tensor
    scores_Qk: Tensor
    positions_Q: Tensor


@dataclass
class _Prefixes:
    """Prefixes by query: what they scored, where they stand in the index and how deep, their last token and the positions before it."""

    scores_QP: Tensor
    nodes_QP: Tensor
    depths_QP: Tensor
    tokens_QP: Tensor
    past_QPL: Tensor

    def each(self, of: Callable[[Tensor], Tensor]) -> _Prefixes:
        """Returns prefixes whose arrays are a function of these'."""
        return _Prefixes(*(of(getattr(self, name)) for name in self.__dataclass_fields__))

    def taken(self, places_QE: Tensor) -> _Prefixes:
        queries_Q1 = torch.arange(len(places_QE), device=places_QE.device)[:, None]
        return self.each(lambda array: array[queries_Q1, places_QE])

    def divided(self, count: int) -> tuple[_Prefixes, _Prefixes]:
        """Returns each query's first, and the others."""
        return self.each(lambda array: array[:, :count]), self.each(lambda array: array[:, count:])

    def joined(self, others: _Prefixes) -> _Prefixes:
        return _Prefixes(*(torch.cat([getattr(self, name), getattr(others, name)], 1) for name in self.__dataclass_fields__))

    def above(self, scores_Q1: Tensor) -> _Prefixes:
        """Returns those that score more than this, best first, and as many of each query as of the one with most; the others never win."""
        scores_QP = self.scores_QP.masked_fill(self.scores_QP <= scores_Q1, NEVER)
        kept, places_QP = scores_QP.topk(int((scores_QP > NEVER).sum(1).max()), dim=1)
        found = self.taken(places_QP)
        found.scores_QP = kept
        return found


@torch.inference_mode()
def best_first(read: Reader, trie: DeviceTrie, k: int, at_once: int = 8) -> Exact:
    """Returns the k identifiers of highest summed log-probability, exactly; none whose score is not a number.

    Args:
        at_once: E. More make fewer and larger steps, and read prefixes that one at a time would have spared.
    """
    queries, device, length = read.queries, read.device, trie.length
    zeros_Q1 = torch.zeros(queries, 1, dtype=torch.long, device=device)
    past_Q1L = torch.full((queries, 1, length), NONE, device=device)
    waiting = _Prefixes(zeros_Q1.float(), zeros_Q1, zeros_Q1, torch.full_like(zeros_Q1, read.start), past_Q1L)
    rows_Qk = torch.full((queries, k), PAD, device=device)
    scores_Qk = torch.full((queries, k), NEVER, device=device)
    positions_Q = torch.zeros(queries, dtype=torch.long, device=device)
    after_root_L = torch.full((length,), NONE, device=device)
    after_root_L[0] = 0
    later = max(trie.fan_out[1:], default=1)  # the root has most, and is read but once
    while (waiting := waiting.above(scores_Qk[:, -1:])).scores_QP.shape[1]:
        best, rest = waiting.divided(at_once)
        # a query for which fewer prefixes wait reads some token after the root, to no effect
        idle_QE = best.scores_QP == NEVER
        best.nodes_QP, best.tokens_QP = best.nodes_QP.masked_fill(idle_QE, 0), best.tokens_QP.masked_fill(idle_QE, 0)
        best.depths_QP = best.depths_QP.masked_fill(idle_QE, 1)
        best.past_QPL = torch.where(idle_QE[..., None], after_root_L, best.past_QPL)
        deepest = int(best.depths_QP.max())
        width = later if deepest else trie.fan_out[0]
        found = read(best.tokens_QP[..., None], best.past_QPL[..., :deepest], ragged=True)
        positions_Q += (~idle_QE).sum(1)
        token_QEC, child_QEC, valid_QEC = trie.edges(best.nodes_QP, best.depths_QP, width)
        logs_QEC = found.logs(token_QEC[:, :, None])[:, :, 0]
        logs_QEC = logs_QEC.masked_fill(~valid_QEC | logs_QEC.isnan(), NEVER)
        scores_QEC = best.scores_QP[..., None] + logs_QEC
        whole_QEC = trie.whole(child_QEC, best.depths_QP[..., None] + 1)
        rows_QX = torch.cat([rows_Qk, (~child_QEC).flatten(1)], 1)
        scores_QX = torch.cat([scores_Qk, scores_QEC.masked_fill(~whole_QEC, NEVER).flatten(1)], 1)
        scores_Qk, places_Qk = scores_QX.topk(k, dim=1)
        rows_Qk = rows_QX.gather(1, places_Qk)
        past_QEL = best.past_QPL.scatter(2, best.depths_QP[..., None], found.places_Mn[None].expand(queries, -1, -1))
        new = _Prefixes(
            scores_QEC.masked_fill(whole_QEC, NEVER).flatten(1),
            child_QEC.flatten(1),
            (best.depths_QP + 1).repeat_interleave(token_QEC.shape[2], 1),
            token_QEC.flatten(1),
            past_QEL.repeat_interleave(token_QEC.shape[2], 1),
        )
        waiting = rest.joined(new.above(scores_Qk[:, -1:]))
    return Exact(rows_Qk.masked_fill(scores_Qk == NEVER, PAD), scores_Qk, positions_Q)
