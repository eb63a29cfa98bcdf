"""Vector searches that meet in the decoding measurements, over random vectors: the paper's, one matrix product, and FAISS's.

N images, Q queries, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from baselines.vector_search import FaissSearch, MatrixSearch, PaperSearch

WIDTH = 512
VECTOR_QUERIES = {"paper": 2, "matrix": 1000, "flat": 1000, "hnsw": 1000, "ivfpq": 1000}


def vector_runs(images: int) -> Mapping[str, Callable[[], Any]]:
    """Returns the ways to search CLIP vectors, by name: each searches 1,000 queries, but for `paper`, which takes one at a time and two."""
    rng = np.random.default_rng(0)

    def unit(count: int) -> np.ndarray:
        drawn = rng.standard_normal((count, WIDTH), dtype=np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    vectors_ND, queries_QD = unit(images), unit(1000)
    searches = {"paper": PaperSearch(vectors_ND), "matrix": MatrixSearch(vectors_ND)}
    searches |= {kind: FaissSearch(vectors_ND, kind) for kind in ("flat", "hnsw", "ivfpq")}

    def run(name: str) -> Callable[[], Any]:
        asked_QD = queries_QD[: VECTOR_QUERIES[name]]
        return lambda: searches[name].search(asked_QD, 10)

    return {name: run(name) for name in searches}
