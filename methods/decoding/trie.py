"""Prefix index of identifiers: which tokens may follow a prefix, as flat arrays, with paths compressed.

N identifiers, L longest length, S inner nodes, E edges, Q identifiers asked for, A of them still on their way.

An inner node is a prefix that several identifiers share (or the root, node 0). Its edges stand side by side, sorted by token. An edge leads
to another inner node, or, once one identifier alone is left, to that identifier: the rest of it is read from the table of identifiers.

Example: identifiers (1, 2), (1, 3), (4, 2) are rows 0, 1, 2; the inner nodes are 0, the root, and 1, the prefix (1,):

    first_S = 0 2      node 0 has edges 0 and 1:   token_E = 1 4    2 3
    count_S = 2 2      node 1 has edges 2 and 3:   child_E = 1 ~2   ~0 ~1    (~row = -1 - row)

Token 1 leads from the root to node 1; token 4 leads to row 2, whose rest, (2,), is read from `identifiers_NL`. `fan_out` is 2 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from avg.padding import PAD
from methods.decoding import trie_file, trie_updates
from methods.decoding.trie_nodes import checked, distinct, grow, refuse_beginnings, widened

CHUNK = 2**18
"""Identifiers that are looked up at a time: what a step works on stays a few megabytes."""


@dataclass(eq=False)
class Trie:
    """The index. `add` and `remove` put new arrays in place of the old or change them: take them again after an update.

    Args:
        first_S: int32 (S,) where the edges of each inner node begin.
        count_S: int32 (S,) how many edges it has.
        token_E: int16 or int32 (E,) token on each edge. Edges that no node counts are unused.
        child_E: int32 (E,) the inner node an edge leads to, or, if negative, ~row of the only identifier left.
        identifiers_NL: int16 or int32 identifiers padded with -1: distinct, sorted by `build`; those of `add` follow in later rows.
        alive_N: bool, False where an identifier was removed. It stays in its row, but no edge leads there.
        fan_out: largest number of edges of a node at depth 0, 1, ...; after `remove` no node has more, but all may have fewer.
    """

    first_S: np.ndarray
    count_S: np.ndarray
    token_E: np.ndarray
    child_E: np.ndarray
    identifiers_NL: np.ndarray
    alive_N: np.ndarray
    fan_out: tuple[int, ...]
    room: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    """Of arrays that grew: longer ones, of which they are the beginning."""

    @classmethod
    def build(cls, identifiers: np.ndarray) -> Trie:
        """Returns the index of identifiers (any order, repeats allowed), int (N, L) padded at the end with -1.

        Raises:
            ValueError: if there are none, or one is empty, malformed or the beginning of another.
        """
        codes_NL, shared_N = distinct(checked(identifiers))
        refuse_beginnings(codes_NL, shared_N)
        nodes = grow(codes_NL, shared_N, np.arange(len(codes_NL), dtype=np.int32))
        alive_N = np.ones(len(codes_NL), bool)
        fan_out = tuple(nodes.fan_L[nodes.fan_L > 0].tolist())
        return cls(nodes.first_S, nodes.count_S, nodes.token_E, nodes.child_E, codes_NL, alive_N, fan_out)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.alive_N))

    def rows_of(self, identifiers: np.ndarray) -> np.ndarray:
        """Returns the row in `identifiers_NL` of each of these identifiers, int64 (Q,).

        Raises:
            ValueError: if one is not in the index, or was removed.
        """
        if not len(identifiers):
            return np.empty(0, np.int64)
        codes_QL = checked(identifiers)
        rows_Q = np.concatenate([self.found(codes_QL[first : first + CHUNK]) for first in range(0, len(codes_QL), CHUNK)])
        if (rows_Q < 0).any():
            missing = codes_QL[(rows_Q < 0).argmax()]
            raise ValueError(f"identifier {missing[missing != PAD].tolist()} is not in the index")
        return rows_Q

    def found(self, codes_QL: np.ndarray) -> np.ndarray:
        """Returns the row of each identifier, -1 for those that are not in the index, int64 (Q,)."""
        codes_QL = widened(codes_QL, self.identifiers_NL.shape[1])
        rows_Q = np.full(len(codes_QL), PAD, np.int64)
        for _, at_A, _, edge_A in self.walk(codes_QL):
            child_A = np.where(edge_A < 0, 0, self.child_E[edge_A])
            rows_Q[at_A[child_A < 0]] = ~child_A[child_A < 0]
        return np.where(self.same(codes_QL, rows_Q), rows_Q, PAD)

    def same(self, codes_QL: np.ndarray, rows_Q: np.ndarray) -> np.ndarray:
        """Returns whether each identifier, of the index's length at least, is the one in the given row; never in row -1. (Q,)."""
        length = self.identifiers_NL.shape[1]
        equal_Q = (codes_QL[:, :length] == self.identifiers_NL[rows_Q]).all(1)
        return equal_Q & (codes_QL[:, length:] == PAD).all(1) & (rows_Q >= 0)

    def walk(self, codes_QL: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yields, from the root on, depth, which identifiers still are at an inner node, that node, and the edge of their next token.

        All but the depth are (A,). The edge is -1 where the node has none; there, and where one identifier is left, the way ends.

        Args:
            codes_QL: identifiers, padded to the index's length at least.
        """
        at_A, node_A = np.arange(len(codes_QL)), np.zeros(len(codes_QL), np.int32)
        for depth in range(codes_QL.shape[1]):
            edge_A = self._edge(node_A, codes_QL[at_A, depth])
            yield depth, at_A, node_A, edge_A
            child_A = np.where(edge_A < 0, PAD, self.child_E[edge_A])
            at_A, node_A = at_A[child_A >= 0], child_A[child_A >= 0]
            if not len(at_A):
                return

    def _edge(self, node_A: np.ndarray, token_A: np.ndarray) -> np.ndarray:
        """Returns the edge with this token of each node, -1 where there is none: bisection of all nodes' edges at once."""
        low_A = self.first_S[node_A]
        end_A = low_A + self.count_S[node_A]
        high_A = end_A
        for _ in range(int((end_A - low_A).max()).bit_length()):
            middle_A = low_A + (high_A - low_A) // 2
            less_A = (middle_A < high_A) & (self.token_E.take(middle_A, mode="clip") < token_A)
            low_A, high_A = np.where(less_A, middle_A + 1, low_A), np.where(less_A, high_A, middle_A)
        return np.where((low_A < end_A) & (self.token_E.take(low_A, mode="clip") == token_A), low_A, PAD)

    def add(self, identifiers: np.ndarray) -> np.ndarray:
        """Returns the row of each of these identifiers, int64 (Q,), after those that are new are put into the index.

        Identifiers of the index keep their row, removed ones come back in theirs, others get rows after the last.

        Raises:
            ValueError: as `build`, an identifier being the beginning of another one of the index included; nothing is then changed.
        """
        if len(identifiers):
            trie_updates.add(self, checked(identifiers))
        return self.rows_of(identifiers)

    def remove(self, rows: np.ndarray) -> None:
        """Takes the identifiers in these rows out of the index. All rows keep their numbers.

        Raises:
            ValueError: if a row is not in the index; nothing is then changed.
        """
        trie_updates.remove(self, rows)

    def save(self, folder: Path) -> None:
        """Writes the index into a folder, in place of one that may be there: `.npy` files, and `trie.json` with their checksums."""
        trie_file.save(folder, {name: getattr(self, name) for name in trie_file.ARRAYS}, self.fan_out)

    @classmethod
    def load(cls, folder: Path, verify: bool = True) -> Trie:
        """Returns the index of a folder; its arrays are mapped from the disk, and copied to memory when it is first updated.

        Args:
            verify: read every file and compare its checksum; otherwise sizes, shapes and types only.

        Raises:
            ValueError: if a file is missing or is not what was saved.
        """
        arrays, fan_out = trie_file.load(folder, verify)
        return cls(**arrays, fan_out=fan_out)
