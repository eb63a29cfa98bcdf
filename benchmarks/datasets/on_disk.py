"""Data sets that lie on disk: the form of what a root holds, the stage's settings, and the stage that lists them in the suite's own layout.

The stage decodes nothing and copies no picture; it looks whether each is there. Its key is the annotations' sha256, the options and the
root; the pictures themselves are no part of it, and `verify-data` is what looks at them.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.datasets import FIVE, ON_DISK, dataset_names
from benchmarks.datasets.annotations import Annotations
from benchmarks.datasets.karpathy import FOLDERS
from benchmarks.datasets.known import expected, ids_digest
from benchmarks.user_error import UserError

OWN = {
    # form: what of it a root may hold
    "karpathy": "one dataset_*.json in Karpathy's form",
    "folder": "one .csv or .jsonl file of image and caption",
    "shards": "WebDataset shards (*.tar)",
}


@dataclass(frozen=True)
class Located:
    """A data set's root, and the files there that say what is in it."""

    name: str
    root: Path
    form: str
    files: tuple[Path, ...]

    @property
    def known_name(self) -> str:
        return self.name.removesuffix(FIVE)

    @property
    def five(self) -> bool:
        return self.name.endswith(FIVE)

    def annotations(self) -> Annotations:
        """Returns what the files say, each picture with five captions at most where the name says so; nothing is checked but their form.

        Raises:
            ValueError: if a file cannot be read or is not of its form.
        """
        with _reading(self.root):
            read = _module(self.form).read(self.root, self.files)
        return read.cut(5) if self.five else read

    @property
    def published(self) -> bool:
        """Whether this is a known data set: then it has all its splits."""
        return self.known_name in ON_DISK

    def held(self) -> tuple[str, ...]:
        """Returns the splits that have pictures.

        Raises:
            ValueError: as `annotations`.
        """
        return _held(self, tuple(map(_state, self.files)))

    def digests(self) -> dict[str, str]:
        """Returns the sha256 of each file by its name; of shards and folders, of what they say.

        Raises:
            ValueError: as `annotations`.
        """
        with _reading(self.root):
            return {file.name: _digest(self.form, file, _state(file)) for file in self.files}


def located(name: str, root: Path | None = None) -> Located:
    """Returns where a data set lies and in what form: in the given root, or in the remembered one.

    A root of one's own holds one form: the first two files found to say something are named, and one of them must go.

    Raises:
        ValueError: if its root is unknown, gone, or does not hold it.
    """
    from benchmarks.roots import root_of
    from methods.spelling import suggestion

    base, root = name.removesuffix(FIVE), root or root_of(name)
    if root is None and base in ON_DISK:
        raise ValueError(f"where {base} lies is not known: name its folder, which holds {ON_DISK[base][1]}, once with --data-root DIR")
    if root is None:
        raise ValueError(
            f"unknown data set {name!r}: {suggestion(base, dataset_names())}; for data of your own name their folder with --data-root"
        )
    if not root.is_dir():
        raise ValueError(f"the root of {base} is gone: {root} is no folder; name another with --data-root DIR")
    if base in ON_DISK:
        form, file = ON_DISK[base]
        if form == "karpathy" and not (root / file).is_file():
            raise ValueError(f"{root} does not hold {base}: {file} is missing; put it there, or name another folder with --data-root")
        return Located(name, root, form, (root / file,) if form == "karpathy" else tuple(_module(form).annotation_files(root)))
    held = {form: tuple(_module(form).annotation_files(root)) for form in OWN}
    files = [file for of_form in held.values() for file in of_form]
    if not files:
        raise ValueError(f"{root} holds no data set: it needs {', or '.join(OWN.values())}")
    form = next(form for form, of_form in held.items() if of_form)
    if held[form] != tuple(files) or (form != "shards" and len(files) > 1):
        raise ValueError(f"{root} holds several data sets, {files[0].name} and {files[-1].name} among them: leave one there")
    return Located(name, root, form, tuple(files))


