"""Recall under every tie rule, from what a ranking says about each query's target.

Q queries, W columns of a ranking. A collision of codes, two identical pictures and two equal scores are all the same thing: a tie.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from benchmarks.estimates import in_percent
from benchmarks.spec import Column
from benchmarks.statistics import intervals
from methods.recall import expected_hits

if TYPE_CHECKING:
    from methods.retriever import Ranking

Rule = Literal["expected", "optimistic", "pessimistic", "index", "codes"]
UNRANKED = -1
ARRAYS = ("before_Q", "tied_Q", "group_Q", "place_Q", "image_ids_Q")


@dataclass(frozen=True)
class Outcomes:
    """Where each query's target stands: enough for every recall under every tie rule.

    Args:
        before_Q: images in tie groups strictly before the target's; -1 where the target is not ranked (so too the others).
        tied_Q: images in the target's tie group, itself included; 0 where it is not ranked.
        group_Q: tie groups before the target's.
        place_Q: place of the target in its group, from 0, in the ranking's order.
        image_ids_Q: the target; queries of one target are one cluster of the bootstrap.
        depth: the largest k at which R@k means something, e.g. the beam of a method that ranks no more images than that.

    All arrays are int32.
    """

    before_Q: np.ndarray
    tied_Q: np.ndarray
    group_Q: np.ndarray
    place_Q: np.ndarray
    image_ids_Q: np.ndarray
    depth: int

    def __len__(self) -> int:
        return len(self.before_Q)

    def same(self, other: Outcomes) -> bool:
        """Says whether every query's target stands where it does in the other."""
        return self.depth == other.depth and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ARRAYS)

    def pack(self) -> dict[str, Any]:
        """Returns a JSON-able dict that `unpack` reads: each array as base64 of zlib of little-endian int32."""
        arrays = {name: base64.b64encode(zlib.compress(getattr(self, name).astype("<i4").tobytes(), 9)).decode() for name in ARRAYS}
        return {"queries": len(self), "depth": self.depth, **arrays}

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> Outcomes:
        """Returns the outcomes that `pack` wrote.

        Raises:
            ValueError: if an array or a number is missing or damaged, or an array has the wrong length.
        """
        arrays = {}
        if not isinstance(packed, Mapping) or not all(isinstance(packed.get(name), int) for name in ("queries", "depth")):
            raise ValueError("stored outcomes do not say how many queries they have, or their depth")
        for name in ARRAYS:
            try:
                raw = zlib.decompress(base64.b64decode(packed[name], validate=True))
                arrays[name] = np.frombuffer(raw, "<i4").astype(np.int32)
            except (KeyError, TypeError, ValueError, zlib.error) as error:
                raise ValueError(f"stored outcomes are damaged at {name}: {error}") from error
            if len(arrays[name]) != packed["queries"]:
                raise ValueError(f"stored outcomes are damaged: {name} holds {len(arrays[name])} of {packed['queries']} queries")
        return cls(**arrays, depth=packed["depth"])


def same_queries(where: str, measured: Iterable[tuple[str, Mapping[str, Any]]]) -> np.ndarray:
    """Returns the image of each query (Q,), which must be the same for all that is compared: comparisons are paired.

    Args:
        where: what they were measured on, as an error names it.
        measured: how each is called, and its run summary.

    Raises:
        ValueError: naming two whose queries differ, or whose data set was built in two ways, so that captions of equal images may differ.
    """
    image_ids_Q = np.empty(0, np.int32)
    built: dict[str, tuple[str, str]] = {}  # data set -> key of its stage, and who was measured on it first
    for place, (name, summary) in enumerate(measured):
        of_this_Q = Outcomes.unpack(summary["outcomes"]).image_ids_Q
        if place == 0:
            first, image_ids_Q = name, of_this_Q
        if not np.array_equal(of_this_Q, image_ids_Q):
            raise ValueError(f"{where}: {first} and {name} were measured on different queries; run the older of them again")
        if key := summary.get("stages", {}).get("data"):
            known, other = built.setdefault(summary["dataset"], (key, name))
            if key != known:
                what = f"different versions of {summary['dataset']}"
                raise ValueError(f"{where}: {other} and {name} were measured on {what}; run the older of them again")
    return image_ids_Q


