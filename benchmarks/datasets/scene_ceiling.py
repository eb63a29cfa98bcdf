"""The ideal matcher of OpenMoji Scenes: knowing what is true of every scene, it errs only where captions leave more than one possible.

Ordering images by the chance of a caption's facts under each is Bayes' rule with equal priors, so no method can expect a higher R@1.

N images, T things at most in an image, M things named by a caption, C candidate images, A assignments of things to what is named.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import captions
from benchmarks.datasets.scenes import NEAR, Thing, direction
from benchmarks.datasets.sprites import Sprite
from methods.data import Dataset
from methods.retriever import Ranking

T = 3
SAME = 1e-9
"""Difference of log-likelihoods below which they are equal: more than rounding leaves, less than any stated fact makes."""


class SceneTable:
    """What is true of N scenes, as arrays; missing things are empty strings.

    Args:
        images: as in `facts.json` (`openmoji_scenes.build`).
    """

    def __init__(self, images: Sequence[Mapping[str, Any]]):
        scenes = [
            [Thing(Sprite(thing["sprite"], "", thing["kind"], ()), thing["x"], thing["y"], thing["side"]) for thing in image["things"]]
            for image in images
        ]
        self.ground_N = np.array([image["ground"] for image in images])
        self.count_N = np.array([len(things) for things in scenes])
        self.sprite_NT = _table([[thing.sprite.key for thing in things] for things in scenes])
        self.kind_NT = _table([[thing.sprite.kind for thing in things] for things in scenes])
        self.size_NT = _table([[thing.size or "" for thing in things] for things in scenes])
        self.place_NT = _table([[thing.place or "" for thing in things] for things in scenes])
        x_NT, y_NT = (_table([[getattr(thing, axis) for thing in things] for things in scenes], 0.0) for axis in "xy")
        right_NTT, down_NTT = x_NT[:, :, None] - x_NT[:, None], y_NT[:, :, None] - y_NT[:, None]
        self.direction_NTT = np.vectorize(direction, otypes=["<U6"])(right_NTT, down_NTT)
        # as captions.py measures: a distance at the very limit must not fall on the other side
        self.near_NTT = np.vectorize(math.hypot, otypes=[float])(right_NTT, down_NTT) <= NEAR

    def likelihood_N(self, facts: Mapping[str, Any]) -> np.ndarray:
        """Returns the chance that a caption of each scene states just these facts, in this order.

        Example: a scene of a cat and a dog, neither big nor small, on blue; the facts are one mention, `cat`, and no place, where the cat
        is nowhere in particular: P(one of two is named) 0.15 · P(the cat first) 1/2 · P(not vague) 0.94 · P(ground unsaid) 0.4 = 0.0282.
        """
        likelihood_N = np.zeros(len(self.count_N))
        mentions = facts["mentions"]
        possible_N = self.count_N >= len(mentions)
        if facts["ground"] is not None:
            possible_N &= self.ground_N == facts["ground"]
        for mention in mentions:
            possible_N &= (self._shown_NT(mention) == mention["what"]).any(axis=1)
        rows_C = np.flatnonzero(possible_N)
        if not len(rows_C):
            return likelihood_N
        named_CMT = np.stack([self._named_CT(mention, rows_C) for mention in mentions], axis=1)
        chance_C = np.zeros(len(rows_C))
        for order in itertools.permutations(range(T), len(mentions)):
            chance_A = np.prod([named_CMT[:, which, thing] for which, thing in enumerate(order)], axis=0)
            if len(order) == 1:
                chance_A = chance_A * self._placed_C(facts["place"], rows_C, order[0])
            else:
                chance_A = chance_A * self._related_C(facts["relation"], rows_C, order[0], order[1])
            chance_C += chance_A
        prior_C = [
            captions.MENTIONED[count][len(mentions) - 1] / math.perm(count, len(mentions)) for count in self.count_N[rows_C].tolist()
        ]
        says_ground = captions.SAYS_GROUND if facts["ground"] is not None else 1 - captions.SAYS_GROUND
        likelihood_N[rows_C] = chance_C * prior_C * says_ground
        return likelihood_N

    def _shown_NT(self, mention: Mapping[str, Any]) -> np.ndarray:
        return self.kind_NT if mention["vague"] else self.sprite_NT

    def _named_CT(self, mention: Mapping[str, Any], rows_C: np.ndarray) -> np.ndarray:
        """Chance of so mentioning each thing."""
        vague = captions.SAYS_KIND if mention["vague"] else 1 - captions.SAYS_KIND
        shown_CT = self._shown_NT(mention)[rows_C] == mention["what"]
        return shown_CT * vague * _said(mention["size"], self.size_NT[rows_C], captions.SAYS_SIZE)

    def _placed_C(self, place: str | None, rows_C: np.ndarray, thing: int) -> np.ndarray:
        return _said(place, self.place_NT[rows_C, thing], captions.SAYS_PLACE)

    def _related_C(self, relation: str | None, rows_C: np.ndarray, first: int, second: int) -> np.ndarray:
        near_C = self.near_NTT[rows_C, first, second]
        if relation is None:
            return 1 - captions.SAYS_DIRECTION - captions.SAYS_NEAR * near_C
        if relation == "near":
            return captions.SAYS_NEAR * near_C
        return captions.SAYS_DIRECTION * (self.direction_NTT[rows_C, first, second] == relation)


def _table(rows: Sequence[Sequence[Any]], missing: Any = "") -> np.ndarray:
    return np.array([[*row, *[missing] * (T - len(row))] for row in rows])


def _said(said: str | None, true: np.ndarray, chance: float) -> np.ndarray:
    """Returns the chance of what was said of a property that is told with `chance` wherever there is something to tell."""
    if said is None:
        return np.where(true == "", 1.0, 1 - chance)
    return np.where(true == said, chance, 0.0)


def order(likelihood_N: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (rows_W, scores_W, group_W): possible images by falling likelihood, down to the end of the k-th tie group.

    Impossible images are left out. Scores are logarithms, one per group; within a group the order is the gallery's.
    """
    rows = np.flatnonzero(likelihood_N > 0)
    logs = np.log(likelihood_N[rows])
    falling = np.argsort(-logs, kind="stable")
    rows, logs = rows[falling], logs[falling]
    group = np.cumsum(np.diff(logs, prepend=logs[:1]) < -SAME)
    kept = group < k
    rows, logs, group = rows[kept], logs[kept], group[kept]
    scores = logs[np.searchsorted(group, group)]
    return rows[np.lexsort((rows, group))], scores.astype(np.float32), group.astype(np.int32)


def rank(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Returns the number of queries and the R@1 in percent that a random order within ties expects; writes `ranking.npz` to `out`.

    Args:
        config: {"split": name, "k": images asked for}.
        inputs: {"data": a folder that `openmoji_scenes.build` made}.

    Raises:
        ValueError: if the data set does not say what its pictures show.
    """
    split = Dataset(inputs["data"]).split(config["split"])
    path = inputs["data"] / "facts.json"
    if not path.is_file():
        raise ValueError(f"{inputs['data']} has no facts.json: a ceiling is known for OpenMoji Scenes only")
    facts = json.loads(path.read_text())[config["split"]]
    table = SceneTable(facts["images"])
    rows, first = [], []
    for stated, true in zip(facts["captions"], split.caption_rows_Q, strict=True):
        found, scores, group = order(table.likelihood_N(stated), config["k"])
        rows.append((split.image_ids_N[found], scores, group))
        top = found[group == 0]
        first.append(float(true in top) / len(top))
    Ranking.from_rows(rows, config["k"]).save(out / "ranking.npz")
    return {"queries": len(rows), "R@1": round(100 * float(np.mean(first)), 2)}
