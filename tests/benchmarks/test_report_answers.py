"""What the report shows of finished methods: which queries, in which order, and whether the answers are those that were measured."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import campaign, tables
from benchmarks.metrics import outcomes
from benchmarks.report.answers import Answers, answering_otherwise, drawn, finished
from benchmarks.report.browser import browsed
from benchmarks.spec import RECALL, Row, Table
from methods.retriever import Ranking

FIRST = ("grace-numeric", "grace-semantic", "irgen", "avg", "clip")


def answers(rows: list[tuple[list[int], list[float], list[int]]], targets: list[int]) -> Answers:
    parts = [(np.array(ids), np.array(scores), np.array(groups)) for ids, scores, groups in rows]
    ranking = Ranking.from_rows(parts, 3)
    return Answers(key="m", label="M", paradigm="two-tower", ranking=ranking, outcomes=outcomes(ranking, np.array(targets)), codes={})


def test_the_worst_failure_is_the_surest_miss():
    made = answers(
        [
            ([1, 2, 3], [0.9, 0.5, 0.1], [0, 1, 2]),  # first: no failure
            ([1, 2, 3], [0.9, 0.5, 0.1], [0, 1, 2]),  # third
            ([1, 2, 3], [0.4, 0.3, 0.1], [0, 1, 2]),  # not listed, unsure
            ([1, 2, 3], [0.8, 0.3, 0.1], [0, 1, 2]),  # not listed, sure
            ([1, 2, 3], [0.9, 0.5, 0.1], [0, 1, 2]),  # second
            ([1, 2, 3], [0.8, 0.3, 0.1], [0, 1, 2]),  # as sure as the fourth, but later
            ([], [], []),  # no answer at all is a miss of no confidence
            ([2, 1, 3], [0.9, 0.9, 0.1], [0, 0, 1]),  # tied for the first place: no failure
        ],
        [1, 3, 9, 9, 2, 9, 9, 1],
    )
    assert made.worst(9).tolist() == [3, 5, 2, 6, 1, 4]
    assert made.worst(2).tolist() == [3, 5]
    assert made.worst(0).tolist() == []
    assert made.found_first == pytest.approx(2 / 8)


def test_rows_of_the_first_table_are_shown_before_variants_of_others():
    split = SimpleNamespace(captions=["one", "two"], caption_image_ids_Q=np.array([1, 2]))
    right, wrong = ([1, 2, 3], [0.9, 0.5, 0.1], [0, 1, 2]), ([3, 2, 1], [0.9, 0.5, 0.1], [0, 1, 2])
    made = {key: replace(answers([row, row], [1, 2]), key=key) for key, row in zip(FIRST, [wrong] * 5, strict=True)}
    made |= {key: replace(answers([right, right], [1, 2]), key=key) for key in ("avg-beam50", "blip")}
    shown = browsed(split, list(made.values()), 2, 1)["methods"]
    assert [method["key"] for method in shown if method["checked"]] == list(FIRST)


def test_a_score_is_named_for_what_it_is():
    split = SimpleNamespace(captions=["one"], caption_image_ids_Q=np.array([1]))
    plain = answers([([1, 2, 3], [0.9, 0.5, 0.1], [0, 1, 2])], [1])
    made = [replace(plain, key=key, paradigm="generative") for key in ("avg", "avg-clip")]
    shown = {method["key"]: method["score"] for method in browsed(split, made, 1, 1)["methods"]}
    assert shown == {"avg": "log-probability of the identifier", "avg-clip": "cosine of caption and picture"}


def test_queries_are_drawn_without_looking():
    assert drawn(5, 3).tolist() == [0, 1, 2]
    some = drawn(200, 5000)
    assert len(set(some.tolist())) == 200
    assert (np.diff(some) > 0).all()
    assert some.tolist() == drawn(200, 5000).tolist()


def test_answers_are_those_of_the_store(cell_work, store, monkeypatch):
    table = Table(name="ten", caption="", columns=RECALL, rows=(Row(key="tower", label="T", method="tower"),), reported={})
    monkeypatch.setattr(tables, "TABLES", {"ten": ""})
    monkeypatch.setattr(tables, "table", lambda name: table)
    assert finished("ten", "clean", store) == (None, [])
    campaign.measure(table, campaign.plan_cells(table, ["ten"]), store)
    split, (found,) = finished("ten", "clean", store)
    assert len(split.captions) == len(found.ranking) == 20
    assert (found.paradigm, found.codes) == ("two-tower", {})
    assert found.outcomes.before_Q.tolist() == [0] * 20
    assert found.worst(5).tolist() == []
    elsewhere = replace(found.outcomes, before_Q=found.outcomes.before_Q + 1)
    for measured, others in ((found.outcomes, []), (elsewhere, ["T"])):
        assert answering_otherwise([found], [{"row": "tower", "seed": 0, "outcomes": measured.pack()}]) == others
    assert answering_otherwise([found], [{"row": "tower", "seed": 1, "outcomes": elsewhere.pack()}]) == [], "seed 0 is shown"
