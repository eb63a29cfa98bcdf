"""The identifier report: how a row's identifiers use their levels, who shares one, what they keep of a picture, what that caps R@K at.

RESULTS/DATASET/codes.json                      all that was measured
RESULTS/DATASET/codes.md .tex .csv .png .pdf    computed from it

N images, Q captions, C distinct identifiers, D width of a vector. Numbers are rounded: the order of a sum differs between machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.cells import CellPlan
from benchmarks.environment import environment
from benchmarks.metrics import Outcomes, Rule, outcomes, recall
from benchmarks.protocol import protocol
from benchmarks.spec import RECALL
from benchmarks.stages import Store
from benchmarks.statistics import SEED
from methods import code_statistics as statistics
from methods.coding import Coding, Identifiers, identifier_stages
from methods.data import Dataset
from methods.dense import best_groups, unit
from methods.recall import distinct
from methods.retriever import Ranking

NAME = "codes"
NEIGHBOURS, RANDOM = 10, 100
"""Nearest images of each image whose prefixes are compared with its own, and others drawn at random."""

SHARED = {
    "random": "random images",
    "captions": f"{NEIGHBOURS} nearest by their captions",
    "pictures": f"{NEIGHBOURS} nearest pictures",
    "nearest": "the nearest picture",
}
"""With whom an image's prefix is compared, in rising order of what one expects."""


def measured(plans: Sequence[CellPlan], store: Store, name: str = NAME) -> dict[str, Any]:
    """Returns the record of some rows' identifiers on one data set: all that the report is computed from.

    Args:
        plans: of rows with identifiers, of one data set, protocol and split; the tokenizers or codes behind them are made if missing.
        name: under which the report is written.

    Raises:
        ValueError: if a row has no identifiers.
    """
    first = plans[0]
    ties = protocol(first.protocol).ties
    rows = []
    for plan in plans:
        stages = identifier_stages(plan.ranking)
        found = Identifiers({name: store.run(stage) for name, stage in stages.items()})
        facts = {"row": plan.row.key, "label": plan.row.label, "stages": {name: stage.key for name, stage in stages.items()}}
        rows.append({**facts, **of_identifiers(found, plan.split, ties), "reached": _reached(plan, store, ties)})
    return {
        "format": 1,
        "name": name,
        "dataset": first.dataset,
        "protocol": first.protocol,
        "split": first.split,
        "ties": ties,
        "seed": first.seed,
        "environment": environment(),
        "rows": rows,
    }


def of_identifiers(found: Identifiers, split: str, ties: Rule) -> dict[str, Any]:
    """Returns what is measured of one row's identifiers of a split, JSON-able and rounded."""
    coding, train, alphabets = found.of(split), found.of("train"), found.alphabets()
    if len(coding) < 2:
        raise ValueError(f"split {split} has one image: identifiers are compared between images, name another split")
    stored = found.vectors(split)
    images_ND, texts_QD, rows_Q = stored["images_ND"], stored["texts_QD"], stored["caption_rows_Q"]
    buckets = statistics.buckets(coding)
    result: dict[str, Any] = {
        "images": len(coding),
        "train images": len(train),
        "queries": len(rows_Q),
        "identifiers": len(coding.codes_XL),
        "mean length": float((coding.codes_XL >= 0).sum(1).mean()),
        "levels": levels(coding, train, alphabets),
        "distinct": len(buckets.size_C),
        "unique rate": len(buckets.size_C) / len(np.unique(np.c_[coding.rows_X, coding.codes_XL], axis=0)),
        "largest bucket": int(buckets.size_C.max()),
        "collide": int((buckets.largest_N > 1).sum()),
        "in train": int(statistics.also_in(coding, train).sum()),
        "shared": shared(coding, images_ND, caption_means(texts_QD, rows_Q, len(coding))),
        "ceiling of collisions": recalls(ideal_matcher(coding, rows_Q), ties),
        "vectors": recalls(dual_tower(texts_QD, images_ND, np.arange(len(coding)), coding.image_ids_N, rows_Q), ties),
        "decoded vectors": None,
        "cosines": None,
    }
    if found.tokenizer is not None:
        # decoded once for each code: images of one code must tie exactly
        first_C = np.unique(buckets.code_N, return_index=True)[1]
        decoded_CD = found.tokenizer.rebuild(images_ND[first_C])
        code_N = np.searchsorted(np.unique(buckets.code_N), buckets.code_N)
        result["decoded vectors"] = recalls(dual_tower(texts_QD, decoded_CD, code_N, coding.image_ids_N, rows_Q), ties)
        result["cosines"] = found.cosines(split)
    return rounded(result)


