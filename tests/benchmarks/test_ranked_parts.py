"""A ranking that is interrupted goes on after the queries that it had answered."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmarks import cells, ranked_parts
from benchmarks.cells import cell_stages
from benchmarks.ranked_parts import RankedParts, stacked
from benchmarks.spec import Row
from benchmarks.stages import Store
from methods.retriever import Ranking


def test_stacked_rankings_pad_to_the_widest():
    narrow = Ranking.from_rows([(np.array([1]), np.zeros(1, np.float32), np.zeros(1, np.int32))], 1)
    wide = Ranking.from_rows([(np.array([1, 2]), np.zeros(2, np.float32), np.zeros(2, np.int32))], 1)
    both = stacked([narrow, wide])
    assert both.ids_QW.tolist() == [[1, -1], [1, 2]]
    assert both.group_QW.tolist() == [[0, -1], [0, 0]]
    assert np.isneginf(both.scores_QW[0, 1])
    assert both.k == 1


def interrupted(store, work, monkeypatch, after):
    """Returns the finished folder and report of a ranking that was interrupted behind so many batches of six queries, and how it asked."""
    ranking, asked = cell_stages(Row(key="row", label="Row", method="pairs"), "ten", "clean", 0).ranking, []
    search = work.Pairs.search

    def stumbling(self, encoded, k, knobs):
        asked.append(len(encoded))
        if len(asked) == after + 2:  # the first call is the warm-up
            raise KeyboardInterrupt
        return search(self, encoded, k, knobs)

    with monkeypatch.context() as patched:
        patched.setattr(cells, "BATCH", 6)
        patched.setattr(cells, "RankedParts", partial(RankedParts, every=0))
        patched.setattr(work.Pairs, "search", stumbling)
        patched.setattr(work.Pairs, "pause", 0.02)
        with pytest.raises(KeyboardInterrupt):
            store.run(ranking)
        asked.clear()
        folder = store.run(ranking)
    return folder, store.report(ranking), asked


def test_it_ends_with_the_ranking_and_all_the_seconds_of_an_uninterrupted_one(tmp_path, cell_work, monkeypatch):
    ranking = cell_stages(Row(key="row", label="Row", method="pairs"), "ten", "clean", 0).ranking
    plain = Ranking.load(Store(tmp_path / "plain").run(ranking) / "ranking.npz")
    folder, record, asked = interrupted(Store(tmp_path / "cut"), cell_work, monkeypatch, after=2)
    assert asked == [8, 6, 2], "the warm-up, and of 20 queries the 8 that had no answer"
    resumed = Ranking.load(folder / "ranking.npz")
    for name in ("ids_QW", "scores_QW", "group_QW"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(plain, name))
    assert record["resumed"] and record["report"]["queries"] == 20
    assert record["report"]["encode_seconds"] >= 4 * 0.02


ONE = Ranking.from_rows([(np.array([1]), np.zeros(1, np.float32), np.zeros(1, np.int32))], 1)


def damaged(path, how):
    raw = path.read_bytes()
    middle = len(raw) // 2
    path.write_bytes(raw[:-30] if how == "cut short" else raw[:middle] + bytes([raw[middle] ^ 4]) + raw[middle + 1 :])


@pytest.mark.parametrize(("what", "how"), [("0.npz", "cut short"), ("0.npz", "a bit flipped"), ("parts.json", "cut short")])
def test_what_was_kept_and_is_damaged_is_named_and_ranked_anew(tmp_path, caplog, what, how):
    RankedParts(tmp_path, 1, every=0).add(ONE, search_seconds=1.0)
    assert RankedParts(tmp_path, 1).queries == 1
    damaged(tmp_path / what, how)
    found = RankedParts(tmp_path, 1, every=0)
    assert (found.queries, found.seconds) == (0, {})
    assert f"{tmp_path}: {what} " in caplog.text and "ranking starts anew" in caplog.text
    found.add(ONE)
    assert RankedParts(tmp_path, 1).queries == 1


def test_what_other_code_ranked_is_ranked_anew_and_threads_that_differ_are_told(tmp_path, monkeypatch):
    RankedParts(tmp_path, 1, every=0).add(ONE)
    assert RankedParts(tmp_path, 1).threads == 1
    assert RankedParts(tmp_path, 2).threads is None
    monkeypatch.setattr(ranked_parts, "git", lambda: {"commit": "another", "dirty": False})
    assert RankedParts(tmp_path, 1).queries == 0


def test_quick_rankings_keep_nothing(tmp_path):
    RankedParts(tmp_path / "parts", 1).add(ONE, search_seconds=1.0)
    assert not (tmp_path / "parts").exists()
