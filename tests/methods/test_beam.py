"""Constrained beam search and exact search against exhaustive scoring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avg.padding import PAD
from methods.decoding.beam import DeviceTrie, beam_search
from methods.decoding.best_first import best_first
from methods.decoding.trie import Trie

END = 4


@st.composite
def identifiers(draw):
    """Distinct identifiers of token 0..3 of differing lengths, each ended by token 4, so that none begins another."""
    bodies = draw(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=12, unique_by=tuple))
    rows = np.full((len(bodies), max(map(len, bodies)) + 1), PAD)
    for row, body in enumerate(bodies):
        rows[row, : len(body) + 1] = [*body, END]
    return rows


@dataclass
class _Said:
    table: Table
    paths: list
    places_Mn: torch.Tensor

    def logs(self, tokens):
        queries, beams, new, _ = tokens.shape
        logits = [[[self.table.logits(q, self.paths[q][m][j]) for j in range(new)] for m in range(beams)] for q in range(queries)]
        logs = torch.tensor(np.array(logits), dtype=torch.float32).log_softmax(-1).gather(-1, tokens.clamp(min=0))
        return logs.masked_fill(tokens == PAD, 0.0)


class Table:
    """A 'model' whose next-token logits are a random function of the query and the whole prefix."""

    start, device = 99, torch.device("cpu")

    def __init__(self, queries, seed):
        self.queries, self.seed, self.read, self.calls = queries, seed, [{} for _ in range(queries)], 0

    def logits(self, query, prefix):
        return np.random.default_rng((self.seed, query, len(prefix), *prefix)).normal(size=END + 1) * 2

    def __call__(self, tokens, past, ragged=False):
        _, beams, new = tokens.shape
        first = len(self.read[0])
        places = torch.arange(first, first + beams * new).view(beams, new)
        paths = []
        for query, read in enumerate(self.read):
            paths.append([])
            for beam in range(beams):
                fills = past[query, beam] == -1
                assert ragged or not fills.any()
                before = [read[int(place)] for place in past[query, beam][~fills]]
                paths[-1].append([])
                for token, place in zip(tokens[query, beam].tolist(), places[beam].tolist(), strict=True):
                    read[place] = token
                    before = [*before, token]
                    assert before[0] == self.start and self.start not in before[1:]
                    paths[-1][-1].append(tuple(max(each, 0) for each in before[1:]))
        self.calls += 1
        return _Said(self, paths, places)

    def score(self, query, identifier):
        total, prefix = 0.0, ()
        for token in identifier[identifier != PAD].tolist():
            logits = self.logits(query, prefix)
            total += logits[token] - np.log(np.exp(logits).sum())
            prefix = (*prefix, token)
        return total


@settings(max_examples=60, deadline=None)
@given(identifiers(), st.integers(0, 10_000), st.integers(0, 5))
def test_a_beam_as_large_as_the_gallery_is_exact(rows, seed, extra):
    trie, table = Trie.build(rows), Table(2, seed)
    found_QM, scores_QM = beam_search(table, DeviceTrie(trie), len(rows) + extra)
    for query in range(2):
        expected = np.array([table.score(query, identifier) for identifier in trie.identifiers_NL])
        kept = found_QM[query] != PAD
        assert sorted(found_QM[query][kept].tolist()) == list(range(len(rows)))
        np.testing.assert_allclose(scores_QM[query][kept], np.sort(expected)[::-1], rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(identifiers(), st.integers(0, 10_000), st.integers(1, 3))
def test_a_small_beam_returns_valid_identifiers_with_their_true_scores(rows, seed, beams):
    trie, table = Trie.build(rows), Table(1, seed)
    found_QM, scores_QM = beam_search(table, DeviceTrie(trie), beams)
    kept = found_QM[0] != PAD
    assert kept.sum() >= 1 and len(set(found_QM[0][kept].tolist())) == kept.sum() <= beams
    for identifier, score in zip(found_QM[0][kept].tolist(), scores_QM[0][kept].tolist(), strict=True):
        assert score == pytest.approx(table.score(0, trie.identifiers_NL[identifier]), rel=1e-4, abs=1e-4)
    assert (scores_QM[0].diff() <= 0).all() or len(scores_QM[0]) == 1


@settings(max_examples=60, deadline=None)
@given(identifiers(), st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4))
@example(np.array([[0, END, PAD, PAD], [1, 1, 0, END], [1, 1, 1, END]]), 0, 3, 1)  # a shared prefix as long as the first identifier
def test_best_first_is_exact_whatever_it_reads_at_once(rows, seed, k, at_once):
    trie, table = Trie.build(rows), Table(2, seed)
    found = best_first(table, DeviceTrie(trie), k, at_once)
    for query in range(2):
        scores = np.array([table.score(query, identifier) for identifier in trie.identifiers_NL])
        best = np.argsort(-scores, kind="stable")[:k]
        kept = found.rows_Qk[query] != PAD
        assert int(kept.sum()) == len(best)
        assert found.rows_Qk[query][kept].tolist() == best.tolist()
        np.testing.assert_allclose(found.scores_Qk[query][kept], scores[best], rtol=1e-4, atol=1e-4)
        assert (found.scores_Qk[query][~kept] == float("-inf")).all()


def test_best_first_reads_no_prefix_that_cannot_win():
    """One identifier is all but certain at every step: the root and its own prefixes are read, and nothing else."""
    trie = Trie.build(np.array([[1, 2, 3], [1, 2, 0], [1, 0, 3], [0, 2, 3], [2, 2, 3]]))

    class Sure(Table):
        def logits(self, query, prefix):
            return np.eye(END + 1)[(1, 2, 3)[len(prefix)]] * 20

    found = best_first(Sure(1, 0), DeviceTrie(trie), k=1, at_once=1)
    assert trie.identifiers_NL[found.rows_Qk[0, 0]].tolist() == [1, 2, 3]
    assert found.positions_Q.tolist() == [3]


def test_the_rest_of_identifiers_is_read_at_once():
    """After two tokens all are told apart; the last two of four are read together: three calls, not four."""
    trie = Trie.build(np.array([[1, 2, 3, 0], [1, 3, 0, 2], [0, 2, 3, 1]]))
    table = Table(2, 0)
    beam_search(table, DeviceTrie(trie), 3)
    assert table.calls == 3


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("lengths", [(6, 6, 6, 6, 6), (3, 6, 1, 2, 5)], ids=["even", "uneven"])
def test_a_long_rest_is_read_in_parts(monkeypatch, at_once, lengths):
    """The first token tells all apart; in whatever parts the others are read, an identifier scores the sum of all."""
    monkeypatch.setattr("methods.decoding.beam.AT_ONCE", at_once)
    rows = np.full((5, 6), PAD)
    for first, length in enumerate(lengths):
        rows[first, :length] = (first + 3 * np.arange(length)) % (END + 1)
    for beams in (2, 5):
        table = Table(3, 0)
        found_QM, scores_QM = beam_search(table, DeviceTrie(Trie.build(rows)), beams)
        for query, found in enumerate(found_QM.tolist()):
            assert len(set(found)) == beams
            np.testing.assert_allclose(scores_QM[query], [table.score(query, rows[row]) for row in found], rtol=1e-4, atol=1e-4)
    assert table.calls == 1 + -(-5 // at_once)


class Diverged(Table):
    """Knows what the first query asks for, and says what is no number of the second."""

    def logits(self, query, prefix):
        return super().logits(query, prefix) if query == 0 else np.full(END + 1, np.nan)


def test_what_scores_no_number_is_not_found():
    rows = np.array([[1, 2, 3, 0], [1, 3, 0, 2], [0, 2, 3, 1]])
    trie = Trie.build(rows)
    found, scores = beam_search(Diverged(2, 0), DeviceTrie(trie), 3)
    exact = best_first(Diverged(2, 0), DeviceTrie(trie), 3)
    for ids, score in ((found, scores), (exact.rows_Qk, exact.scores_Qk)):
        assert sorted(ids[0].tolist()) == [0, 1, 2] and score[0].isfinite().all()
        assert ids[1].tolist() == [PAD] * 3 and (score[1] == float("-inf")).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_query_reads_as_much_in_company_as_alone(seed):
    trie = DeviceTrie(Trie.build(np.array([[a, b, END] for a in range(4) for b in range(4)])))
    alone, beside = (best_first(Table(queries, seed), trie, k=2, at_once=1).positions_Q for queries in (1, 3))
    assert alone[0] == beside[0] and len(set(beside.tolist())) > 1


@pytest.mark.parametrize(("at_once", "calls"), [(1, 21), (4, 6)])
def test_so_many_prefixes_are_read_at_once(at_once, calls):
    """All identifiers are wanted: the root, 4 inner nodes, and the end of each of 16."""
    trie, table = DeviceTrie(Trie.build(np.array([[a, b, END] for a in range(4) for b in range(4)]))), Table(1, 0)
    assert best_first(table, trie, k=16, at_once=at_once).positions_Q.tolist() == [21]
    assert table.calls == calls