def levels(coding: Coding, train: Coding, alphabets: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Returns how each level, and last all of them together, are used by the pictures of train and by those of the split."""
    sizes = [*map(len, alphabets), len(np.unique(np.concatenate(list(alphabets))))]
    used = [
        [*statistics.level_usage(each.codes_XL, alphabets), statistics.overall_usage(each.codes_XL, alphabets)] for each in (train, coding)
    ]
    names = [*map(str, range(1, len(alphabets) + 1)), "all"]
    # levels that no identifier of the split reaches are left out
    return [
        {"level": name, "size": size, "train": of_train, "split": of_split}
        for name, size, of_train, of_split in zip(names, sizes, *used, strict=True)
        if of_split["identifiers"]
    ]


def shared(coding: Coding, images_ND: np.ndarray, captions_ND: np.ndarray) -> dict[str, list[float]]:
    """Returns, for each of `SHARED`, the share of pairs that have the first 1, 2, ... tokens in common."""
    nearest_Nk = statistics.neighbours(images_ND, NEIGHBOURS)
    others = {
        "random": statistics.random_others(len(coding), RANDOM, np.random.default_rng(SEED)),
        "captions": statistics.neighbours(captions_ND, NEIGHBOURS),
        "pictures": nearest_Nk,
        "nearest": nearest_Nk[:, :1],
    }
    result = {}
    for name in SHARED:
        rows_P = np.repeat(np.arange(len(coding)), others[name].shape[1])
        result[name] = statistics.prefix_shares(statistics.shared_lengths(coding, rows_P, others[name].ravel()), coding.codes_XL.shape[1])
    return result


def caption_means(texts_QD: np.ndarray, rows_Q: np.ndarray, images: int) -> np.ndarray:
    """Returns the mean direction of each image's captions, (N, D)."""
    sums_ND = np.zeros((images, texts_QD.shape[1]))
    np.add.at(sums_ND, rows_Q, unit(texts_QD))
    return sums_ND


def ideal_matcher(coding: Coding, rows_Q: np.ndarray) -> Outcomes:
    """Returns what ranking the target's own identifier first gives: images under it are tied; of several, the one with fewest images."""
    buckets = statistics.buckets(coding)
    # place of an image in its bucket, in the gallery's order, as the rule `index` wants it
    order_N = np.argsort(buckets.code_N, kind="stable")
    place_N = np.empty(len(coding), np.int32)
    place_N[order_N] = np.arange(len(coding)) - np.searchsorted(buckets.code_N[order_N], buckets.code_N[order_N])
    nothing_Q = np.zeros(len(rows_Q), np.int32)
    tied_Q = buckets.smallest_N[rows_Q].astype(np.int32)
    targets_Q = coding.image_ids_N[rows_Q].astype(np.int32)
    return Outcomes(nothing_Q, tied_Q, nothing_Q, place_N[rows_Q], targets_Q, max(column.k for column in RECALL))


def dual_tower(texts_QD: np.ndarray, vectors_CD: np.ndarray, code_N: np.ndarray, ids_N: np.ndarray, rows_Q: np.ndarray) -> Outcomes:
    """Returns what ranking by cosine gives, where image n has vector `code_N[n]`: images of one vector or of equal ones are tied."""
    k = max(column.k for column in RECALL)
    texts_QD, rows = unit(texts_QD), []
    vectors_CD, which_C = distinct(unit(vectors_CD))
    for start in range(0, len(texts_QD), 1024):
        scores_BN = (texts_QD[start : start + 1024] @ vectors_CD.T)[:, which_C[code_N]]
        rows += [best_groups(ids_N, scores_N, k) for scores_N in scores_BN]
    return outcomes(Ranking.from_rows(rows, k), ids_N[rows_Q])


def _reached(plan: CellPlan, store: Store, ties: Rule) -> dict[str, float | None] | None:
    """Returns what the row itself reached, or None where it is not measured: nothing is trained for it."""
    if not (store.done(plan.ranking) and store.done(plan.data)):
        return None
    targets_Q = Dataset(store.folder(plan.data)).split(plan.split).caption_image_ids_Q
    found = outcomes(Ranking.load(store.folder(plan.ranking) / "ranking.npz"), targets_Q, plan.depth)
    return rounded(recalls(found, ties))


def recalls(found: Outcomes, ties: Rule) -> dict[str, float | None]:
    return {column.key: recall(found, column.k, ties) for column in RECALL}


def rounded(value: Any) -> Any:
    """Returns a JSON-able value with six decimals in every number that has more."""
    if isinstance(value, Mapping):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value
