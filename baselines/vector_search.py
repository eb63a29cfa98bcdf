"""How vectors of two towers, CLIP's above all, are searched: as papers timed it, by one matrix product, and by faiss.

Q queries, N vectors of a gallery, D width, K nearest, C vectors of the gallery at a time. All search with as many threads as torch has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch

from avg.padding import PAD

KINDS = ("flat", "hnsw", "ivfpq")


class VectorSearch(ABC):
    """A gallery made ready for search.

    Args:
        vectors_ND: float32.

    Raises:
        ValueError: if there is no vector.
    """

    def __init__(self, vectors_ND: np.ndarray):
        if vectors_ND.ndim != 2 or not vectors_ND.size:
            raise ValueError(f"a gallery of shape {vectors_ND.shape} cannot be searched: give (N, D), both at least 1")
        self.count, self.width = vectors_ND.shape

    def search(self, queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores of the nearest vectors, best first, float32 (Q, K), and their rows in the gallery, int64 (Q, K).

        Where fewer than K are found, scores are -inf and rows -1.

        Raises:
            ValueError: if the queries are not of the gallery's width, or K is less than 1.
        """
        if queries_QD.ndim != 2 or queries_QD.shape[1] != self.width or k < 1:
            raise ValueError(f"queries of shape {queries_QD.shape} and k = {k}: give (Q, {self.width}), and k of at least 1")
        scores_QK = np.full((len(queries_QD), k), -np.inf, np.float32)
        rows_QK = np.full((len(queries_QD), k), PAD, np.int64)
        if len(queries_QD):
            found = min(k, self.count)
            scores_QK[:, :found], rows_QK[:, :found] = self._nearest(np.ascontiguousarray(queries_QD, np.float32), found)
        scores_QK[rows_QK == PAD] = -np.inf
        return scores_QK, rows_QK

    @abstractmethod
    def _nearest(self, queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns scores and rows as `search` does, of at least one query and for K of at most N."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """The size of what is searched."""


class PaperSearch(VectorSearch):
    """Search as GRACE's efficiency script timed CLIP: one query at a time on the CPU, in float64, by a full sort.

    The whole gallery is normalised anew for every query, and the query too: scores are cosines of whatever vectors are given.
    """

    def __init__(self, vectors_ND: np.ndarray):
        super().__init__(vectors_ND)
        self.vectors_ND = torch.tensor(vectors_ND, dtype=torch.float64)

    def _nearest(self, queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = [], []
        for query_D in torch.tensor(queries_QD, dtype=torch.float64):
            normal_ND = self.vectors_ND / self.vectors_ND.norm(dim=1, keepdim=True)
            scores_N = normal_ND @ (query_D / query_D.norm())
            rows_K = scores_N.argsort(descending=True)[:k]
            scores.append(scores_N[rows_K].numpy())
            rows.append(rows_K.numpy())
        return np.stack(scores), np.stack(rows)

    @property
    def bytes(self) -> int:
        return self.vectors_ND.nbytes


class MatrixSearch(VectorSearch):
    """Inner products of all queries with the gallery by float32 matrix product, the best by topk; exact.

    Args:
        vectors_ND: float32.
        cells: scores in memory at a time, Q * C: a gallery of more is searched in parts.
        device: where the gallery lies and is searched.
    """

    def __init__(self, vectors_ND: np.ndarray, cells: int = 1 << 25, device: torch.device | str = "cpu"):
        super().__init__(vectors_ND)
        held_ND = vectors_ND if vectors_ND.flags.writeable else vectors_ND.copy()  # torch wants arrays that it may write
        self.vectors_ND = torch.as_tensor(held_ND, dtype=torch.float32, device=device)  # on the CPU the array itself
        self.cells = cells

    def _nearest(self, queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        queries = torch.tensor(queries_QD, device=self.vectors_ND.device)
        at_a_time = max(1, self.cells // len(queries))
        scores_QX, rows_QX = queries.new_empty(len(queries), 0), queries.new_empty(len(queries), 0, dtype=torch.long)
        for start in range(0, self.count, at_a_time):
            scores_QC = queries @ self.vectors_ND[start : start + at_a_time].T
            best_QK, rows_QK = scores_QC.topk(min(k, scores_QC.shape[1]), dim=1)
            scores_QX, rows_QX = torch.cat([scores_QX, best_QK], 1), torch.cat([rows_QX, rows_QK + start], 1)
            if start:
                scores_QX, pick_QK = scores_QX.topk(min(k, scores_QX.shape[1]), dim=1)
                rows_QX = rows_QX.gather(1, pick_QK)
        return scores_QX.cpu().numpy(), rows_QX.cpu().numpy()

    @property
    def bytes(self) -> int:
        return self.vectors_ND.nbytes


class FaissSearch(VectorSearch):
    """Inner products by faiss on the CPU: exact, over a graph of neighbours, or over compressed vectors in inverted lists.

    Args:
        vectors_ND: float32; unit vectors for "hnsw" and "ivfpq", whose graph and lists go by inner product alone.
        kind: one of `KINDS`.
        links, construction, explored: of "hnsw": M, efConstruction and efSearch. With several threads the graph depends on their timing.
        lists, probes: of "ivfpq": how many lists there are (4 √N by default), and how many are searched for a query.
        subquantisers, bits: of "ivfpq": parts that a vector is cut into (of 8 numbers, or of the largest divisor of D below), and bits of
            the code of each.
        sample: of "ivfpq": how many vectors of the gallery it is trained on at most; the larger of 65,536 and 64 for each list by default.
        seed: of "ivfpq": draws that sample, and starts the clusterings.

    A sample that has fewer vectors than there are lists, or codes, gets fewer lists, or bits. `settings` holds what came of it.

    Raises:
        ValueError: if the kind is none of `KINDS`, or the width is not a multiple of the sub-quantisers.
    """

    def __init__(
        self,
        vectors_ND: np.ndarray,
        kind: str = "flat",
        *,
        links: int = 32,
        construction: int = 80,
        explored: int = 64,
        lists: int | None = None,
        probes: int = 16,
        subquantisers: int | None = None,
        bits: int = 8,
        sample: int | None = None,
        seed: int = 0,
    ):
        super().__init__(vectors_ND)
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is unknown: choose from {', '.join(KINDS)}")
        vectors_ND = np.ascontiguousarray(vectors_ND, np.float32)
        faiss = _faiss()
        self.settings: dict[str, int | str] = {"kind": kind}
        if kind == "flat":
            self.index = faiss.IndexFlatIP(self.width)
        elif kind == "hnsw":
            self.index = faiss.IndexHNSWFlat(self.width, links, faiss.METRIC_INNER_PRODUCT)
            self.index.hnsw.efConstruction, self.index.hnsw.efSearch = construction, explored
            self.settings |= {"links": links, "construction": construction, "explored": explored}
        else:
            lists = lists or round(4 * self.count**0.5)
            points = min(self.count, sample or max(65_536, 64 * lists))
            lists, bits = min(lists, points), max(1, min(bits, points.bit_length() - 1))
            parts = subquantisers or self.width // next(size for size in range(8, 0, -1) if self.width % size == 0)
            if self.width % parts:
                raise ValueError(f"vectors of width {self.width} cannot be cut into {parts} parts: set subquantisers to a divisor")
            quantiser = faiss.IndexFlatIP(self.width)
            self.index = faiss.IndexIVFPQ(quantiser, self.width, lists, parts, bits, faiss.METRIC_INNER_PRODUCT)
            for clustering in (self.index.cp, self.index.pq.cp):
                # faiss warns of fewer than 39 points a cluster, which generalise badly; here they are the very vectors to be searched
                clustering.min_points_per_centroid, clustering.seed = 1, seed
            self.index.nprobe = probes
            rows = np.random.default_rng(seed).choice(self.count, points, replace=False)
            # a single vector stands twice: codes of one bit are two clusters
            self.index.train(vectors_ND[np.resize(rows, max(points, 2))])
            self.settings |= {"lists": lists, "probes": probes, "subquantisers": parts, "bits": bits, "sample": points, "seed": seed}
        self.index.add(vectors_ND)

    def _nearest(self, queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        _faiss()
        return self.index.search(queries_QD, k)

    @property
    def bytes(self) -> int:
        """The size of the index as faiss would write it to a file."""
        faiss, sizes = _faiss(), []
        faiss.write_index(self.index, faiss.PyCallbackIOWriter(lambda part: sizes.append(len(part))))
        return sum(sizes)


def _faiss():
    """Returns faiss, imported at the first call and set to torch's number of threads, which may have changed since the last."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss
