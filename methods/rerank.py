"""Re-ranking: one method lists images, and a scorer orders those and no others.

Q queries, N images, K images that a list reaches.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from avg.padding import PAD
from avg.settings import Settings
from methods.data import Exposure, Gallery
from methods.dense import DenseRetriever, best_groups
from methods.needs import Need
from methods.retriever import Ranking, Retriever, SearchKnobs
from methods.stage import Stage


class RerankRetriever(Retriever):
    """Ranks the images that `reached` lists by `scores`. Images beyond the list are left out; equal scores are a tie."""

    @property
    @abstractmethod
    def ids_N(self) -> np.ndarray:
        """Ids of the gallery, by row."""

    @abstractmethod
    def reached(self, encoded: Any, k: int, knobs: SearchKnobs) -> Iterator[np.ndarray]:
        """Yields for each query the rows of the gallery that are scored, rising, (K,)."""

    @abstractmethod
    def scores(self, encoded: Any, query: int, rows_K: np.ndarray) -> np.ndarray:
        """Returns float32 scores of rows of the gallery for one of the encoded queries, (K,)."""

    def search(self, encoded: Any, k: int, knobs: SearchKnobs) -> Ranking:
        from tqdm import tqdm

        listed = tqdm(self.reached(encoded, k, knobs), desc="re-ranking", unit="query", leave=False, disable=None)
        rows = [best_groups(self.ids_N[rows_K], self.scores(encoded, query, rows_K), k) for query, rows_K in enumerate(listed)]
        return Ranking.from_rows(rows, k)


class ComposedRetriever(RerankRetriever):
    """Two methods in one: what `first` ranks highest is ranked again by what `second` says of caption and image.

    Each keeps its own parts and index, under names that begin with `first-` and `second-`, and both are indexed over the whole gallery. The
    list is as long as the shortlist where a subclass says that it `shortlists`, else what the first method's beam finds.
    """

    first: Retriever
    second: DenseRetriever | RerankRetriever

    def __init__(self, config: Settings | None = None):
        super().__init__(config)
        self.first, self.second = self.composed()

    @abstractmethod
    def composed(self) -> tuple[Retriever, DenseRetriever | RerankRetriever]:
        """Returns the method that lists and the method that scores, as `config` sets them."""

    def needs(self) -> list[Need]:
        return list(dict.fromkeys([*self.first.needs(), *self.second.needs()]))

    def stages(self, data: Stage, exposure: Exposure) -> dict[str, Stage]:
        return _prefixed(self.first.stages(data, exposure), self.second.stages(data, exposure))

    def _load_parts(self) -> None:
        self.first.use(_under("first-", self.parts))
        self.second.use(_under("second-", self.parts))
        self.precision = "; ".join(dict.fromkeys([self.first.precision, self.second.precision]))

    def build(self, gallery: Gallery) -> None:
        self.first.build(gallery)
        self.second.build(gallery)
        self._take(gallery.image_ids_N)

    def index(self) -> dict[str, np.ndarray]:
        return {"ids_N": self.ids_N, **_prefixed(self.first.index(), self.second.index())}

    def use_index(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.first.use_index(_under("first-", arrays))
        self.second.use_index(_under("second-", arrays))
        self._take(arrays["ids_N"])

    def _take(self, ids_N: np.ndarray) -> None:
        self._ids_N, self._order_N = ids_N, np.argsort(ids_N)

    @property
    def ids_N(self) -> np.ndarray:
        return self._ids_N

    def encode(self, queries: Sequence[str]) -> tuple[Any, Any]:
        return self.first.encode(queries), self.second.encode(queries)

    def reached(self, encoded: tuple[Any, Any], k: int, knobs: SearchKnobs) -> Iterator[np.ndarray]:
        width = knobs.shortlist if self.shortlists else max(k, knobs.beam)
        found = self.first.search(encoded[0], width, knobs)
        for ids_W in found.listed(width) if self.shortlists else found.ids_QW:
            ids_K = ids_W[ids_W != PAD]
            yield np.sort(self._order_N[np.searchsorted(self.ids_N, ids_K, sorter=self._order_N)])

    def scores(self, encoded: tuple[Any, Any], query: int, rows_K: np.ndarray) -> np.ndarray:
        return self.second.scores(encoded[1], query, rows_K)


def _prefixed(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{which}-{name}": value for which, named in (("first", first), ("second", second)) for name, value in named.items()}


def _under(prefix: str, named: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
