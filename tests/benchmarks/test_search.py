"""What is shown of one query's ranking: ranks of ties, identifiers, captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.rankings.search import answer, table
from methods.data import Split
from methods.pictures import Pictures
from methods.retriever import Ranking

IDS_N = np.array([30, 20, 10, 40])
SPLIT = Split(
    "test", Path("nowhere"), IDS_N, Pictures(Path("nowhere"), ["a", "b", "c", "d"]), ("ten", "also ten", "thirty"), np.array([10, 10, 30])
)
CODES = {30: [(0, 1)], 20: [(0, 2), (5, 6), (7,)], 10: [(0, 1)], 40: []}


def found(groups: list[int], k: int, codes: dict[int, list[tuple[int, ...]]] = CODES):
    ranking = Ranking.from_rows([(IDS_N[: len(groups)], -np.array(groups, np.float32), np.array(groups))], k)
    return answer("row", "Row", ranking, k, lambda ids: [codes.get(image, []) for image in ids], SPLIT)


def test_tied_images_share_a_rank_and_what_is_cut_off_is_counted():
    shown = found([0, 1, 1, 1], k=2)
    assert [(hit.place, hit.image, hit.row) for hit in shown.hits] == [("1", 30, 0), ("2=", 20, 1)]
    assert shown.more == 2 and table(shown).endswith("and 2 more, tied with the last")
    assert found([0, 0, 1, 1], k=2).more == 0, "of a further group nothing is tied with the last"
    assert [hit.place for hit in found([0, 0, 1, 2], k=4).hits] == ["1=", "1=", "3", "4"]


def test_each_image_is_shown_with_its_codes_and_a_caption():
    hits = found([0, 1, 2, 3], k=4).hits
    assert [hit.codes for hit in hits] == ["0-1", "0-2; and 2 more", "0-1", ""]
    assert [hit.caption for hit in hits] == ["thirty", "", "ten", ""], "the first of its captions"


def test_a_method_without_codes_has_no_column_for_them():
    assert "codes" in table(found([0], k=1))
    assert "codes" not in table(found([0], k=1, codes={}))


def test_no_answer_is_said():
    empty = Ranking(np.full((1, 2), -1), np.full((1, 2), -np.inf, np.float32), np.full((1, 2), -1, np.int32), 2)
    assert table(answer("row", "Row", empty, 2, lambda ids: [], SPLIT)) == "Row: no answer"
