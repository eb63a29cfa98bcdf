"""Prefix index of identifiers: which tokens may follow a prefix, as flat arrays.

N identifiers, L longest length, S nodes, E = S - 1 edges.

Nodes are numbered breadth first, root 0, so the children of a node stand side by side and edge e leads to node e + 1.

Example: identifiers (1, 2), (1, 3), (4, 2) have nodes root, 1, 4, 12, 13, 42: `first_S1` = 0 2 4 5 5 5 5, `token_E` = 1 4 2 3 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PAD = -1


@dataclass(frozen=True)
class Trie:
    """The index.

    Args:
        first_S1: int64 (S + 1,) edges before each node's own.
        token_E: int64 token on each edge.
        leaf_S: int64 (S,) identifier (row of `identifiers_NL`) that ends at a node, or -1.
        identifiers_NL: the distinct identifiers, sorted, padded with -1.
    """

    first_S1: np.ndarray
    token_E: np.ndarray
    leaf_S: np.ndarray
    identifiers_NL: np.ndarray

    @classmethod
    def build(cls, identifiers: np.ndarray) -> Trie:
        """Returns the index of identifiers (any order, repeats allowed), int (N, L) padded at the end with -1.

        Raises:
            ValueError: if one identifier is the beginning of another: end variable-length ones with a token of their own.
        """
        sorted_NL = np.unique(np.asarray(identifiers, np.int64), axis=0)
        count, length = sorted_NL.shape
        lengths_N = (sorted_NL != PAD).sum(1)
        node_N = np.zeros(count, np.int64)
        tokens, parents, total = [], [], 1
        leaf = {}
        for level in range(length):
            rows = np.flatnonzero(lengths_N > level)
            if not len(rows):
                break
            parent, token = node_N[rows], sorted_NL[rows, level]
            # sorted identifiers: a new node begins where parent or token changes
            new = np.r_[True, (np.diff(parent) != 0) | (np.diff(token) != 0)]
            node_N[rows] = total + np.cumsum(new) - 1
            tokens.append(token[new])
            parents.append(parent[new])
            total += int(new.sum())
        for row, node in enumerate(node_N):
            leaf[int(node)] = row
        token_E, parent_E = np.concatenate(tokens), np.concatenate(parents)
        first_S1 = np.r_[0, np.cumsum(np.bincount(parent_E, minlength=total))].astype(np.int64)
        leaf_S = np.full(total, PAD, np.int64)
        leaf_S[list(leaf)] = list(leaf.values())
        if len(leaf) < count or (np.diff(first_S1)[leaf_S != PAD] > 0).any():
            raise ValueError("an identifier is the beginning of another: end variable-length identifiers with a token of their own")
        return cls(first_S1, token_E, leaf_S, sorted_NL)

    def rows_of(self, identifiers: np.ndarray) -> np.ndarray:
        """Returns the row in `identifiers_NL` of each of these identifiers, all of which must be in the index, (N,)."""
        stacked = np.concatenate([self.identifiers_NL, np.asarray(identifiers, np.int64)])
        distinct, inverse = np.unique(stacked, axis=0, return_inverse=True)
        assert len(distinct) == len(self.identifiers_NL), "an identifier is not in the index"
        return inverse.reshape(-1)[len(self.identifiers_NL) :]