def outcomes(ranking: Ranking, target_ids_Q: np.ndarray, depth: int | None = None) -> Outcomes:
    """Returns where each query's target stands in a ranking.

    Args:
        ranking: Q rows, the last tie group in full.
        target_ids_Q: the image that each query describes.
        depth: largest k at which R@k means something, where that is less than the ranking's k.
    """
    if len(target_ids_Q) != len(ranking):
        raise ValueError(f"{len(target_ids_Q)} targets for a ranking of {len(ranking)} queries")
    assert np.abs(target_ids_Q).max(initial=0) < 2**31, "image ids are stored in 32 bits"
    hit_QW = ranking.ids_QW == np.asarray(target_ids_Q)[:, None]
    ranked_Q = hit_QW.any(axis=1)
    column_Q = hit_QW.argmax(axis=1)
    group_Q = ranking.group_QW[np.arange(len(ranking)), column_Q]
    before_Q = ((ranking.group_QW < group_Q[:, None]) & (ranking.group_QW >= 0)).sum(axis=1)
    tied_Q = (ranking.group_QW == group_Q[:, None]).sum(axis=1)
    return Outcomes(
        before_Q=np.where(ranked_Q, before_Q, UNRANKED).astype(np.int32),
        tied_Q=np.where(ranked_Q, tied_Q, 0).astype(np.int32),
        group_Q=np.where(ranked_Q, group_Q, UNRANKED).astype(np.int32),
        place_Q=np.where(ranked_Q, column_Q - before_Q, UNRANKED).astype(np.int32),
        image_ids_Q=np.asarray(target_ids_Q, dtype=np.int32),
        depth=ranking.k if depth is None else min(depth, ranking.k),
    )


def hits(outcomes: Outcomes, k: int, rule: Rule = "expected") -> np.ndarray:
    """Returns how far each query is a hit at k, float64 (Q,) in 0..1.

    Args:
        rule: what a tie across the cut is worth.
            expected: the chance of a hit when the tied images are shuffled.
            optimistic: the target stands first among the tied images.
            pessimistic: it stands last among them.
            index: the tied images stay in the ranking's order, which is the gallery's.
            codes: tie groups are counted instead of images, and any image of a group is a hit (how AVG's released code scores).

    Example: one image before the target, which is tied with one other; k = 2:
        expected 0.5, optimistic 1, pessimistic 0, index 1 or 0 by the target's place, codes 1.
    """
    if k > outcomes.depth:
        raise ValueError(f"R@{k} has no meaning for a ranking of depth {outcomes.depth}")
    before_Q, tied_Q = outcomes.before_Q, outcomes.tied_Q
    ranked_Q = before_Q != UNRANKED
    match rule:
        case "expected":
            hits_Q = expected_hits(before_Q, tied_Q, k)
        case "optimistic":
            hits_Q = before_Q + 1 <= k
        case "pessimistic":
            hits_Q = before_Q + tied_Q <= k
        case "index":
            hits_Q = before_Q + outcomes.place_Q + 1 <= k
        case "codes":
            hits_Q = outcomes.group_Q + 1 <= k
        case _:
            raise ValueError(f"unknown tie rule {rule!r}; valid are {', '.join(get_args(Rule))}")
    return np.where(ranked_Q, hits_Q, 0.0).astype(np.float64)


def recall(outcomes: Outcomes, k: int, rule: Rule = "expected") -> float | None:
    """Returns R@k in percent, or None where it has no meaning (k beyond the depth)."""
    return None if k > outcomes.depth else 100 * float(hits(outcomes, k, rule).mean())


def metrics_of(
    outcomes: Outcomes, columns: Sequence[Column], rng: np.random.Generator, rule: Rule = "expected"
) -> dict[str, dict[str, float] | None]:
    """Returns {column key: {value, low, high} in percent, or None where the column has no meaning}; 95 % intervals clustered by image."""
    applicable = [column for column in columns if column.k <= outcomes.depth]
    result: dict[str, dict[str, float] | None] = {column.key: None for column in columns}
    if applicable:
        hits_SQ = np.stack([hits(outcomes, column.k, rule) for column in applicable])
        for column, hits_Q, (low, high) in zip(applicable, hits_SQ, intervals(hits_SQ, outcomes.image_ids_Q, rng), strict=True):
            value, low, high = (in_percent(share) for share in (hits_Q.mean(), low, high))
            result[column.key] = {"value": value, "low": low, "high": high}
    return result
