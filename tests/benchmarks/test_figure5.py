"""Figure 5: kinds of pairs by hand, pairs drawn by rule, and a figure of a data set on disk."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.identifiers import figure5_drawing
from benchmarks.identifiers.figure5 import Drawn, _ordered, counted, drawn, kinds, markdown, title, vokens
from methods.coding import Coding

CODES = np.array([[5, 1, 2], [5, 1, 3], [9, 8, 7], [1, 9, 9], [5, 1, 2], [5, 4, -1]])


def test_kinds_by_hand():
    assert kinds(CODES[:1], CODES).tolist() == [[3, 2, 0, -1, 3, 1]]
    assert kinds(CODES[5:], CODES[5:]).tolist() == [[2]], "what pads is no voken"


def test_every_pair_is_counted_once_under_its_kind():
    within = drawn(CODES, None, range(4), pairs=99)
    oracle = {kind: [] for kind in range(4)}
    for one, two in combinations(range(len(CODES)), 2):
        kind = int(kinds(CODES[[one]], CODES[[two]])[0, 0])
        if kind >= 0:
            oracle[kind].append((one, two))
    assert within == {kind: Drawn(len(pairs), pairs) for kind, pairs in oracle.items()}
    assert within[3].pairs == [(0, 4)]


def test_both_sides_may_differ():
    beside = drawn(CODES[:2], CODES[2:], [0, 3], pairs=9)
    assert beside == {0: Drawn(2, [(0, 0), (1, 0)]), 3: Drawn(1, [(0, 2)])}


def test_pairs_are_drawn_with_equal_chance_and_the_same_each_time(monkeypatch):
    codes = np.random.default_rng(0).integers(0, 4, size=(300, 2))
    monkeypatch.setattr("benchmarks.identifiers.figure5.CHUNK", 7)
    found = drawn(codes, None, range(3), pairs=500)
    assert found == drawn(codes, None, range(3), pairs=500)
    for kind, of_kind in found.items():
        assert len(set(of_kind.pairs)) == 500 and of_kind.count > 500
        assert all(one < two and kinds(codes[[one]], codes[[two]])[0, 0] == kind for one, two in of_kind.pairs)
        # the first of a pair of 300 rows is row 100 on the average
        assert np.mean([one for one, _ in of_kind.pairs]) == pytest.approx(100, abs=15)


def test_words():
    assert vokens([6, 5, 4], 2) == ["[6", "5]", "4"] and vokens([6, 5], 1) == ["[6]", "5"] and vokens([6], 0) == ["6"]
    assert [title({"shared": shared}, 4) for shared in (0, 1, 3, 4)] == [
        *("No voken in common", "The first of 4 vokens", "The first 3 of 4 vokens", "Identical codes, all 4 vokens")
    ]
    assert counted({"pairs": 1200, "pairs with train": None}, "test") == "1,200 pairs in test"
    assert counted({"pairs": 0, "pairs with train": 1}, "val") == "no pair in val, 1 pair of val with train"


def test_an_image_with_several_identifiers_has_no_one_prefix():
    with pytest.raises(ValueError, match="row r gives an image several identifiers"):
        _ordered(Coding(np.array([[1], [2]]), np.array([0, 0]), np.array([7])), "r")
    shuffled = Coding(np.array([[1], [2]]), np.array([1, 0]), np.array([7, 8]))
    assert _ordered(shuffled, "r").tolist() == [[2], [1]]


def test_long_codes_are_broken_within_a_pictures_width():
    lines = figure5_drawing._vokens({"codes": list(range(1000, 1010))}, 10)
    assert len(lines) == 2 and [piece[1] for line in lines for piece in line] == ["[1000", *map(str, range(1001, 1009)), "1009]"]
    assert all((column + len(text)) * figure5_drawing.DIGIT <= figure5_drawing.SIDE for line in lines for column, text, _ in line)


def _stored(captions: list[str]) -> dict:
    def image(number: int, split: str = "test") -> dict:
        return {"split": split, "id": number, "codes": [1, 2], "captions": captions}

    kinds = [
        {"shared": 0, "pairs": 1, "pairs with train": None, "drawn": [[image(3), image(9)]]},
        {"shared": 1, "pairs": 0, "pairs with train": 0, "drawn": []},
        {"shared": 2, "pairs": 0, "pairs with train": 4, "drawn": [[image(3), image(20, "train")]]},
    ]
    facts = {"dataset": "photos", "protocol": "clean", "split": "test", "seed": 0, "row": "avg", "label": "AVG", "images": 2, "length": 2}
    return {**facts, "rule": "Drawn.", "attribution": "", "classes": kinds}


@pytest.fixture
def on_disk(tmp_path) -> Path:
    """A data folder whose pictures are photographs of odd shapes in a folder elsewhere."""
    folder, photos = tmp_path / "data", tmp_path / "photos"
    folder.mkdir()
    photos.mkdir()
    for name, size in (("wide.jpg", (900, 300)), ("high.jpg", (40, 200)), ("train.jpg", (64, 64))):
        Image.new("RGB", size, "teal").save(photos / name)
    info = {"name": "photos", "pictures": str(photos), "splits": {"train": {}, "test": {}}}
    (folder / "dataset.json").write_text(json.dumps(info))
    for split, ids, files in (("test", [9, 3], ["wide.jpg", "high.jpg"]), ("train", [20], ["train.jpg"])):
        table = {"image_ids": ids, "files": files, "captions": [], "caption_image_ids": []}
        (folder / f"{split}.json").write_text(json.dumps(table))
    return folder


def test_photographs_on_disk_are_drawn_with_captions_that_are_no_formulas(on_disk, tmp_path):
    stored = _stored(["A $5 bill and $$ on a very long line of words that goes on and on, " + 30 * "again "])
    pictures = []
    for out in ("one", "two"):
        (tmp_path / out).mkdir()
        figure5_drawing.draw(stored, on_disk, tmp_path / out, "figure5")
        pictures.append({path.name: path.read_bytes() for path in (tmp_path / out).iterdir()})
    assert set(pictures[0]) == {"figure5.png", "figure5.pdf"} and pictures[0] == pictures[1]
    with Image.open(tmp_path / "one" / "figure5.png") as picture:
        # two pictures side by side, three bands of which one is empty
        assert 0.4 < picture.width / picture.height < 0.7


def test_markdown_says_what_there_is_and_what_is_not():
    text = markdown(_stored(["A <b>bold</b> cat", "Another"]))
    assert "**No voken in common** (1 pair in test)" in text
    assert "**The first of 2 vokens** (no pair in test, no pair of test with train)\n\nThere is no such pair." in text
    assert r"- train image 20, vokens [1 2]: A \<b\>bold\</b\> cat; Another" in text


def test_what_is_committed_is_what_its_record_says():
    for path in (Path(__file__).resolve().parents[2] / "results").glob("*/figure5*.json"):
        assert path.with_suffix(".md").read_text() == markdown(json.loads(path.read_text()))
