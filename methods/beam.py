"""Constrained beam search over a prefix index of identifiers (§3.3).

Q queries, M beams, C children of a node at most, V identifier tokens, L identifier length.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from methods.trie import PAD, Trie

Continue = Callable[[Tensor, Tensor], Tensor]
"""(parents_QM, tokens_QM) -> logits of the next token (Q, M, V): appends a token to chosen beams."""


class DeviceTrie:
    """A prefix index as tensors, on the device where the beams are."""

    def __init__(self, trie: Trie, device: torch.device | None = None):
        self.first_S1, self.token_E = torch.from_numpy(trie.first_S1).to(device), torch.from_numpy(trie.token_E).to(device)
        self.leaf_S, self.identifiers_NL = torch.from_numpy(trie.leaf_S).to(device), torch.from_numpy(trie.identifiers_NL).to(device)


@torch.inference_mode()
def beam_search(first_logits_QV: Tensor, advance: Continue, trie: DeviceTrie, beams: int) -> tuple[Tensor, Tensor]:
    """Returns the best identifiers of each query by summed log-probability, rows of the index, best first (Q, M), and scores (Q, M).

    Where the index holds fewer than M identifiers, or the beam died out, rows are -1 and scores -inf. With as many beams as identifiers
    the result is exact. Log-probabilities are normalised over the V identifier tokens, not over the children.
    """
    queries, device = len(first_logits_QV), first_logits_QV.device
    nodes_QM = torch.zeros(queries, 1, dtype=torch.long, device=device)
    scores_QM = torch.zeros(queries, 1, device=device)
    logits_QMV = first_logits_QV[:, None]
    for depth in range(trie.identifiers_NL.shape[1]):
        first_QM = trie.first_S1[nodes_QM]
        count_QM = trie.first_S1[nodes_QM + 1] - first_QM
        ended_QM = trie.leaf_S[nodes_QM] != PAD
        if ended_QM.all():
            break
        offset_C = torch.arange(max(int(count_QM.max()), 1), device=device)
        valid_QMC = offset_C < count_QM[..., None]
        edge_QMC = torch.where(valid_QMC, first_QM[..., None] + offset_C, 0)
        token_QMC = trie.token_E[edge_QMC]
        logs_QMC = logits_QMV.float().log_softmax(-1).gather(-1, token_QMC).masked_fill(~valid_QMC, float("-inf"))
        # an ended identifier stays as it is, in its first child's place
        logs_QMC[..., 0].masked_fill_(ended_QM, 0.0)
        child_QMC = torch.where(ended_QM[..., None], nodes_QM[..., None], edge_QMC + 1)
        flat_QX = (scores_QM[..., None] + logs_QMC).flatten(1)
        scores_QM, pick_QM = flat_QX.topk(min(beams, flat_QX.shape[1]), dim=1)
        parent_QM = pick_QM // len(offset_C)
        nodes_QM = child_QMC.flatten(1).gather(1, pick_QM)
        # what is dead stands at the root with no way back: its score is -inf
        nodes_QM = nodes_QM.masked_fill(scores_QM == float("-inf"), 0)
        if depth + 1 < trie.identifiers_NL.shape[1]:
            logits_QMV = advance(parent_QM, token_QMC.flatten(1).gather(1, pick_QM))
    rows_QM = trie.leaf_S[nodes_QM].masked_fill(scores_QM == float("-inf"), PAD)
    return rows_QM, scores_QM