def settings(name: str) -> dict[str, Any]:
    """Returns the configuration of the stage that lists a data set: everything that its result depends on."""
    found = located(name)
    return {
        "name": name,
        "form": found.form,
        "root": str(found.root),
        # A picture folder that is renamed or added would leave the stage's list behind.
        "folders": {folder: str((found.root / folder).resolve()) for folder in FOLDERS if (found.root / folder).is_dir()},
        "files": [file.name for file in found.files],
        "sha256": found.digests(),
    }


def build(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Returns a report of the data set that it lists in `out`, in the layout of `methods/data.py`: counts, words and duplicates by split,
    and whether a split of a known data set is as published.

    Args:
        config: as from `settings`.
        inputs: none.
        out: an empty folder.

    Raises:
        UserError: if the files changed since the stage was planned, or nothing can be measured on such data.
    """
    from benchmarks.datasets.duplicates import duplicates

    root = Path(config["root"])
    found = Located(config["name"], root, config["form"], tuple(root / name for name in config["files"]))
    try:
        if found.digests() != config["sha256"]:
            raise ValueError("its annotations changed since the work was planned: give the same command again")
        annotations = found.annotations()
        annotations.check(complete=found.published)
        from methods.pictures import Pictures

        files = [entry.file for split in annotations.held for entry in annotations.splits[split]]
        if gone := Pictures(annotations.pictures, files).missing():
            raise ValueError(
                f"{len(gone):,} of {len(files):,} pictures are missing, the first is {gone[0]}: put them into {annotations.pictures}, "
                f"or take them out of the annotations; `verify-data --dataset {config['name']}` lists all such"
            )
    except ValueError as error:
        raise UserError(f"{config['name']} in {root}: {error}") from error
    report: dict[str, Any] = {}
    for split in annotations.held:
        entries = annotations.splits[split]
        pairs = [(caption, entry.image_id) for entry in entries for caption in entry.captions]
        captions, ids = [caption for caption, _ in pairs], [image_id for _, image_id in pairs]
        files = [entry.file for entry in entries]
        table = {"image_ids": [entry.image_id for entry in entries], "files": files, "captions": captions, "caption_image_ids": ids}
        (out / f"{split}.json").write_text(json.dumps(table))
        report[split] = {
            "images": len(entries),
            "captions": len(captions),
            "words": round(sum(len(text.split()) for text in captions) / len(captions), 2),
            # Equal pictures cost reading them all: verify-data.
            "duplicates": duplicates(captions, ids) | {"pictures": None},
        }
        known = expected(found.known_name, split, found.five)
        if known is not None:
            stated = (len(entries), len(captions), ids_digest(files))
            report[split]["as_published"] = stated == (known["images"], known["captions"], known["ids"])
    info = {
        "name": config["name"],
        "pictures": str(annotations.pictures),
        "splits": {split: {"images": report[split]["images"], "captions": report[split]["captions"]} for split in annotations.held},
        "duplicates": report["test"]["duplicates"],
        "settings": dict(config),
    }
    (out / "dataset.json").write_text(json.dumps(info, indent=1))
    return report


def _module(form: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.datasets.{form}")


@contextmanager
def _reading(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or root} cannot be read ({error.strerror or error}): put a readable file there, "
            "or name another folder with --data-root"
        ) from error


def _state(path: Path) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_size, state.st_mtime_ns


@lru_cache
def _held(found: Located, states: tuple[tuple[int, int], ...]) -> tuple[str, ...]:
    return found.annotations().held


@lru_cache(maxsize=4096)
def _digest(form: str, path: Path, state: tuple[int, int]) -> str:
    """A file is hashed once per process: every cell of a table asks."""
    if form == "shards":
        return _module(form).digest(path)
    if form == "entities" and path.is_dir():
        whole = hashlib.sha256()
        for part in sorted(path.glob("*.txt")):
            whole.update(f"{part.name}\n".encode() + part.read_bytes())
        return whole.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
