"""From sorted identifiers to inner nodes and edges, level by level.

N identifiers, R of them sorted and under the roots of one or more trees, L longest length, S inner nodes, E edges.

Two things say where the nodes are: how many first tokens each sorted identifier shares with the one before it, and how many with the one
after it. The larger is the depth of the last inner node on its way, and the edge that follows leads to this identifier alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from avg.padding import PAD

BEGINNING = "an identifier is the beginning of another: end variable-length identifiers with a token of their own"


class Nodes(NamedTuple):
    """Inner nodes and edges of one or more trees.

    Args:
        first_S, count_S, token_E, child_E: as in `Trie`; nodes are numbered by depth, then in the order of identifiers.
        entry_R: int32, for the first identifier of each tree: the tree's root, or ~row if the tree is this identifier only.
        fan_L: int64 largest number of edges of a node at each depth, 0 where no node is.
    """

    first_S: np.ndarray
    count_S: np.ndarray
    token_E: np.ndarray
    child_E: np.ndarray
    entry_R: np.ndarray
    fan_L: np.ndarray


def checked(identifiers: np.ndarray) -> np.ndarray:
    """Returns identifiers in the smallest of int16 and int32 that holds them, (N, L).

    Raises:
        ValueError: if there are none, one has no token or a token after padding, or a token is not an integer from 0 to 2^31 - 1.
    """
    codes_NL = np.asarray(identifiers)
    if not codes_NL.size:
        raise ValueError("there are no identifiers: an index wants at least one, of at least one token")
    if codes_NL.ndim != 2 or codes_NL.dtype.kind not in "iu":
        raise ValueError(f"identifiers are {codes_NL.dtype} of shape {codes_NL.shape}: give integers of shape (identifiers, tokens)")
    low, high = int(codes_NL.min()), int(codes_NL.max())
    if low < PAD or high > np.iinfo(np.int32).max:
        raise ValueError(f"token {low if low < PAD else high} is not from 0 to {np.iinfo(np.int32).max}; {PAD} is padding")
    codes_NL = codes_NL.astype(np.int16 if high <= np.iinfo(np.int16).max else np.int32, order="C", copy=False)
    empty_N = codes_NL[:, 0] == PAD
    for column in range(1, codes_NL.shape[1]):
        wrong_N = (codes_NL[:, column - 1] == PAD) & (codes_NL[:, column] != PAD)
        if wrong_N.any():
            raise ValueError(f"identifier {codes_NL[wrong_N.argmax()].tolist()} has a token after padding: pad at the end with {PAD}")
    if empty_N.any():
        raise ValueError(f"the identifier in row {empty_N.argmax()} is all padding: give it at least one token")
    return codes_NL


def widened(codes_NL: np.ndarray, length: int) -> np.ndarray:
    """Returns identifiers padded to at least this length."""
    missing = length - codes_NL.shape[1]
    return codes_NL if missing <= 0 else np.pad(codes_NL, ((0, 0), (0, missing)), constant_values=PAD)


def sorting(codes_NL: np.ndarray) -> np.ndarray:
    """Returns the order that sorts identifiers, (N,); equal ones are in any order."""
    bits = (int(codes_NL.max()) + 1).bit_length()
    tokens, order_N = 64 // bits, None
    for begin in reversed(range(0, codes_NL.shape[1], tokens)):
        word_N = np.zeros(len(codes_NL), np.uint64)
        for column in codes_NL[:, begin : begin + tokens].T:
            word_N <<= np.uint64(bits)
            word_N |= (column.astype(np.int64) + 1).view(np.uint64)
        # the last word may be sorted by any means, those before it must leave its order among equals
        order_N = np.argsort(word_N) if order_N is None else order_N[np.argsort(word_N[order_N], kind="stable")]
    assert order_N is not None, "identifiers have no tokens"
    return order_N


def shared_lengths(codes_NL: np.ndarray) -> np.ndarray:
    """Returns how many first tokens each identifier but the last shares with the next, int16 (N - 1,); L if they are equal."""
    shared_N, same_N = np.zeros(len(codes_NL) - 1, np.int16), np.ones(len(codes_NL) - 1, bool)
    for column in codes_NL.T:
        same_N &= column[1:] == column[:-1]
        shared_N += same_N
    return shared_N


def distinct(codes_NL: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct identifiers, sorted, and their shared lengths."""
    sorted_NL = codes_NL[sorting(codes_NL)]
    shared_N = shared_lengths(sorted_NL)
    new_N = shared_N < sorted_NL.shape[1]
    return (sorted_NL, shared_N) if new_N.all() else (sorted_NL[np.r_[True, new_N]], shared_N[new_N])


def refuse_beginnings(codes_RL: np.ndarray, shared_R: np.ndarray) -> None:
    """Raises `ValueError` if one of these distinct sorted identifiers is the beginning of another: the next one is then such another."""
    if (codes_RL[np.arange(len(shared_R)), shared_R] == PAD).any():
        raise ValueError(BEGINNING)


def grow(
    codes_RL: np.ndarray, shared_R: np.ndarray, rows_R: np.ndarray, start_R: np.ndarray | int = 0, node: int = 0, edge: int = 0
) -> Nodes:
    """Returns the nodes and edges of the trees of sorted distinct identifiers.

    Args:
        rows_R: the number by which an edge names each identifier.
        start_R: depth of the root of each identifier's tree; identifiers of one tree share that many tokens, those of two trees fewer than
            either. A tree of one identifier has no node, except one whose root is at depth 0.
        node, edge: numbers of the first node and edge.
    """
    start_R = np.broadcast_to(np.asarray(start_R, np.int16), len(rows_R))
    before_R, after_R = np.r_[np.int16(-1), shared_R], np.r_[shared_R, np.int16(0)]
    last_R = np.maximum(before_R, after_R)  # depth of the last node that an identifier shares with others
    entry_R, fan_L = ~rows_R.astype(np.int32), np.zeros(codes_RL.shape[1], np.int64)
    firsts, counts, tokens, children = [], [], [], []
    heads = np.flatnonzero((start_R == 0) & (before_R < 0))  # the first identifier under each node of a level
    for depth in range(codes_RL.shape[1]):
        entered = heads[start_R[heads] == depth]
        entry_R[entered] = node + np.searchsorted(heads, entered)
        edges = np.flatnonzero((last_R >= depth) & (start_R <= depth) & (before_R <= depth))
        first_H = np.searchsorted(edges, heads)
        count_H = np.diff(first_H, append=len(edges))
        node += len(heads)
        heads = np.flatnonzero((last_R > depth) & (start_R <= depth + 1) & (before_R <= depth))
        child = ~rows_R[edges].astype(np.int32)
        inner = last_R[edges] > depth
        child[inner] = node + np.searchsorted(heads, edges[inner])
        firsts.append((first_H + edge).astype(np.int32))
        counts.append(count_H.astype(np.int32))
        tokens.append(codes_RL[edges, depth])
        children.append(child)
        fan_L[depth] = count_H.max(initial=0)
        edge += len(edges)
    assert edge <= np.iinfo(np.int32).max, "an index of this size wants 64-bit edges"
    return Nodes(np.concatenate(firsts), np.concatenate(counts), np.concatenate(tokens), np.concatenate(children), entry_R, fan_L)
