"""TREC's formats: what is exported measures the same in trec_eval, and reads back as it was."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import Success

from benchmarks.metrics import hits, outcomes
from benchmarks.protocol import protocol as rules_of
from benchmarks.rankings import outside, trec
from benchmarks.record import read_summary
from benchmarks.spec import RECALL
from methods.data import Split
from methods.pictures import Pictures
from methods.retriever import Ranking

N, Q = 12, 20
IDS_N = np.arange(N) * 7 + 100


def made_split() -> Split:
    targets_Q = IDS_N[np.arange(Q) % N]
    pictures = Pictures(Path("nowhere"), [f"{image}.png" for image in IDS_N])
    return Split("test", Path("nowhere"), IDS_N, pictures, tuple(f'caption "{query}"' for query in range(Q)), targets_Q)


SPLIT = made_split()


def made_ranking(scores_QN: np.ndarray, k: int = 10) -> Ranking:
    """Returns the ranking by some scores; equal ones are tied, in the gallery's order."""
    rows = []
    for scores_N in scores_QN.astype(np.float32):
        order = np.argsort(-scores_N, kind="stable")
        order = order[scores_N[order] >= scores_N[order][k - 1]]
        rows.append((IDS_N[order], scores_N[order], np.cumsum(np.r_[False, np.diff(scores_N[order]) != 0])))
    return Ranking.from_rows(rows, k)


def success(ranking: Ranking, tmp_path: Path) -> dict[int, np.ndarray]:
    """Returns whether trec_eval finds each query's image among the first 1, 5 and 10 of what is exported."""
    (tmp_path / "a.qrels").write_text(trec.qrels(SPLIT))
    (tmp_path / "a.run").write_text(trec.run(ranking, SPLIT, "a"))
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "a.qrels")))
    run = list(ir_measures.read_trec_run(str(tmp_path / "a.run")))
    number = {name: query for query, name in enumerate(trec.query_names(SPLIT))}
    found = {k: np.full(Q, np.nan) for k in (1, 5, 10)}
    for each in ir_measures.iter_calc([Success @ k for k in found], qrels, run):
        found[each.measure["cutoff"]][number[each.query_id]] = each.value
    return found


def test_without_ties_recall_is_trec_evals_success(tmp_path):
    ranking = made_ranking(np.random.default_rng(0).normal(size=(Q, N)) + 0.5 * (SPLIT.caption_image_ids_Q[:, None] == IDS_N))
    ours = outcomes(ranking, SPLIT.caption_image_ids_Q)
    assert 0 < hits(ours, 1).sum() < hits(ours, 5).sum() < hits(ours, 10).sum() < Q, "the example separates the cut-offs"
    for k, success_Q in success(ranking, tmp_path).items():
        assert success_Q.tolist() == hits(ours, k).tolist()


def test_with_ties_success_lies_between_pessimistic_and_optimistic_recall(tmp_path):
    ranking = made_ranking(np.random.default_rng(1).integers(4, size=(Q, N)))
    ours = outcomes(ranking, SPLIT.caption_image_ids_Q)
    assert (hits(ours, 5, "pessimistic") < hits(ours, 5, "optimistic")).any(), "the example has ties across the cut"
    for k, success_Q in success(ranking, tmp_path).items():
        assert (hits(ours, k, "pessimistic") <= success_Q).all()
        assert (success_Q <= hits(ours, k, "optimistic")).all()


def test_trec_eval_puts_tied_images_in_falling_order_of_their_names(tmp_path):
    tied = Ranking.from_rows([(IDS_N, np.zeros(N), np.zeros(N))] * Q, 10)
    first = SPLIT.caption_image_ids_Q == max(IDS_N.tolist(), key=str)
    assert success(tied, tmp_path)[1].tolist() == first.astype(float).tolist()


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.1, 1 / 3, -1e-30, 1e30]), min_size=N, max_size=N), min_size=Q, max_size=Q))
def test_what_is_written_is_read_as_it_was(tmp_path_factory, scores):
    ranking = made_ranking(np.array(scores))
    path = tmp_path_factory.mktemp("runs") / "a.run"
    path.write_text(trec.run(ranking, SPLIT, "a"))
    again = trec.read_run(path, SPLIT)
    for name in ("ids_QW", "scores_QW", "group_QW"):
        np.testing.assert_array_equal(getattr(again, name)[:, : ranking.ids_QW.shape[1]], getattr(ranking, name))


def test_scores_say_the_groups_where_the_methods_own_do_not():
    scores = np.array([[2.0, 2.0, 2.0, -np.inf]], np.float32)
    groups = np.array([[0, 0, 1, 2]], np.int32)
    written = trec.group_scores(Ranking(IDS_N[None, :4], scores, groups, 4))[0]
    assert written[0] == written[1] == 2 and written[2] == np.nextafter(np.float32(2), np.float32(0))
    assert math.isfinite(written[3]) and written[3] < written[2]


def test_the_order_of_lines_and_their_ranks_mean_nothing(tmp_path):
    ranking = made_ranking(np.random.default_rng(2).normal(size=(Q, N)))
    lines = trec.run(ranking, SPLIT, "a").splitlines()
    shuffled = [" ".join([*line.split()[:3], "1", *line.split()[4:]]) for line in np.random.default_rng(3).permutation(lines)]
    (tmp_path / "a.run").write_text("\n".join(shuffled))
    np.testing.assert_array_equal(trec.read_run(tmp_path / "a.run", SPLIT).ids_QW, ranking.ids_QW)


