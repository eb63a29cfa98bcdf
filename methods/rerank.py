"""The one-tower machine: vectors choose a shortlist, a cross-encoder that reads caption and picture together orders it.

Q queries, N images, U different pictures among them, K pairs, P positions and H width of a picture's hidden states, D width of a vector.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from methods.data import Gallery
from methods.dense import best_first
from methods.retriever import Ranking, Retriever, SearchKnobs

if TYPE_CHECKING:
    from PIL.Image import Image


class Matcher(Protocol):
    """What a re-ranker asks of a model: `baselines.blip.BLIP` and `baselines.lavis.client.LavisBLIP` answer."""

    precision: str

    def picture_batches(self, pictures: Iterable[Image], count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]: ...

    def caption_vectors(self, captions: Sequence[str]) -> np.ndarray: ...

    def use_states(self, states_UPH: np.ndarray) -> None: ...

    def match_logits(self, caption: str, rows_K: np.ndarray) -> np.ndarray: ...


class RerankRetriever(Retriever):
    """Ranks by the inner product of vectors plus, for the images that it reaches, the cross-encoder's logit.

    Images beyond the shortlist are left out of the ranking, as BLIP's own evaluation gives them -100: R@k for k above it means nothing.
    What ties with the last of the shortlist is on it too. Copies of one picture are encoded and matched once, and so tied exactly.
    """

    paradigm = "one-tower"
    matcher: Matcher
    _remove: weakref.finalize | None = None

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
        from tqdm import tqdm

        queries, vectors_QD = encoded
        ids_N, picture_N = self._arrays["ids_N"], self._arrays["picture_N"]
        sims_QU = vectors_QD @ self._arrays["vectors_UD"].T
        rows = []
        for query, sims_U in zip(tqdm(queries, desc="matching", unit="query", leave=False, disable=None), sims_QU, strict=True):
            scores_N = sims_U[picture_N]
            if self.mode == "itc":
                rows.append(best_first(ids_N, scores_N, k))
                continue
            if self.mode == "rerank" and knobs.shortlist < len(ids_N):
                reached_N = np.flatnonzero(scores_N >= np.partition(scores_N, -knobs.shortlist)[-knobs.shortlist])
            else:
                reached_N = np.arange(len(ids_N))
            pictures_K, which_N = np.unique(picture_N[reached_N], return_inverse=True)
            logits_K = self.matcher.match_logits(query, pictures_K)
            rows.append(best_first(ids_N[reached_N], scores_N[reached_N] + logits_K[which_N], k))
        return Ranking.from_rows(rows, k)

    def _room(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Returns an array in a temporary file: 0.9 MB a picture of BLIP's is too much memory for a large gallery."""
        where, size = tempfile.gettempdir(), int(np.prod(shape)) * dtype.itemsize
        free = shutil.disk_usage(where).free
        if size > free:
            taken = f"the hidden states of {shape[0]:,} pictures take {size / 1e9:.1f} GB"
            raise ValueError(f"{taken}, and {where} has {free / 1e9:.1f} free: set TMPDIR to a larger disk, or mode to itc")
        if self._remove is not None:
            self._remove()  # a gallery that was indexed before
        handle, path = tempfile.mkstemp(suffix=".states")
        os.close(handle)
        self._remove = weakref.finalize(self, os.unlink, path)
        return np.memmap(path, dtype, "w+", shape=shape)


def _different(pictures: Iterable[Image], first: dict[bytes, int], picture_N: list[int]) -> Iterator[Image]:
    """Yields each picture that was not there before; notes for all of them which of the yielded ones they are."""
    for picture in pictures:
        digest = hashlib.sha256(repr((picture.mode, picture.size)).encode() + picture.tobytes()).digest()
        known = digest in first
        picture_N.append(first.setdefault(digest, len(first)))
        if not known:
            yield picture
