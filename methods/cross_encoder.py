"""The one-tower machine: a model's vectors choose a shortlist, its cross-encoder that reads caption and picture together orders it.

Q queries, N images, U different pictures among them, K pairs, P positions and H width of a picture's hidden states, D width of a vector.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from baselines.nameless import nameless
from methods.data import Gallery
from methods.dense import best_groups
from methods.rerank import RerankRetriever
from methods.retriever import Ranking, SearchKnobs

if TYPE_CHECKING:
    from PIL.Image import Image


class Matcher(Protocol):
    """What the machine asks of a model: `baselines.blip.BLIP` and `baselines.lavis.client.LavisBLIP` answer."""

    precision: str

    def picture_batches(self, pictures: Iterable[Image], count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]: ...

    def caption_vectors(self, captions: Sequence[str]) -> np.ndarray: ...

    def use_states(self, states_UPH: np.ndarray) -> None: ...

    def match_logits(self, caption: str, rows_K: np.ndarray) -> np.ndarray: ...


class CrossEncoderRetriever(RerankRetriever):
    """Ranks by the inner product of vectors plus, for the images that it reaches, the cross-encoder's logit.

    Images beyond the shortlist are left out of the ranking, as BLIP's own evaluation gives them -100: R@k for k above it means nothing.
    What ties with the last of the shortlist is on it too. Copies of one picture are encoded and matched once, and so tied exactly.
    """

    paradigm = "one-tower"
    version = 2
    matcher: Matcher

    @abstractmethod
    def _load_parts(self) -> None:
        """Sets `matcher` and `precision`."""

    @property
    @abstractmethod
    def mode(self) -> str:
        """`itc` (vectors alone), `rerank`, or `exhaustive` (the cross-encoder reads every pair)."""

    @property
    def shortlists(self) -> bool:
        return self.mode == "rerank"

    def build(self, gallery: Gallery) -> None:
        first: dict[bytes, int] = {}
        picture_N: list[int] = []
        vectors: list[np.ndarray] = []
        states_NPH: np.ndarray | None = None
        batches = self.matcher.picture_batches(_different(gallery.pictures, first, picture_N), len(gallery))
        for vectors_BD, states_BPH in batches:
            start = sum(len(before) for before in vectors)
            vectors.append(vectors_BD)
            if self.mode == "itc":
                continue
            if states_NPH is None:
                states_NPH = self._room((len(gallery), *states_BPH.shape[1:]), states_BPH.dtype)
            states_NPH[start : start + len(states_BPH)] = states_BPH
        arrays = {"ids_N": gallery.image_ids_N, "picture_N": np.array(picture_N), "vectors_UD": np.concatenate(vectors)}
        self.use_index(arrays if states_NPH is None else {**arrays, "states_UPH": states_NPH[: len(first)]})

    def index(self) -> dict[str, np.ndarray]:
        return dict(self._arrays)

    def use_index(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = dict(arrays)
        if self.mode != "itc":
            self.matcher.use_states(arrays["states_UPH"])

    def encode(self, queries: Sequence[str]) -> tuple[Sequence[str], np.ndarray]:
        return queries, self.matcher.caption_vectors(queries)

    def search(self, encoded: tuple[Sequence[str], np.ndarray], k: int, knobs: SearchKnobs) -> Ranking:
        if self.mode != "itc":
            return super().search(encoded, k, knobs)
        return Ranking.from_rows([best_groups(self.ids_N, sims_N, k) for sims_N in self._sims(encoded)], k)

    @property
    def ids_N(self) -> np.ndarray:
        return self._arrays["ids_N"]

    def reached(self, encoded: tuple[Sequence[str], np.ndarray], k: int, knobs: SearchKnobs) -> Iterator[np.ndarray]:
        for sims_N in self._sims(encoded):
            if self.mode == "rerank" and knobs.shortlist < len(sims_N):
                yield np.flatnonzero(sims_N >= np.partition(sims_N, -knobs.shortlist)[-knobs.shortlist])
            else:
                yield np.arange(len(sims_N))

    def scores(self, encoded: tuple[Sequence[str], np.ndarray], query: int, rows_K: np.ndarray) -> np.ndarray:
        queries, vectors_QD = encoded
        pictures_K, which_K = np.unique(self._arrays["picture_N"][rows_K], return_inverse=True)
        scores_K = (self._arrays["vectors_UD"][pictures_K] * vectors_QD[query]).sum(1)
        if self.mode != "itc":
            scores_K += self.matcher.match_logits(queries[query], pictures_K)
        return scores_K[which_K]

    def _sims(self, encoded: tuple[Sequence[str], np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the similarity of each query's vector to every image, (N,)."""
        for sims_U in encoded[1] @ self._arrays["vectors_UD"].T:
            yield sims_U[self._arrays["picture_N"]]

    def _room(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Returns an array in a temporary file: 0.9 MB a picture of BLIP's is too much memory for a large gallery."""
        where, size = tempfile.gettempdir(), int(np.prod(shape)) * dtype.itemsize
        free = shutil.disk_usage(where).free
        if size > free:
            taken = f"the hidden states of {shape[0]:,} pictures take {size / 1e9:.1f} GB"
            raise ValueError(f"{taken}, and {where} has {free / 1e9:.1f} free: set TMPDIR to a larger disk, or mode to itc")
        return nameless(shape, dtype)


def _different(pictures: Iterable[Image], first: dict[bytes, int], picture_N: list[int]) -> Iterator[Image]:
    """Yields each picture that was not there before; notes for all of them which of the yielded ones they are."""
    for picture in pictures:
        digest = hashlib.sha256(repr((picture.mode, picture.size)).encode() + picture.tobytes()).digest()
        known = digest in first
        picture_N.append(first.setdefault(digest, len(first)))
        if not known:
            yield picture
