"""Sanity rows: a retriever that knows the answers, and one that knows nothing."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from avg.settings import Settings
from methods.data import Dataset, Exposure, Gallery
from methods.retriever import Ranking, Retriever, SearchKnobs
from methods.stage import Stage


class OracleSettings(Settings):
    """Nothing to set."""


class OracleRetriever(Retriever):
    """Puts the image that a caption was written for first: R@1 = 100, but for captions shared by several images, which tie."""

    paradigm = "reference"
    Config = OracleSettings

    def stages(self, data: Stage, exposure: Exposure) -> dict[str, Stage]:
        return {"data": data}

    def _load_parts(self) -> None:
        self.images: dict[str, set[int]] = {}
        data = Dataset(self.parts["data"])
        for name in data.splits:
            split = data.split(name)
            for caption, image in zip(split.captions, split.caption_image_ids_Q.tolist(), strict=True):
                self.images.setdefault(caption, set()).add(image)

    def build(self, gallery: Gallery) -> None:
        self.ids_N = gallery.image_ids_N

    def index(self) -> dict[str, np.ndarray]:
        return {"ids_N": self.ids_N}

    def use_index(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.ids_N = arrays["ids_N"]

    def encode(self, queries: Sequence[str]) -> list[set[int]]:
        return [self.images.get(query, set()) for query in queries]

    def search(self, encoded: list[set[int]], k: int, knobs: SearchKnobs) -> Ranking:
        rows = []
        for known in encoded:
            is_match_N = np.isin(self.ids_N, list(known))
            match, rest = self.ids_N[is_match_N], self.ids_N[~is_match_N]
            ids = np.concatenate([match, rest[: k - bool(len(match))]])
            group = np.concatenate([np.zeros(len(match)), np.arange(len(ids) - len(match)) + bool(len(match))])
            rows.append((ids, -group, group))
        return Ranking.from_rows(rows, k)


class RandomSettings(Settings):
    """What the order is drawn from."""

    seed: int = 0


class RandomRetriever(Retriever):
    """Ranks images in an order drawn anew for each query, the same for the same query: R@k = k / N."""

    paradigm = "reference"
    Config = RandomSettings
    config: RandomSettings

    def stages(self, data: Stage, exposure: Exposure) -> dict[str, Stage]:
        return {}

    def _load_parts(self) -> None:
        return

    def build(self, gallery: Gallery) -> None:
        self.ids_N = gallery.image_ids_N

    def index(self) -> dict[str, np.ndarray]:
        return {"ids_N": self.ids_N}

    def use_index(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.ids_N = arrays["ids_N"]

    def encode(self, queries: Sequence[str]) -> list[int]:
        return [zlib.crc32(query.encode()) for query in queries]

    def search(self, encoded: list[int], k: int, knobs: SearchKnobs) -> Ranking:
        rows = []
        for number in encoded:
            ids = np.random.default_rng((self.config.seed, number)).permutation(self.ids_N)[:k]
            rows.append((ids, -np.arange(len(ids)), np.arange(len(ids))))
        return Ranking.from_rows(rows, k)
