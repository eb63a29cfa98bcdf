"""What checkpoints of a generator are chosen by: R@1 on validation captions.

Q queries, B batch, L identifier length, X identifiers, C distinct identifiers.
"""

from __future__ import annotations

import numpy as np
import torch

from avg.generator import Generator
from methods.beam import DeviceTrie, beam_search
from methods.identified import Identified
from methods.trie import Trie

VALIDATION_QUERIES = 1000
VALIDATION_BEAM = 10


@torch.inference_mode()
def validation_recall(model: Generator, split: Identified) -> float:
    """Returns R@1 in percent of the first validation captions: the share whose image has the identifier ranked first, ties shared."""
    model.eval()
    trie = Trie.build(split.codes_XL.numpy())
    code_X = trie.rows_of(split.codes_XL.numpy())
    owner_X = np.repeat(np.arange(len(split.count_N)), split.count_N.numpy())
    sharing_C = np.bincount(code_X, minlength=len(trie.identifiers_NL))
    owns = set(zip(owner_X.tolist(), code_X.tolist(), strict=True))
    found = DeviceTrie(trie, model.device)
    queries = torch.arange(min(VALIDATION_QUERIES, len(split.features.texts_QD)))
    hits = 0.0
    for rows_B in queries.split(250):
        codes_BM, _ = beam_search(model.reader(split.text_source(model, rows_B), found.length), found, VALIDATION_BEAM)
        for image, code in zip(split.caption_images(rows_B).tolist(), codes_BM[:, 0].tolist(), strict=True):
            hits += ((image, code) in owns) / sharing_C[code]
    return round(100 * hits / len(queries), 2)
