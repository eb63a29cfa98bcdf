"""Identifiers put into a prefix index and taken out of it, without building it again.

R identifiers that are added or removed, K edges, H trees of new nodes; other letters as in `methods.decoding.trie`.

Nodes and edges that are no longer used stay in their arrays until they are half of the edges; then nodes and edges are laid out anew. So an
update costs in proportion to what it changes, now and then to the whole index. A removed identifier's row is kept for its return.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avg.padding import PAD
from methods.decoding.trie_file import ARRAYS
from methods.decoding.trie_nodes import BEGINNING, Nodes, distinct, grow, refuse_beginnings, shared_lengths, sorting, widened

if TYPE_CHECKING:
    from methods.decoding.trie import Trie

NODES = ("first_S", "count_S", "token_E", "child_E")


def add(trie: Trie, codes_RL: np.ndarray) -> None:
    """Puts identifiers, any order, repeats and those of the index allowed, into the index."""
    longest = int((codes_RL != PAD).any(0).sum())
    codes_RL = distinct(widened(codes_RL[:, :longest], trie.identifiers_NL.shape[1]))[0]
    codes_RL = codes_RL[trie.found(codes_RL) < 0]
    if not len(codes_RL):
        return
    # where the way of each ends: at which node, at which depth, and on which edge, if another identifier alone lies on
    depth_R, node_R, edge_R = np.zeros((3, len(codes_RL)), np.int64)
    for depth, at_A, node_A, edge_A in trie.walk(codes_RL):
        depth_R[at_A], node_R[at_A], edge_R[at_A] = depth, node_A, edge_A
    if (codes_RL[np.arange(len(codes_RL)), depth_R] == PAD).any():
        raise ValueError(BEGINNING)
    met_K, one_K = np.unique(edge_R[edge_R >= 0], return_index=True)
    one_K = np.flatnonzero(edge_R >= 0)[one_K]
    met_rows_K = ~trie.child_E[met_K]
    rows_R, last = _rows(trie, codes_RL)

    # the new ones and the ones they meet, sorted: neighbours that share the way to a tree's root are one tree
    codes_RL = np.concatenate([codes_RL, widened(trie.identifiers_NL[met_rows_K], codes_RL.shape[1])])
    order_R = sorting(codes_RL)
    joined_R = np.r_[np.arange(len(rows_R)), one_K][order_R]
    codes_RL, all_rows_R = codes_RL[order_R], np.r_[rows_R, met_rows_K][order_R]
    depth_R, node_R, edge_R = depth_R[joined_R], node_R[joined_R], edge_R[joined_R]
    shared_R = shared_lengths(codes_RL)
    refuse_beginnings(codes_RL, shared_R)
    nodes = grow(codes_RL, shared_R, all_rows_R, depth_R + 1, len(trie.first_S), len(trie.token_E))

    # nothing was changed so far, and nothing is refused from here on
    _own(trie, codes_RL)
    fresh_R = all_rows_R >= len(trie.identifiers_NL)
    fresh_order_R = np.argsort(all_rows_R[fresh_R])
    _append(trie, "identifiers_NL", codes_RL[fresh_R][fresh_order_R])
    _append(trie, "alive_N", np.ones(last - len(trie.alive_N), bool))
    trie.alive_N[rows_R] = True
    for name in NODES:
        _append(trie, name, getattr(nodes, name))
    _widest(trie, np.arange(len(nodes.fan_L)), nodes.fan_L)
    head_H = np.flatnonzero(np.r_[True, shared_R <= depth_R[1:]])
    met_H, new_H = head_H[edge_R[head_H] >= 0], head_H[edge_R[head_H] < 0]
    trie.child_E[edge_R[met_H]] = nodes.entry_R[met_H]
    _insert(trie, node_R[new_H], depth_R[new_H], codes_RL[new_H, depth_R[new_H]], nodes.entry_R[new_H])
    if len(trie.token_E) > 2 * int(trie.count_S.sum()):
        _lay_out(trie)


def remove(trie: Trie, rows: np.ndarray) -> None:
    """Takes rows, repeats allowed, out of the index: their edges, and those of nodes that lose all of theirs."""
    if not len(rows):
        return
    rows_R = np.unique(np.asarray(rows))
    if rows_R.dtype.kind not in "iu":
        raise ValueError(f"rows are {rows_R.dtype}: give integers")
    wrong_R = (rows_R < 0) | (rows_R >= len(trie.alive_N))
    wrong_R |= ~trie.alive_N[np.where(wrong_R, 0, rows_R)]
    if wrong_R.any():
        raise ValueError(f"row {rows_R[wrong_R.argmax()]} is not in the index")
    _own(trie, trie.identifiers_NL[:1])
    codes_RL = trie.identifiers_NL[rows_R]
    # a column more: under the last edge of an identifier there is no node
    node_RL, edge_RL = np.full((2, len(rows_R), codes_RL.shape[1] + 1), PAD, np.int32)
    for depth, at_A, node_A, edge_A in trie.walk(codes_RL):
        node_RL[at_A, depth], edge_RL[at_A, depth] = node_A, edge_A
    trie.alive_N[rows_R] = False
    for depth in reversed(range(codes_RL.shape[1])):
        below_R = node_RL[:, depth + 1]
        gone_R = (node_RL[:, depth] >= 0) & ((below_R < 0) | (trie.count_S[below_R] == 0))
        if gone_R.any():
            _drop(trie, node_RL[gone_R, depth], edge_RL[gone_R, depth])


def _rows(trie: Trie, codes_RL: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the row of each identifier that is not in the index, its old one if it was removed, and how many rows there are then."""
    rows_R, dead = np.full(len(codes_RL), PAD, np.int64), np.flatnonzero(~trie.alive_N)
    if len(dead):
        both = np.concatenate([widened(trie.identifiers_NL[dead], codes_RL.shape[1]), codes_RL])
        order = sorting(both)
        pair = np.flatnonzero(shared_lengths(both[order]) == both.shape[1])
        first, second = np.sort([order[pair], order[pair + 1]], axis=0)
        rows_R[second - len(dead)] = dead[first]
    fresh_R = rows_R < 0
    rows_R[fresh_R] = len(trie.alive_N) + np.arange(np.count_nonzero(fresh_R))
    return rows_R, len(trie.alive_N) + int(np.count_nonzero(fresh_R))


