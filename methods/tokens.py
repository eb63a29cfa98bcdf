"""Stages of tokenized images: training the tokenizer on the training split, and the codes it gives.

X identifiers, L length; one identifier an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from avg.precision import device
from avg.settings import TokenizerSettings
from avg.tokenizer import Tokenizer, train_tokenizer
from methods.dense import unit
from methods.files.codes import CodesFile
from methods.fitting.epochs import Epochs
from methods.pseudo_queries import loaded
from methods.reads import SplitArrays, selecting
from methods.recall import dense_recall


def train(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: the tokenizer, trained on the picture and caption vectors of train.

    `config` holds the `tokenizer` settings and `learned`, the splits whose pictures are learned with pseudo-queries.
    """
    train_split = SplitArrays(inputs["features"], "train")
    images, texts, rows = [train_split["images_ND"]], [train_split["texts_QD"]], [train_split["caption_rows_Q"]]
    for made in loaded(inputs, config["learned"]):
        rows.append(made.rows_P + sum(map(len, images)))
        images.append(made.images_ND)
        texts.append(made.texts_PD)
    settings = TokenizerSettings(**config["tokenizer"])
    keeper = Epochs(out, "tokenizer", settings.epochs, device())
    tokenizer, report = train_tokenizer(settings, np.concatenate(images), np.concatenate(texts), np.concatenate(rows), keeper)
    tokenizer.save(out)
    return report


def codes(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: codes of all pictures that the generator learns or is chosen by, with the rows to copy into it.

    `config` holds `splits`, those that are learned, and `selection`. The report says what is lost by quantising: R@1 of the split of
    selection with its pictures' vectors, and with the vectors that their codes decode to, which is a ceiling of any generator of codes.
    """
    tokenizer = Tokenizer.load(inputs["tokenizer"])
    found, ids = [], []
    report: dict[str, dict[str, float]] = {}

    def add(split: str) -> None:
        stored = SplitArrays(inputs["features"], split)
        codes_NL = flat_codes(tokenizer, stored["images_ND"])
        ids.append(stored["image_ids_N"])
        found.append(codes_NL)
        report[split] = {"images": len(codes_NL), "distinct codes": len(np.unique(codes_NL, axis=0))}

    for split in config["splits"]:
        add(split)
    with selecting():
        if config["selection"] not in config["splits"]:
            add(config["selection"])
        stored = SplitArrays(inputs["features"], config["selection"])
        texts_QD, rows_Q, images_ND = unit(stored["texts_QD"]), stored["caption_rows_Q"], stored["images_ND"]
        report[config["selection"]] |= {
            "R@1 of vectors": round(dense_recall(texts_QD, unit(images_ND), rows_Q), 2),
            "R@1 of decoded codes": round(dense_recall(texts_QD, unit(tokenizer.rebuild(images_ND)), rows_Q), 2),
        }
    rows_VE = tokenizer.codebooks().reshape(-1, tokenizer.settings.code_width)
    CodesFile(np.concatenate(found), np.concatenate(ids), len(rows_VE), rows_VE).save(out)
    return report


def flat_codes(tokenizer: Tokenizer, images_ND: np.ndarray) -> np.ndarray:
    """Returns codes as generator tokens (N, L): with one codebook a level, row r of level l is token l * K + r."""
    settings = tokenizer.settings
    offset_L = 0 if settings.shared_codebook else np.arange(settings.voken_length) * settings.codebook_size
    return tokenizer.tokenize(images_ND) + offset_L
