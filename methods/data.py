"""What a data set is to a method: pictures, captions, and which picture each caption describes.

N images, Q captions (queries).

On disk a data set is one folder, whatever it was made from:

    dataset.json            {"name", "pictures": "pictures.zip" or a folder, "splits": {name: {"images", "captions"}}}
    train.json val.json …   {"image_ids", "files", "captions", "caption_image_ids"}
    pictures.zip            members named in "files" (stored, not compressed), or nothing where "pictures" is a folder elsewhere

Image ids fit into 31 bits (summaries store them so). How pictures are read, and which are refused: `methods/pictures.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from methods.pictures import Pictures
from methods.reads import known, note

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Gallery:
    """The N images that a retriever ranks: ids and pictures, never captions.

    `source` names where the pictures come from (data folder and split), so that features extracted once are found again;
    None means that nothing is known about them and they are encoded when the index is built.
    """

    image_ids_N: np.ndarray
    pictures: Sequence[Image]
    source: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if len(self.image_ids_N) != len(self.pictures):
            raise ValueError(f"{len(self.image_ids_N)} image ids for {len(self.pictures)} pictures")
        if len(np.unique(self.image_ids_N)) != len(self.image_ids_N):
            raise ValueError("a gallery's image ids must be unique")

    def __len__(self) -> int:
        return len(self.image_ids_N)


@dataclass(frozen=True)
class Split:
    """One split of a data set: N pictures with their ids, Q captions with the id of the picture each describes."""

    name: str
    folder: Path
    image_ids_N: np.ndarray
    pictures: Pictures
    captions: tuple[str, ...]
    caption_image_ids_Q: np.ndarray

    def __getattribute__(self, name: str) -> Any:
        if name in ("pictures", "captions"):
            note(object.__getattribute__(self, "name"), name)
        return object.__getattribute__(self, name)

    def gallery(self) -> Gallery:
        return Gallery(self.image_ids_N, self.pictures, source=(str(self.folder.resolve()), self.name))

    @cached_property
    def caption_rows_Q(self) -> np.ndarray:
        """Row in `image_ids_N` of the picture that each caption describes."""
        rows_Q = rows_in(self.image_ids_N, self.caption_image_ids_Q)
        assert (rows_Q >= 0).all(), "a caption names an unknown image"
        return rows_Q


def rows_in(image_ids_N: np.ndarray, asked_X: np.ndarray) -> np.ndarray:
    """Returns where each image that is asked for stands among others, -1 where it does not, int64 (X,)."""
    order_N = np.argsort(image_ids_N, kind="stable")
    rows_X = order_N[np.searchsorted(image_ids_N, asked_X, sorter=order_N).clip(max=len(image_ids_N) - 1)]
    return np.where(image_ids_N[rows_X] == asked_X, rows_X, -1)


@dataclass(frozen=True)
class Dataset:
    """A data folder in the layout at the top of this file. Image ids are unique across its splits."""

    folder: Path

    @cached_property
    def info(self) -> dict:
        path = self.folder / "dataset.json"
        if not path.is_file():
            raise ValueError(f"{self.folder} is not a data folder: dataset.json is missing")
        return json.loads(path.read_text())

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.info["splits"])

    def split(self, name: str) -> Split:
        if name not in self.splits:
            raise ValueError(f"data set {self.info['name']} has no split {name!r}; it has {', '.join(self.splits)}")
        with known():
            table = json.loads((self.folder / f"{name}.json").read_text())
        return Split(
            name=name,
            folder=self.folder,
            image_ids_N=np.asarray(table["image_ids"], dtype=np.int64),
            pictures=Pictures(self.folder / self.info["pictures"], table["files"]),
            captions=tuple(table["captions"]),
            caption_image_ids_Q=np.asarray(table["caption_image_ids"], dtype=np.int64),
        )


@dataclass(frozen=True)
class Exposure:
    """What the protocol lets a method see of galleries before any query comes. True captions of a gallery are never trained on.

    Args:
        images: splits besides train whose pictures training may see (`image-to-id`).
        pseudo_queries: splits whose pictures may be identified by made-up captions (GRACE's semantic identifiers).
        learned: splits whose pictures are trained on with made-up captions in the place of true ones.
        selection: the split by which checkpoints are chosen.
    """

    images: tuple[str, ...] = ()
    pseudo_queries: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()
    selection: str = "val"

    @property
    def label(self) -> str:
        """`none`, `image-to-id`, `pseudo-queries` or both, as printed under a table."""
        seen = (["image-to-id"] if self.images else []) + (["pseudo-queries"] if self.pseudo_queries or self.learned else [])
        return " + ".join(seen) or "none"
