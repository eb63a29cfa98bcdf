"""Constrained beam search over a prefix index of identifiers (§3.3).

Q queries, M beams, C edges of a node at most, L identifier length, t positions of a beam's past, n tokens read at once.
"""

from __future__ import annotations

import warnings
from typing import Protocol

import torch
from torch import Tensor

from avg.padding import PAD
from avg.reader import Read
from methods.decoding.trie import Trie

AT_ONCE = 4
"""Tokens of a known rest that are read together: more waste more on beams that end among them."""


class Reader(Protocol):
    """A model that reads tokens of many beams after a query, and says what may follow (`avg.reader.Reader`; tests have others)."""

    queries: int
    start: int
    device: torch.device

    def __call__(self, tokens_QMn: Tensor, past_QMt: Tensor, /, ragged: bool = False) -> Read: ...


class DeviceTrie:
    """A prefix index as tensors, on the device where the beams are; on the CPU they share the index's memory.

    `even` says that all identifiers have the full length L, as codes have: then the device need not be asked how long a rest is.
    """

    def __init__(self, trie: Trie, device: torch.device | None = None):
        arrays = (trie.first_S, trie.count_S, trie.token_E, trie.child_E, trie.identifiers_NL)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # mapped from a file; nothing here writes to it
            tensors = [torch.from_numpy(array).to(device) for array in arrays]
        self.first_S, self.count_S, self.token_E, self.child_E, self.identifiers_NL = tensors
        self.lengths_N = (self.identifiers_NL != PAD).sum(1, dtype=torch.int16)
        self.fan_out, self.length = tuple(trie.fan_out), trie.identifiers_NL.shape[1]
        self.even = bool((trie.identifiers_NL[:, -1] != PAD).all())

    def whole(self, nodes_QMC: Tensor, depth: Tensor) -> Tensor:
        """Says which places in the index are an identifier with no token left after so many."""
        rows_QMC = (~nodes_QMC).clamp(min=0)
        return (nodes_QMC < 0) & (self.lengths_N[rows_QMC] == depth)

    def edges(self, nodes_QM: Tensor, depth: int | Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what may follow beams that stand at a depth: tokens, where they lead, and which of the places hold one, each (Q, M, C).

        Args:
            nodes_QM: an inner node, or ~row of the only identifier that is left; then the one edge is its next token, or PAD at its end.
            depth: of all beams, or of each, (Q, M).
            width: C, at least as many edges as any of the nodes has.
        """
        inner_QM, alone_QM = nodes_QM.clamp(min=0), nodes_QM < 0
        offset_C = torch.arange(width, device=nodes_QM.device)
        count_QM = self.count_S[inner_QM].masked_fill(alone_QM, 1)
        valid_QMC = offset_C < count_QM[..., None]
        edge_QMC = torch.where(valid_QMC, self.first_S[inner_QM][..., None] + offset_C, 0)
        token_QMC, child_QMC = self.token_E[edge_QMC].long(), self.child_E[edge_QMC].long()
        rest_QM = self.identifiers_NL[(~nodes_QM).clamp(min=0), depth].long()
        token_QMC[..., 0] = torch.where(alone_QM, rest_QM, token_QMC[..., 0])
        child_QMC[..., 0] = torch.where(alone_QM, nodes_QM, child_QMC[..., 0])
        return token_QMC, child_QMC, valid_QMC


@torch.inference_mode()
def beam_search(read: Reader, trie: DeviceTrie, beams: int) -> tuple[Tensor, Tensor]:
    """Returns the best identifiers of each query by summed log-probability, rows of the index, best first (Q, M), and scores (Q, M).

    Where the index holds fewer than M identifiers, the beam died out, or scores are not a number, as those of a model that diverged, rows
    are -1 and scores -inf. With as many beams as identifiers
    the result is exact. What log-probabilities are normalised over is the reader's: identifier tokens, not the children.

    Shapes depend on the index and on M alone, and nothing is asked of the device, but how much is left of identifiers that differ in
    length once a beam's identifier is known.
    """
    queries, device = read.queries, read.device
    nodes_QM = torch.zeros(queries, 1, dtype=torch.long, device=device)
    scores_QM = torch.zeros(queries, 1, device=device)
    tokens_QM = torch.full_like(nodes_QM, read.start)
    past_QMt = nodes_QM[..., None][..., :0]
    for depth, width in enumerate(trie.fan_out):
        found = read(tokens_QM[..., None], past_QMt)
        past_QMt = _appended(past_QMt, found.places_Mn)
        token_QMC, child_QMC, valid_QMC = trie.edges(nodes_QM, depth, width)
        logs_QMC = found.logs(token_QMC[:, :, None])[:, :, 0].masked_fill(~valid_QMC, float("-inf"))
        flat_QX = (scores_QM[..., None] + logs_QMC).flatten(1)
        scores_QM, pick_QM = flat_QX.topk(min(beams, flat_QX.shape[1]), dim=1)
        parent_QM = pick_QM // width
        nodes_QM, tokens_QM = child_QMC.flatten(1).gather(1, pick_QM), token_QMC.flatten(1).gather(1, pick_QM)
        past_QMt = past_QMt.gather(1, parent_QM[..., None].expand(-1, -1, past_QMt.shape[2]))
    # no inner nodes are left: the rest of every beam's identifier is known
    rows_QM = (~nodes_QM).clamp(min=0)
    scores_QM = scores_QM + _rest(read, trie, rows_QM.masked_fill(scores_QM == float("-inf"), PAD), tokens_QM, past_QMt, len(trie.fan_out))
    scores_QM = scores_QM.masked_fill(scores_QM.isnan(), float("-inf"))
    scores_QM, order_QM = scores_QM.sort(dim=1, descending=True, stable=True)
    return rows_QM.gather(1, order_QM).masked_fill(scores_QM == float("-inf"), PAD), scores_QM


def _rest(read: Reader, trie: DeviceTrie, rows_QM: Tensor, tokens_QM: Tensor, past_QMt: Tensor, depth: int) -> Tensor:
    """Returns what the rest of identifiers scores after their first tokens, (Q, M); 0 where nothing is left, and for row PAD.

    Several tokens are read at once, then those of the beams that have more: of captions as identifiers, most have ended by then.

    Args:
        depth: how many tokens are read or, for the last of them, `tokens_QM`, about to be.
    """
    scores_QM = torch.zeros(rows_QM.shape, device=rows_QM.device)
    at_QM = torch.arange(rows_QM.shape[1], device=rows_QM.device).expand(len(rows_QM), -1)
    while True:
        if trie.even:
            new = min(trie.length - depth, AT_ONCE)
        else:
            left_QM = (trie.lengths_N[rows_QM.clamp(min=0)] - depth).masked_fill(rows_QM == PAD, 0).clamp(min=0)
            beams, new = int((left_QM > 0).sum(1).max()), min(int(left_QM.max()), AT_ONCE)
            kept_QM = left_QM.argsort(1, descending=True)[:, :beams]
            at_QM, rows_QM, tokens_QM = (each.gather(1, kept_QM) for each in (at_QM, rows_QM, tokens_QM))
            past_QMt = past_QMt.gather(1, kept_QM[..., None].expand(-1, -1, past_QMt.shape[2]))
        if not new:
            return scores_QM
        rest_QMn = trie.identifiers_NL[rows_QM.clamp(min=0), depth : depth + new].long()
        found = read(torch.cat([tokens_QM[..., None], rest_QMn[..., :-1]], 2), past_QMt)
        logs_QM = found.logs(rest_QMn[..., None]).sum((2, 3)).masked_fill(rows_QM == PAD, 0.0)
        scores_QM = scores_QM.scatter_add(1, at_QM, logs_QM)
        past_QMt, tokens_QM, depth = _appended(past_QMt, found.places_Mn), rest_QMn[..., -1], depth + new


def _appended(past_QMt: Tensor, places_Mn: Tensor) -> Tensor:
    return torch.cat([past_QMt, places_Mn.expand(len(past_QMt), -1, -1)], 2)
