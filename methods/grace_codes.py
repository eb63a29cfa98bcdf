"""Stage: GRACE's identifiers for the training images and those that the protocol exposes.

N images, X identifiers, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines import grace
from baselines.clip import wordpieces as subwords
from methods.data import Dataset
from methods.dense import unit
from methods.files.codes import CodesFile
from methods.pseudo_queries import loaded
from methods.reads import SplitArrays


def assign(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: identifiers of one kind for all images that are learned."""
    splits = ["train", *config["exposed"]]
    features = {split: SplitArrays(inputs["features"], split) for split in splits}
    ids_N = np.concatenate([features[split]["image_ids_N"] for split in splits])
    kind, seed = config["identifier"], config["seed"]
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
            captions, rows_X = _captions(inputs, config["exposed"])
            found = grace.semantic(captions, rows_X, wordpieces)
    CodesFile(found.codes_XL, ids_N[found.rows_X], found.tokens).save(out)
    lengths_X = (found.codes_XL >= 0).sum(1)
    return {
        "identifiers": len(lengths_X),
        "tokens": found.tokens,
        "mean length": float(lengths_X.mean()),
        "longest": int(lengths_X.max()),
    }


def _captions(inputs: Mapping[str, Path], splits: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Returns the captions that identify each image, and its row: its own for train, pseudo-queries elsewhere."""
    train = Dataset(inputs["data"]).split("train")
    captions, rows, first = list(train.captions), [train.caption_rows_Q], len(train.image_ids_N)
    for made in loaded(inputs, splits):
        captions += made.captions
        rows.append(first + made.rows_P)
        first += len(made.image_ids_N)
    return captions, np.concatenate(rows)
