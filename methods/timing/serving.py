"""Ways to answer queries over a gallery of any size, as they are timed: text encoding and search apart.

Q queries, N images, R real ones, D vector width, L identifier length, M beams, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from avg.captions import CaptionBatch
from avg.padding import PAD
from baselines.vector_search import FaissSearch, MatrixSearch, PaperSearch, VectorSearch
from methods.dense import unit
from methods.generative import GenerativeRetriever
from methods.retriever import Ranking, SearchKnobs
from methods.timing import made_galleries

K = 10
BEAMS = (10, 20, 40)
GRACE_BEAM = 10
LIST_BEAM = 40
"""Of AVG where CLIP orders its list again."""
BLIND = ("clip-paper", "clip-matrix", "clip-flat")
"""What reads every vector, whatever the gallery: clusters make no difference."""
ALONE = ("clip-paper",)
"""What takes one query at a time."""

LEAST_SAMPLE = 10_240
"""Vectors that 256 codes are found by; more where there are more lists, 40 each, near the least that faiss asks for."""

Texts = Sequence[str]


@dataclass(frozen=True)
class Way:
    """One way to serve a gallery.

    Args:
        index_bytes: of what is kept of the gallery.
        of_the_ten: the share of the ten nearest vectors that it finds, where it may miss some.
    """

    encode: Callable[[Texts], Any]
    search: Callable[[Any], Any]
    index_bytes: int
    of_the_ten: float | None = None


@dataclass(frozen=True)
class Models:
    """What is served: trained, or of some shape with random weights, on which times do not depend.

    Args:
        encode: returns CLIP's vectors of captions, (Q, D).
        vectors_RD: of the real gallery's pictures, to which random ones are added.
        avg, grace: with a generator; what they have indexed is replaced. GRACE is None where it is not timed.
        codes_RL: AVG's identifiers of the real gallery.
    """

    encode: Callable[[Texts], np.ndarray]
    vectors_RD: np.ndarray
    avg: GenerativeRetriever
    codes_RL: np.ndarray
    grace: GenerativeRetriever | None

    def ways(self, images: int, gallery: str, wanted: Callable[[str], bool], probe: Texts) -> Iterator[tuple[str, Way]]:
        """Yields each wanted way's name and the way, made ready.

        Args:
            gallery: one of `made_galleries.GALLERIES`.
            probe: captions with which it is counted what an inexact search misses.
        """
        vectors_ND = (
            made_galleries.vectors(self.vectors_RD, images, gallery) if any(map(wanted, (*VECTORS, "avg-clip"))) else np.empty((0, 0))
        )
        if any(map(wanted, VECTORS)):
            yield from self._vectors(vectors_ND, wanted, probe)
        generative: dict[str, tuple[GenerativeRetriever, int]] = {f"avg-beam{beam}": (self.avg, beam) for beam in BEAMS}
        if any(map(wanted, (*generative, "avg-clip"))):
            self._index(self.avg, made_galleries.codes(self.codes_RL, images, self.avg.generator.tokens, gallery))
        if wanted("grace-structured"):
            assert self.grace is not None, "GRACE is timed where there is one"
            self._index(self.grace, made_galleries.paths(images, self.grace.generator.tokens, gallery))
            generative["grace-structured"] = (self.grace, GRACE_BEAM)
        for name, (retriever, beam) in generative.items():
            if wanted(name):
                yield name, Way(retriever.encode, _beam(retriever, beam), retriever.index_bytes())
        if wanted("avg-clip"):
            size = self.avg.index_bytes() + vectors_ND.nbytes
            yield "avg-clip", Way(self._encode_for_both, self._reordered(vectors_ND), size)

    def room(self, images: int) -> int:
        """Returns the bytes that `ways` takes of so large a gallery, near enough: five times its vectors, in float64 among others."""
        return 5 * 4 * images * self.vectors_RD.shape[1]

    def _vectors(self, vectors_ND: np.ndarray, wanted: Callable[[str], bool], probe: Texts) -> Iterator[tuple[str, Way]]:
        queries_QD = self.encode(probe)
        nearest_QK = MatrixSearch(vectors_ND, device=self.avg.generator.device).search(queries_QD, K)[1]
        for name, made in VECTORS.items():
            if wanted(name):
                index = made(vectors_ND, self.avg.generator.device)
                found = None if name in BLIND else shared(index.search(queries_QD, K)[1], nearest_QK)
                yield name, Way(self.encode, _vector_search(index), index.bytes, found)

    @staticmethod
    def _index(retriever: GenerativeRetriever, codes_NL: np.ndarray) -> None:
        rows_N = np.arange(len(codes_NL))
        retriever.use_index({"ids_N": rows_N, "codes_XL": codes_NL, "rows_X": rows_N})

    def _encode_for_both(self, texts: Texts) -> tuple[Any, np.ndarray]:
        """Returns captions as AVG's generator takes them, and CLIP's vectors (Q, D), which the former hold where both read one tower."""
        encoded = self.avg.encode(texts)
        return encoded, unit(encoded.vectors_BD.numpy()) if isinstance(encoded, CaptionBatch) else self.encode(texts)

    def _reordered(self, vectors_ND: np.ndarray) -> Callable[[Any], np.ndarray]:
        """Returns what orders AVG's list again by CLIP, rows of the gallery (Q, W)."""

        def search(encoded: tuple[Any, np.ndarray]) -> np.ndarray:
            states, queries_QD = encoded
            ids_QW = self.avg.search(states, LIST_BEAM, SearchKnobs(beam=LIST_BEAM)).ids_QW
            scores_QW = np.einsum("qwd,qd->qw", vectors_ND[ids_QW.clip(min=0)], queries_QD)
            scores_QW[ids_QW == PAD] = -np.inf
            return np.take_along_axis(ids_QW, np.argsort(-scores_QW, axis=1, kind="stable"), axis=1)

        return search


