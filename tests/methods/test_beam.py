"""Prefix index and constrained beam search, against exhaustive scoring."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.beam import DeviceTrie, beam_search
from methods.trie import PAD, Trie

END = 4


@st.composite
def identifiers(draw):
    """Distinct identifiers of token 0..3 of differing lengths, each ended by token 4, so that none begins another."""
    bodies = draw(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=12, unique_by=tuple))
    rows = np.full((len(bodies), max(map(len, bodies)) + 1), PAD)
    for row, body in enumerate(bodies):
        rows[row, : len(body) + 1] = [*body, END]
    return rows


class Table:
    """A 'model' whose next-token logits are a random function of the query and the whole prefix."""

    def __init__(self, queries, seed):
        self.seed, self.prefixes = seed, [[()] for _ in range(queries)]

    def logits(self, query, prefix):
        return np.random.default_rng((self.seed, query, len(prefix), *prefix)).normal(size=END + 1) * 2

    def all_logits(self):
        return torch.tensor(
            np.array([[self.logits(query, prefix) for prefix in beams] for query, beams in enumerate(self.prefixes)]), dtype=torch.float32
        )

    def advance(self, parents, tokens):
        self.prefixes = [
            [(*beams[parent], int(token)) for parent, token in zip(parents[query].tolist(), tokens[query].tolist(), strict=True)]
            for query, beams in enumerate(self.prefixes)
        ]
        return self.all_logits()

    def score(self, query, identifier):
        total, prefix = 0.0, ()
        for token in identifier[identifier != PAD].tolist():
            logits = self.logits(query, prefix)
            total += logits[token] - np.log(np.exp(logits).sum())
            prefix = (*prefix, token)
        return total


@settings(max_examples=60)
@given(identifiers(), st.integers(0, 10_000), st.integers(0, 5))
def test_a_beam_as_large_as_the_gallery_is_exact(rows, seed, extra):
    trie = Trie.build(rows)
    table = Table(2, seed)
    found_QM, scores_QM = beam_search(table.all_logits()[:, 0], table.advance, DeviceTrie(trie), len(rows) + extra)
    for query in range(2):
        expected = np.array([table.score(query, identifier) for identifier in trie.identifiers_NL])
        kept = found_QM[query] != PAD
        assert sorted(found_QM[query][kept].tolist()) == list(range(len(rows)))
        np.testing.assert_allclose(scores_QM[query][kept], np.sort(expected)[::-1], rtol=1e-4, atol=1e-4)


@settings(max_examples=40)
@given(identifiers(), st.integers(0, 10_000), st.integers(1, 3))
def test_a_small_beam_returns_valid_identifiers_with_their_true_scores(rows, seed, beams):
    trie = Trie.build(rows)
    table = Table(1, seed)
    found_QM, scores_QM = beam_search(table.all_logits()[:, 0], table.advance, DeviceTrie(trie), beams)
    kept = found_QM[0] != PAD
    assert kept.sum() >= 1 and len(set(found_QM[0][kept].tolist())) == kept.sum() <= beams
    for identifier, score in zip(found_QM[0][kept].tolist(), scores_QM[0][kept].tolist(), strict=True):
        assert score == pytest.approx(table.score(0, trie.identifiers_NL[identifier]), rel=1e-4, abs=1e-4)
    assert (scores_QM[0].diff() <= 0).all() or len(scores_QM[0]) == 1


@given(identifiers())
def test_every_path_of_the_index_is_an_identifier_and_back(rows):
    trie = Trie.build(rows)
    found = []

    def walk(node, path):
        if trie.leaf_S[node] != PAD:
            found.append((path, trie.leaf_S[node]))
        for edge in range(trie.first_S1[node], trie.first_S1[node + 1]):
            walk(edge + 1, (*path, int(trie.token_E[edge])))

    walk(0, ())
    assert sorted(path for path, _ in found) == sorted(tuple(row[row != PAD].tolist()) for row in rows)
    for path, leaf in found:
        identifier = trie.identifiers_NL[leaf]
        assert path == tuple(identifier[identifier != PAD].tolist())
    np.testing.assert_array_equal(trie.identifiers_NL[trie.rows_of(rows)], rows)


def test_example_of_the_docstring():
    trie = Trie.build(np.array([[4, 2], [1, 3], [1, 2]]))
    assert trie.first_S1.tolist() == [0, 2, 4, 5, 5, 5, 5]
    assert trie.token_E.tolist() == [1, 4, 2, 3, 2]


def test_an_identifier_that_begins_another_is_refused():
    with pytest.raises(ValueError, match="beginning of another"):
        Trie.build(np.array([[1, PAD], [1, 2]]))
