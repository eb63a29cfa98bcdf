"""What checkpoints of a generator are chosen by: R@1 on validation captions.

Q queries, B batch, L identifier length, X identifiers, C distinct identifiers, P pictures, Y identifiers of some pictures.
"""

from __future__ import annotations

import numpy as np
import torch

from avg.generator import Generator
from avg.padding import PAD
from methods.decoding.beam import DeviceTrie, beam_search
from methods.decoding.trie import Trie
from methods.fitting.identified import Identified, Shown
from methods.recall import expected_hits

VALIDATION_QUERIES = 1000
VALIDATION_BEAM = 10


@torch.inference_mode()
def validation_recall(model: Generator, split: Identified) -> float:
    """Returns R@1 in percent of the first validation captions: the share whose image has the identifier ranked first, ties shared."""
    model.eval()
    trie = Trie.build(split.codes_XL.numpy())
    code_X = trie.rows_of(split.codes_XL.numpy())
    owner_X = np.repeat(np.arange(len(split.count_N)), split.count_N.numpy())
    # an image may have one identifier twice
    owned_X2 = np.unique(np.stack([owner_X, code_X], 1), axis=0)
    owns, sharing_C = set(map(tuple, owned_X2.tolist())), np.bincount(owned_X2[:, 1])
    found = DeviceTrie(trie, model.device)
    queries = torch.arange(min(VALIDATION_QUERIES, len(split.features.texts_QD)))
    hits = 0.0
    for rows_B in queries.split(250):
        codes_BM, _ = beam_search(model.reader(split.text_source(model, rows_B), found.length), found, VALIDATION_BEAM)
        first_B = codes_BM[:, 0].tolist()
        missed_B = np.array([pair not in owns for pair in zip(split.caption_images(rows_B).tolist(), first_B, strict=True)])
        hits += float(expected_hits(missed_B, sharing_C[first_B], 1).sum())
    return round(100 * hits / len(queries), 2)


@torch.inference_mode()
def pictures_written(model: Generator, shown: Shown, rows_P: torch.Tensor) -> float:
    """Returns the percentage of some learned pictures of which the model writes a whole identifier, token after likeliest token.

    Args:
        rows_P: pictures of `shown`.
    """
    model.eval()
    identified, right = shown.identified, 0
    for rows_B in rows_P.split(100):
        count_B = identified.count_N[rows_B]
        picture_Y = torch.arange(len(rows_B)).repeat_interleave(count_B)
        ends_B = count_B.cumsum(0)
        places_Y = torch.arange(int(ends_B[-1])) + (identified.first_N[rows_B] - ends_B + count_B)[picture_Y]
        codes_YL = identified.codes_XL[places_Y]
        logits_YLV = model(model.picture_source(shown.take(rows_B[picture_Y], model)), codes_YL.to(model.device))
        same_Y = ((logits_YLV.argmax(-1).cpu() == codes_YL) | (codes_YL == PAD)).all(1)
        right += len(picture_Y[same_Y].unique())
    return round(100 * right / len(rows_P), 2)
