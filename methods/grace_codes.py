"""Stage: GRACE's identifiers for the training images and those that the protocol exposes.

N images, X identifiers, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baselines import grace
from baselines.clip import wordpieces as subwords
from methods.data import Dataset
from methods.dense import unit


def assign(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: writes `codes.npz` with codes, the image of each, and the number of tokens."""
    splits = ["train", *config["exposed"]]
    features = {}
    for split in splits:
        with np.load(inputs["features"] / f"{split}.npz", allow_pickle=False) as stored:
            features[split] = dict(stored)
    ids_N = np.concatenate([features[split]["image_ids_N"] for split in splits])
    kind, seed = config["identifier"], config["seed"]
    report: dict[str, Any] = {}
    if kind == "numeric":
        found = grace.numeric(len(ids_N), seed)
    elif kind == "structured":
        vectors_ND = unit(np.concatenate([features[split]["images_ND"] for split in splits]))
        found = grace.structured(vectors_ND, seed, config["branches"], config["leaf"])
    else:
        wordpieces = subwords(inputs["encoder"])
        if kind == "string":
            found = grace.string(len(ids_N), seed, wordpieces)
        else:
            captions, rows_X = _captions(Dataset(inputs["data"]), features, config["pseudo_queries"])
            found = grace.semantic(captions, rows_X, wordpieces)
            report["pseudo-queries"] = captions[-3:]
    np.savez(out / "codes.npz", codes_XL=found.codes_XL, image_ids_X=ids_N[found.rows_X], tokens=found.tokens)
    lengths_X = (found.codes_XL >= 0).sum(1)
    return {
        **report,
        "identifiers": len(lengths_X),
        "tokens": found.tokens,
        "mean length": float(lengths_X.mean()),
        "longest": int(lengths_X.max()),
    }


def _captions(data: Dataset, features: Mapping[str, dict[str, np.ndarray]], count: int) -> tuple[list[str], np.ndarray]:
    """Returns the captions that identify each image, and its row: its own for train, pseudo-queries elsewhere."""
    train = data.split("train")
    captions, rows = list(train.captions), [train.caption_rows_Q]
    first = len(train.image_ids_N)
    texts_QD = unit(features["train"]["texts_QD"])
    for split, stored in features.items():
        if split == "train":
            continue
        for row, scores_Q in enumerate(unit(stored["images_ND"]) @ texts_QD.T):
            # nearest training captions in CLIP space, of different words
            chosen = list(dict.fromkeys(train.captions[q] for q in np.argsort(-scores_Q)[: 4 * count]))[:count]
            captions += chosen
            rows.append(np.full(len(chosen), first + row))
        first += len(stored["images_ND"])
    return captions, np.concatenate(rows)