def test_a_byte_order_mark_is_no_part_of_a_query(tmp_path):
    (tmp_path / "a.run").write_text("\n".join(GOOD), "utf-8-sig")
    assert (trec.read_run(tmp_path / "a.run", SPLIT).ids_QW[:, 0] == 100).all()


def test_queries_and_images_as_tables():
    assert trec.queries(SPLIT).splitlines()[:2] == ['test-0\tcaption "0"', 'test-1\tcaption "1"']
    spread = replace(SPLIT, captions=("two\nlines", "a\ttab  ", *SPLIT.captions[2:]))
    assert trec.queries(spread).splitlines()[:2] == ["test-0\ttwo lines", "test-1\ta tab"]
    assert trec.images(SPLIT).splitlines()[1] == "107\t107.png"
    assert trec.qrels(SPLIT).splitlines()[1] == "test-1 0 107 1"


GOOD = [f"{name} Q0 100 1 0.5 a" for name in trec.query_names(SPLIT)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["test-0 Q0 100 1 0.5"], "line 1: 5 fields instead of the six of a run"),
        ([*GOOD, "val-0 Q0 100 1 0.5 a"], "line 21: unknown query 'val-0': queries are called as `export-trec --qrels` writes them"),
        ([*GOOD, "test-0 Q0 101 1 0.5 a"], "line 21: unknown image '101'"),
        ([*GOOD, "test-0 Q0 107 1 high a"], "line 21: score 'high' is no number"),
        ([*GOOD, "test-0 Q0 107 1 nan a"], "line 21: score 'nan' is not finite"),
        ([*GOOD, "test-0 Q0 107 1 1e300 a"], "line 21: score '1e300' is not finite in float32"),
        ([*GOOD, "test-3 Q0 100 2 0.1 a"], "line 21: image 100 comes twice for this query"),
        (GOOD[:-2], "nothing for 2 of 20 queries, test-18 the first"),
        ([], "nothing for 20 of 20 queries, test-0 the first"),
    ],
)
def test_a_mistake_in_a_run_is_named(tmp_path, lines, message):
    (tmp_path / "a.run").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"a\.run") as error:
        trec.read_run(tmp_path / "a.run", SPLIT)
    assert message in str(error.value)


def test_a_query_without_an_answer_is_a_miss_where_that_is_said(tmp_path):
    (tmp_path / "a.run").write_text("\n".join(GOOD[:-2]))
    ranking = trec.read_run(tmp_path / "a.run", SPLIT, missing_allowed=True)
    assert ranking.k == 1 and (ranking.ids_QW[:, 0] == 100).tolist() == [True] * 18 + [False] * 2
    assert hits(outcomes(ranking, SPLIT.caption_image_ids_Q), 1).tolist() == [1.0, *[0.0] * 11, 1.0, *[0.0] * 7]


def scored(tmp_path: Path, split: Split, images: int) -> dict[str, Any]:
    """Returns what `score` keeps of a run that ranks the first so many images alike for every query."""
    lines = [
        f"{name} Q0 {image} 1 {-place} a" for name in trec.query_names(split) for place, image in enumerate(split.image_ids_N[:images])
    ]
    (path := tmp_path / "a.run").write_text("\n".join(lines))
    ranking, record = trec.read_run(path, split), {"key": "0123", "report": {"test": {}}}
    return outside.summary("outside-a", "A", ["table1"], "none", ranking, path, "d", split, rules_of("clean"), record, RECALL)


def test_a_run_over_a_whole_small_gallery_has_every_recall(tmp_path):
    small = replace(SPLIT, image_ids_N=IDS_N[:8], caption_image_ids_Q=IDS_N[np.arange(Q) % 8])
    metrics = scored(tmp_path, small, 8)["metrics"]
    assert metrics["R@5"]["value"] == 70 and metrics["R@10"]["value"] == 100, "14 of 20 queries are of the first five images"
    assert scored(tmp_path, small, 7)["metrics"]["R@10"] is None


@pytest.mark.parametrize("key", ["seed", "images", "queries", "encode_seconds", "search_seconds"])
def test_a_number_that_is_none_is_named(tmp_path, key):
    (path := tmp_path / "outside-a-seed0.json").write_text(json.dumps({**scored(tmp_path, SPLIT, 10), key: "fast"}))
    with pytest.raises(ValueError, match=rf"is damaged \({key} is no number\): delete it and score again"):
        read_summary(path)


@pytest.mark.parametrize("lacking", ["label", "file", "sha256", "tables", "unanswered", "outside"])
def test_a_damaged_summary_of_an_outside_system_is_named(tmp_path, lacking):
    kept = scored(tmp_path, SPLIT, 10)
    (path := tmp_path / "outside-a-seed0.json").write_text(json.dumps(kept))
    assert read_summary(path) == kept
    del (kept if lacking in kept else kept["outside"])[lacking]
    path.write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        read_summary(path)
    assert str(error.value).endswith(": delete it and score again")


def test_a_file_that_is_no_text_or_not_there(tmp_path):
    (tmp_path / "a.run").write_bytes(b"\xff\xfe\x00")
    for name, why in (("a.run", "it is no text"), ("b.run", "No such file")):
        with pytest.raises(ValueError, match=why):
            trec.read_run(tmp_path / name, SPLIT)
