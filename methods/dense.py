"""The two-tower machine: one vector an image, one a query, one matrix product.

Q queries, N images, C different vectors among theirs, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from methods.data import Gallery
from methods.recall import distinct
from methods.retriever import Ranking, Retriever, SearchKnobs


class DenseRetriever(Retriever):
    """Ranks by the inner product of float32 vectors. Equal scores are a tie: identical pictures have identical vectors."""

    version = 2

    @abstractmethod
    def image_vectors(self, gallery: Gallery) -> np.ndarray:
        """Returns the vectors to index, (N, D)."""

    @abstractmethod
    def encode(self, queries: Sequence[str]) -> np.ndarray:
        """Returns the vectors of Q queries, (Q, D)."""

    def build(self, gallery: Gallery) -> None:
        self.use_index({"ids_N": gallery.image_ids_N, "vectors_ND": self.image_vectors(gallery).astype(np.float32)})

    def index(self) -> dict[str, np.ndarray]:
        return {"ids_N": self.ids_N, "vectors_ND": self.vectors_ND}

    def use_index(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.ids_N, self.vectors_ND = arrays["ids_N"], arrays["vectors_ND"]
        self._different_CD, self._which_N = distinct(self.vectors_ND)

    def search(self, encoded: np.ndarray, k: int, knobs: SearchKnobs) -> Ranking:
        scores_QC = encoded.astype(np.float32) @ self._different_CD.T
        return Ranking.from_rows([best_groups(self.ids_N, scores_C[self._which_N], k) for scores_C in scores_QC], k)

    def scores(self, encoded: np.ndarray, query: int, rows_K: np.ndarray) -> np.ndarray:
        """Returns the scores of rows of the gallery for one of the encoded queries, (K,).

        Summed row by row, so that equal vectors have equal scores (`methods.recall.distinct`).
        """
        return (self.vectors_ND[rows_K] * encoded[query].astype(np.float32)).sum(1)


def best_groups(ids_N: np.ndarray, scores_N: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns ids, scores and tie groups of the k best groups of images, as `Ranking.from_rows` takes them.

    A score that is not a number ranks nothing: its image is left out.
    """
    if (unknown_N := np.isnan(scores_N)).any():
        ids_N, scores_N = ids_N[~unknown_N], scores_N[~unknown_N]
    if not len(ids_N):
        return ids_N, scores_N, np.empty(0, np.int64)
    k = min(k, len(ids_N))
    last = np.partition(scores_N, -k)[-k]
    # ties among the first k leave fewer groups than the rule `codes` counts; sorting all scores is for them alone
    if len(np.unique(scores_N[scores_N >= last])) < k:
        last = np.unique(scores_N)[-k:][0]
    kept = np.flatnonzero(scores_N >= last)
    kept = kept[np.argsort(-scores_N[kept], kind="stable")]
    scores = scores_N[kept]
    return ids_N[kept], scores, np.cumsum(np.r_[False, np.diff(scores) != 0])


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors scaled to length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
