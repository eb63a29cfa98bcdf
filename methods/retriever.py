"""The one interface that every method stands behind, and the ranking that it returns.

Q queries, N gallery images, W columns of a ranking (W >= k: k tie groups are listed, in full).
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from avg.padding import PAD
from avg.settings import Settings
from methods.data import Exposure, Gallery
from methods.files.archive import mapped
from methods.needs import Need
from methods.stage import Runner, Stage


class SearchKnobs(Settings):
    """What may change between searches of one index."""

    beam: int = Field(40, gt=0, description="beams of a generative method; at most so many distinct codes are ranked")
    exact: bool = Field(False, description="a generative method's best identifiers, exactly and best prefix first, in place of a beam")
    shortlist: int = Field(128, gt=0, description="images of the first stage that a re-ranker scores")


@dataclass(frozen=True)
class Ranking:
    """A ranked list of images for each query.

    Args:
        ids_QW: int64 image ids, best first, unique in a row, padded with -1.
        scores_QW: float32, never rising along a row; what pads is -inf.
        group_QW: int32 tie group, counted from 0 along a row: images of one group are tied. What pads is -1.
        k: how many were asked for: k groups are listed if there are so many, in full, so W may exceed k. Only so can any rule judge: one
            counts groups, and the others what is tied across the cut. Within a group the order is the gallery's.

    Example: two images under one code, asked for k = 1:
        ids [[7, 9]], scores [[-0.5, -0.5]], group [[0, 0]], k 1.
    """

    ids_QW: np.ndarray
    scores_QW: np.ndarray
    group_QW: np.ndarray
    k: int

    def __post_init__(self) -> None:
        ids, scores, group = self.ids_QW, self.scores_QW, self.group_QW
        assert ids.ndim == 2 and ids.shape == scores.shape == group.shape, "a ranking's arrays have one shape (Q, W)"
        assert ids.dtype == np.int64 and scores.dtype == np.float32 and group.dtype == np.int32, "a ranking's types"
        pad = ids == PAD
        assert (pad == (group == PAD)).all() and np.isneginf(scores[pad]).all(), "ids, scores and groups pad together"
        assert (pad[:, :-1] <= pad[:, 1:]).all(), "what pads stands last"
        assert not np.isnan(scores).any() and (scores[:, :-1] >= scores[:, 1:]).all(), "scores never rise"
        step = np.diff(group, axis=1)[~pad[:, 1:]]
        assert ((step == 0) | (step == 1)).all() and (group[:, :1] <= 0).all(), "groups count up from 0"
        ordered = np.sort(ids, axis=1)
        assert ((np.diff(ordered, axis=1) > 0) | (ordered[:, 1:] == PAD)).all(), "an image appears once in a row"

    def __len__(self) -> int:
        return len(self.ids_QW)

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], k: int) -> Ranking:
        """Returns the ranking of Q rows (ids, scores, groups) of differing lengths."""
        width = max([k, *(len(ids) for ids, _, _ in rows)])
        ids_QW = np.full((len(rows), width), PAD, np.int64)
        scores_QW = np.full((len(rows), width), -np.inf, np.float32)
        group_QW = np.full((len(rows), width), PAD, np.int32)
        for query, (ids, scores, group) in enumerate(rows):
            ids_QW[query, : len(ids)], scores_QW[query, : len(ids)], group_QW[query, : len(ids)] = ids, scores, group
        return cls(ids_QW, scores_QW, group_QW, k)

    def listed(self, count: int) -> np.ndarray:
        """Returns the ids of the first `count` images, at most k, and of what ties with the last of them, padded, (Q, W)."""
        last_Q1 = self.group_QW[:, count - 1 : count]
        ids_QW = np.where((self.group_QW > last_Q1) & (last_Q1 != PAD), PAD, self.ids_QW)
        return ids_QW[:, : max(count, (ids_QW != PAD).sum(1).max(initial=0))]

    def save(self, path: Path) -> None:
        """Writes the arrays as `.npz`; ids and groups in 32 bits where they fit."""
        ids = self.ids_QW.astype(np.int32) if np.abs(self.ids_QW).max(initial=0) < 2**31 else self.ids_QW
        np.savez_compressed(path, ids=ids, scores=self.scores_QW, group=self.group_QW, k=np.int64(self.k))

    @classmethod
    def load(cls, path: Path) -> Ranking:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:  # numpy leaves a damaged file open
            return cls(stored["ids"].astype(np.int64), stored["scores"], stored["group"], int(stored["k"]))


class Retriever(ABC):
    """Ranks a fixed gallery of images for text queries.

    A retriever is its configuration, its fitted parts (a folder each, the result of a stage) and an index (named arrays). Fitting runs
    stages; `use` takes their folders; `build` indexes a gallery; `encode` and `search` answer queries and are timed apart.
    """

    paradigm: ClassVar[str]
    """`generative`, `two-tower`, `one-tower` or `reference`."""
    Config: ClassVar[type[Settings]]
    exposed_to_gallery: ClassVar[bool] = False
    """Whether fitting *is* indexing for this method, so that it must see the gallery's pictures under every protocol."""
    version: ClassVar[int] = 1
    """Raised by hand when what `build`, `encode` or `search` return changes: indexes and rankings are then made anew."""
    build_resumes: ClassVar[bool] = False
    """Whether `build` goes on from what an interrupted one kept in the `workplace`."""
    workplace: Path | None = None
    """Where `build` may keep what it has; nowhere where None."""
    precision: str = "float32"
    """Number format of the heavy products in `encode` and `search`, as a table states it; set where the machine decides it."""

    def __init__(self, config: Settings | None = None):
        self.config = config if config is not None else self.Config()
        self.parts: dict[str, Path] = {}

    @abstractmethod
    def stages(self, data: Stage, exposure: Exposure) -> dict[str, Stage]:
        """Returns the stages whose results are this method's parts, by part name."""

    @abstractmethod
    def _load_parts(self) -> None:
        """Reads the fitted parts from the folders in `self.parts`."""

    @abstractmethod
    def build(self, gallery: Gallery) -> None:
        """Indexes N images.

        Raises:
            ValueError: if the method had to see these images when it was fitted, and did not.
        """

    @abstractmethod
    def index(self) -> dict[str, np.ndarray]:
        """Returns the index as named arrays: all that `search` needs besides the parts."""

    @abstractmethod
    def use_index(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes an index that `index` returned."""

    @abstractmethod
    def encode(self, queries: Sequence[str]) -> Any:
        """Returns whatever `search` wants to have of Q queries."""

    @abstractmethod
    def search(self, encoded: Any, k: int, knobs: SearchKnobs) -> Ranking:
        """Returns the k best images of each query and all of the k best tie groups, fewer where the method cannot rank so many."""

    def codes_of(self, image_ids: Sequence[int]) -> list[list[tuple[int, ...]]]:
        """Returns the identifiers of some indexed images, as a person is shown them: none, but for a generative method."""
        return [[] for _ in image_ids]

    @property
    def shortlists(self) -> bool:
        """Whether a search reaches `SearchKnobs.shortlist` images only, and so R@k means nothing for a larger k."""
        return False

    def needs(self) -> list[Need]:
        """Returns what this configuration needs that neither this project nor PyPI brings: models, files, environments."""
        return []

    def fit(self, data: Stage, exposure: Exposure, run: Runner) -> None:
        """Runs the stages on the training split, selecting on the validation split, and loads what they made."""
        self.use({part: run(stage) for part, stage in self.stages(data, exposure).items()})

    def use(self, parts: Mapping[str, Path]) -> None:
        """Takes fitted parts: the folders of the stages that `stages` named."""
        self.parts = dict(parts)
        self._load_parts()

    def index_bytes(self) -> int:
        return sum(array.nbytes for array in self.index().values())

    def save(self, folder: Path) -> None:
        """Writes configuration, parts and index into a new folder that `load` reads, here or on another machine."""
        folder.mkdir(parents=True)
        for part, source in self.parts.items():
            shutil.copytree(source, folder / part)
        settings = {"config": self.config.model_dump(mode="json"), "parts": sorted(self.parts)}
        (folder / "retriever.json").write_text(json.dumps(settings, indent=1))
        np.savez(folder / "index.npz", **self.index())  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> Retriever:
        stored = json.loads((folder / "retriever.json").read_text())
        retriever = cls(cls.Config(**stored["config"]))
        retriever.use({part: folder / part for part in stored["parts"]})
        retriever.use_index(mapped(folder / "index.npz"))
        return retriever
