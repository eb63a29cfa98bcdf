"""What a stage reads of which split: noted while it runs, not declared by it.

N images, Q captions, D width.

Whatever hands out a split's contents notes it: `Split.captions` and `.pictures` (`methods/data.py`), cached features (`SplitArrays` here,
`methods/features.py`). A file of a split that is opened past these is seen by an audit hook of the interpreter, and counts as pictures and
captions both, since nobody can know what was used of it. Not seen: what a library opens outside Python (safetensors), and a member of
`pictures.zip` taken out by hand.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("pictures", "captions", "pseudo-queries")
SPLITS = ("train", "restval", "val", "test")
SPLIT_FILE = re.compile(rf"({'|'.join(SPLITS)})(-\w+)?\.(json|npz|safetensors)")
OF_ARRAY = {"images_ND": "pictures", "pictures_NH": "pictures", "texts_QD": "captions", "caption_rows_Q": "captions"}


@dataclass
class Reads:
    """What was read for the stage's own purpose, and what was read to choose among results: {kind: splits}."""

    inputs: tuple[str, ...] = ()
    own: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    selection: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})

    def as_dict(self) -> dict[str, dict[str, list[str]]]:
        """Returns {"own" or "selection": {kind: splits in their usual order}}, of what is not empty."""

        def listed(of_kind: Mapping[str, set[str]]) -> dict[str, list[str]]:
            order = {name: place for place, name in enumerate(SPLITS)}
            return {kind: sorted(names, key=lambda name: (order.get(name, 9), name)) for kind, names in of_kind.items() if names}

        both = {"own": listed(self.own), "selection": listed(self.selection)}
        return {purpose: kinds for purpose, kinds in both.items() if kinds}


_recorders: list[Reads] = []
_selecting = 0
_known = 0
_listening = False


def note(split: str, *kinds: str) -> None:
    """Notes that contents of a split were handed out; without effect where nothing records."""
    for reads in _recorders:
        for kind in kinds:
            (reads.selection if _selecting else reads.own)[kind].add(split)


def absorb(found: Mapping[str, Mapping[str, Iterable[str]]]) -> None:
    """Notes what another process, that works for this stage, recorded (`Reads.as_dict`)."""
    for reads in _recorders:
        for purpose, kinds in found.items():
            for kind, splits in kinds.items():
                getattr(reads, purpose)[kind].update(splits)


@contextmanager
def recording(inputs: Mapping[str, Path]) -> Iterator[Reads]:
    """Returns a context whose `Reads` fills while a stage with these input folders runs."""
    global _listening
    if not _listening:
        sys.addaudithook(_opened)  # it cannot be removed, so it is added once and asks whether anyone records
        _listening = True
    reads = Reads(tuple(f"{Path(folder).resolve()}{os.sep}" for folder in inputs.values()))
    _recorders.append(reads)
    try:
        yield reads
    finally:
        _recorders.remove(reads)


@contextmanager
def selecting() -> Iterator[None]:
    """Returns a context in which what is read serves to choose a checkpoint, and nothing is fitted to it."""
    global _selecting
    _selecting += 1
    try:
        yield
    finally:
        _selecting -= 1


@contextmanager
def known() -> Iterator[None]:
    """Returns a context in which opening a split's file counts nothing: the reader notes itself what it hands out."""
    global _known
    _known += 1
    try:
        yield
    finally:
        _known -= 1


def _opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _recorders or _known or not isinstance(arguments[0], str | os.PathLike):
        return
    path = os.fspath(arguments[0])
    found = SPLIT_FILE.fullmatch(os.path.basename(path)) if isinstance(path, str) else None
    if found:
        path = os.path.realpath(path)
        if any(path.startswith(reads.inputs) for reads in _recorders if reads.inputs):
            note(found[1], *{"-pictures": ("pictures",), "-states": ("captions",)}.get(found[2] or "", ("pictures", "captions")))


class SplitArrays(Mapping[str, np.ndarray]):
    """Returns the arrays of `FOLDER/SPLIT.npz` by name, read and noted when asked for: who takes picture vectors reads no captions.

    Args:
        folder: of the stage `features`: `images_ND`, `texts_QD`, `image_ids_N`, `caption_rows_Q`.
    """

    def __init__(self, folder: Path, split: str):
        self.path, self.split = Path(folder) / f"{split}.npz", split

    def __getitem__(self, name: str) -> np.ndarray:
        with known(), np.load(self.path, allow_pickle=False) as stored:
            array = stored[name]
        if name in OF_ARRAY:
            note(self.split, OF_ARRAY[name])
        return array

    def __iter__(self) -> Iterator[str]:
        with known(), np.load(self.path, allow_pickle=False) as stored:
            return iter(stored.files)

    def __len__(self) -> int:
        return len(list(iter(self)))