VECTORS: Mapping[str, Callable[[np.ndarray, Any], VectorSearch]] = {
    "clip-paper": lambda vectors_ND, device: PaperSearch(vectors_ND),
    "clip-matrix": lambda vectors_ND, device: MatrixSearch(vectors_ND, device=device),
    "clip-flat": lambda vectors_ND, device: FaissSearch(vectors_ND, "flat"),
    # quicker to build than by the defaults, which take a millisecond an image on one core
    "clip-hnsw": lambda vectors_ND, device: FaissSearch(vectors_ND, "hnsw", links=16, construction=40),
    "clip-ivfpq": lambda vectors_ND, device: FaissSearch(
        vectors_ND, "ivfpq", sample=max(LEAST_SAMPLE, 40 * round(4 * len(vectors_ND) ** 0.5))
    ),
}


def _beam(retriever: GenerativeRetriever, beam: int) -> Callable[[Any], Ranking]:
    return lambda encoded: retriever.search(encoded, K, SearchKnobs(beam=beam))


def _vector_search(index: VectorSearch) -> Callable[[np.ndarray], Any]:
    return lambda queries_QD: index.search(queries_QD, K)


def shared(found_QK: np.ndarray, exact_QK: np.ndarray) -> float:
    """Returns the mean share of the exact rows that another search found too; what pads is no row."""
    rows = [[{row for row in of_query if row != PAD} for of_query in found.tolist()] for found in (found_QK, exact_QK)]
    return float(np.mean([len(found & exact) / max(len(exact), 1) for found, exact in zip(*rows, strict=True)]))


class PairReader(Protocol):
    """What is timed of a cross-encoder."""

    def caption_vectors(self, captions: Sequence[str]) -> np.ndarray: ...

    def match_logits(self, caption: str, rows_K: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Pairs:
    """A cross-encoder before some pictures, to be timed on pairs of a caption and a picture.

    Args:
        pictures: how many states of pictures are held.
        picture_bytes: of one picture's.
    """

    matcher: PairReader
    pictures: int
    picture_bytes: int

    def match(self, caption: str, pairs: int) -> np.ndarray:
        """Returns the logits of a caption with so many pictures, those that are held over and over, (P,)."""
        return self.matcher.match_logits(caption, np.arange(pairs) % self.pictures)

    @classmethod
    def of_index(cls, matcher: PairReader, states_UPH: np.ndarray) -> Pairs:
        """Returns the pairs of a matcher that has taken these states."""
        return cls(matcher, len(states_UPH), states_UPH[0].nbytes)


def real_vectors(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the unit vectors of a two-tower method's index, (R, D)."""
    return unit(arrays["vectors_ND"])