def _insert(trie: Trie, node_K: np.ndarray, depth_K: np.ndarray, token_K: np.ndarray, child_K: np.ndarray) -> None:
    """Gives nodes new edges: all edges of such a node are copied to the end, sorted by token."""
    if not len(node_K):
        return
    nodes, one, new = np.unique(node_K, return_index=True, return_counts=True)
    old = _ranges(trie.first_S[nodes], trie.count_S[nodes])
    owner = np.r_[np.repeat(nodes, trie.count_S[nodes]), node_K]
    token, child = np.r_[trie.token_E[old], token_K], np.r_[trie.child_E[old], child_K]
    order = np.lexsort((token, owner))
    trie.count_S[nodes] += new.astype(np.int32)
    counts = trie.count_S[nodes]
    trie.first_S[nodes] = len(trie.token_E) + np.cumsum(counts) - counts
    _append(trie, "token_E", token[order])
    _append(trie, "child_E", child[order])
    _widest(trie, depth_K[one], counts)


def _drop(trie: Trie, node_K: np.ndarray, edge_K: np.ndarray) -> None:
    """Takes edges from nodes. Those that remain close up and stay sorted."""
    edges, one = np.unique(edge_K, return_index=True)
    nodes, lost = np.unique(node_K[one], return_counts=True)
    had = _ranges(trie.first_S[nodes], trie.count_S[nodes])
    kept = had[~np.isin(had, edges)]
    trie.count_S[nodes] -= lost.astype(np.int32)
    place = _ranges(trie.first_S[nodes], trie.count_S[nodes])
    trie.token_E[place], trie.child_E[place] = trie.token_E[kept], trie.child_E[kept]


def _ranges(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns first, first + 1, ... of each range, `count` numbers of it, end to end."""
    return np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())


def _widest(trie: Trie, depth: np.ndarray, count: np.ndarray) -> None:
    fan_L = np.zeros(trie.identifiers_NL.shape[1], np.int64)
    fan_L[: len(trie.fan_out)] = trie.fan_out
    np.maximum.at(fan_L, depth, count)
    trie.fan_out = tuple(fan_L[fan_L > 0].tolist())


def _own(trie: Trie, codes_RL: np.ndarray) -> None:
    """Copies what is mapped from the disk to memory, and makes room for these identifiers' length and tokens."""
    for name in ARRAYS:
        array = getattr(trie, name)
        if name in ("token_E", "identifiers_NL") and array.dtype.itemsize < codes_RL.dtype.itemsize:
            array = array.astype(codes_RL.dtype)
        if name == "identifiers_NL":
            array = widened(array, codes_RL.shape[1])
        if not array.flags.writeable:
            array = np.array(array)
        if array is not getattr(trie, name):
            trie.room.pop(name, None)
            setattr(trie, name, array)


def _append(trie: Trie, name: str, values: np.ndarray) -> None:
    """Writes behind the end of an array, whose room doubles when it is used up."""
    array, room = getattr(trie, name), trie.room.get(name)
    size, end = len(array), len(array) + len(values)
    if room is None or len(room) < end:
        room = np.empty((max(end, 2 * size), *array.shape[1:]), array.dtype)
        room[:size] = array
    room[size:end] = values
    trie.room[name] = room
    setattr(trie, name, room[:end])


def _lay_out(trie: Trie) -> None:
    """Lays out nodes and edges as `build` does; rows keep their numbers."""
    rows_N = np.flatnonzero(trie.alive_N)
    order_N = sorting(trie.identifiers_NL[rows_N])
    codes_NL = trie.identifiers_NL[rows_N][order_N]
    nodes: Nodes = grow(codes_NL, shared_lengths(codes_NL), rows_N[order_N])
    for name in NODES:
        trie.room.pop(name, None)
        setattr(trie, name, getattr(nodes, name))
    trie.fan_out = tuple(nodes.fan_L[nodes.fan_L > 0].tolist())
