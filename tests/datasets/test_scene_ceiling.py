from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.datasets import data_stage
from benchmarks.datasets.captions import Facts, Mention, choose_facts
from benchmarks.datasets.scene_ceiling import SceneTable, order, rank
from benchmarks.datasets.scenes import Scene, Thing
from benchmarks.datasets.sprites import Sprite
from methods.data import Dataset
from methods.retriever import Ranking

CAT = {"sprite": "cat", "kind": "animal", "x": 0.4, "y": 0.5, "side": 0.4}
DOG = {"sprite": "dog", "kind": "animal", "x": 0.7, "y": 0.6, "side": 0.4}
SCENES = [
    {"ground": "blue", "things": [CAT, DOG]},
    {"ground": "blue", "things": [CAT]},
    {"ground": "red", "things": [CAT]},
    {"ground": "blue", "things": [DOG | {"side": 0.6}]},
]


def says(*what: str, vague: bool = False, size: str | None = None, ground: str | None = None, relation: str | None = None) -> dict:
    return asdict(Facts(tuple(Mention(one, vague, size) for one in what), ground, None, relation))


def test_likelihoods_by_hand() -> None:
    table = SceneTable(SCENES)
    # P(one of two) / 2, precise, ground unsaid; the cat stands nowhere in particular, so no place could have been said
    assert table.likelihood_N(says("cat")) == pytest.approx([0.15 / 2 * 0.94 * 0.4, 0.94 * 0.4, 0.94 * 0.4, 0])
    assert table.likelihood_N(says("cat", ground="red")) == pytest.approx([0, 0, 0.94 * 0.6, 0])
    # the dog of scene 0 is neither big nor small and stands right; that of scene 3 is big: unsaid by 0.7, and its place by 0.65
    assert table.likelihood_N(says("dog")) == pytest.approx([0.15 / 2 * 0.94 * 0.4 * 0.65, 0, 0, 0.94 * 0.4 * 0.7 * 0.65])
    assert table.likelihood_N(says("dog", size="big")) == pytest.approx([0, 0, 0, 0.94 * 0.4 * 0.3 * 0.65])
    # either thing of scene 0 may be the animal; only the dog's place could have been said
    assert table.likelihood_N(says("animal", vague=True))[0] == pytest.approx(0.15 / 2 * 0.06 * 0.4 * (1 + 0.65))
    # 0.3 to the right and 0.1 down: left of the dog, and near it
    assert table.likelihood_N(says("cat", "dog", relation="left"))[0] == pytest.approx(0.85 / 2 * 0.94**2 * 0.4 * 0.25)
    assert table.likelihood_N(says("cat", "dog", relation="near"))[0] == pytest.approx(0.85 / 2 * 0.94**2 * 0.4 * 0.3)
    assert table.likelihood_N(says("cat", "dog"))[0] == pytest.approx(0.85 / 2 * 0.94**2 * 0.4 * 0.45)
    assert not table.likelihood_N(says("cat", "dog", relation="right")).any()


def test_groups_by_hand() -> None:
    table = SceneTable(SCENES)
    rows, scores, group = order(table.likelihood_N(says("cat")), 10)
    assert rows.tolist() == [1, 2, 0] and group.tolist() == [0, 0, 1]
    assert scores.tolist() == pytest.approx(np.log([0.376, 0.376, 0.0282]).tolist())
    rows, _, group = order(table.likelihood_N(says("cat")), 1)
    assert rows.tolist() == [1, 2] and group.tolist() == [0, 0]


def test_the_list_goes_on_until_it_has_k_groups() -> None:
    """Two images tie for the first place: the rule `codes` counts them once, so at k = 2 the third is asked for."""
    rows, _, group = order(np.array([0.3, 0.3, 0.1, 0.05]), 2)
    assert rows.tolist() == [0, 1, 2] and group.tolist() == [0, 0, 1]


def test_rounding_breaks_no_tie_and_no_gallery_order() -> None:
    rows, scores, group = order(np.array([0.3, 0.0, 0.1 + 0.2, 0.5]), 3)
    assert rows.tolist() == [3, 0, 2] and group.tolist() == [0, 1, 1] and scores[1] == scores[2]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_chances_of_all_captions_of_a_scene_make_one(count: int) -> None:
    things = [
        Thing(Sprite("cat", "", "animal", ()), 0.3, 0.3, 0.6),
        Thing(Sprite("dog", "", "animal", ()), 0.7, 0.4, 0.4),
        Thing(Sprite("axe", "", "tool", ()), 0.5, 0.9, 0.4),
    ][:count]
    rng = np.random.default_rng(0)
    scene = Scene(tuple(things), "blue", (0, 0, 0), (0, 0, 0))
    seen = [choose_facts(scene, rng)[0] for _ in range(3_000)]
    shown = [{"sprite": thing.sprite.key, "kind": thing.sprite.kind, "x": thing.x, "y": thing.y, "side": thing.side} for thing in things]
    table = SceneTable([{"ground": "blue", "things": shown}])
    chance = {facts: table.likelihood_N(asdict(facts))[0] for facts in set(seen)}
    assert 0.97 < sum(chance.values()) < 1 + 1e-9
    commonest = max(chance, key=chance.__getitem__)
    assert seen.count(commonest) / len(seen) == pytest.approx(chance[commonest], abs=0.03)


def test_the_true_image_is_always_possible(tmp_path: Path) -> None:
    stage = data_stage("openmoji-scenes-tiny", train=1, val=1, test=60)
    stage({}, tmp_path)
    report = rank({"split": "test", "k": 5}, {"data": tmp_path}, tmp_path)
    ranking, split = Ranking.load(tmp_path / "ranking.npz"), Dataset(tmp_path).split("test")
    assert report["queries"] == len(ranking) == 300 and ranking.k == 5
    full = rank({"split": "test", "k": 60}, {"data": tmp_path}, tmp_path)
    everything = Ranking.load(tmp_path / "ranking.npz")
    assert (everything.ids_QW == split.caption_image_ids_Q[:, None]).any(axis=1).all()
    assert full["R@1"] == report["R@1"] and 90 < full["R@1"] < 100


def test_data_without_facts_is_named(tmp_path: Path) -> None:
    data_stage("openmoji-scenes-tiny", train=1, val=1, test=1)({}, tmp_path)
    (tmp_path / "facts.json").unlink()
    with pytest.raises(ValueError, match=r"no facts\.json"):
        rank({"split": "test", "k": 5}, {"data": tmp_path}, tmp_path)
