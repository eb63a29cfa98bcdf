"""A data set of one's own as WebDataset shards: uncompressed tar files of samples, one picture with its captions each.

A sample's files share their name up to the first dot after the last slash. Its picture is its `.jpg`, `.jpeg`, `.png` or `.webp`; its
captions are the lines of its `.txt`, or else `captions` (a list) or `caption` of its `.json`. Its split is what its shard's name begins
with (`train-0000.tar`, `val…` or `validation…`, `valid…`, `dev…`, `test…`), or, where no shard's does, the hash of SHARD/MEMBER
(`annotations.hashed_split`).

Shards are read where they lie: a picture is a part of its tar file, found by the tar's own headers.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.datasets.annotations import ALSO_VAL, SPLITS, Annotations, gathered, known_split, tidy
from methods.pictures import tar_members

PICTURES, TEXT, JSON = ("jpg", "jpeg", "png", "webp"), "txt", "json"
SPLIT = re.compile(rf"({'|'.join((*SPLITS, *ALSO_VAL))})(?![a-z])", re.IGNORECASE)


def annotation_files(root: Path) -> list[Path]:
    """Returns the shards that stand in a data root."""
    return sorted(root.glob("*.tar"))


def read(root: Path, files: Sequence[Path]) -> Annotations:
    """Returns what the shards say.

    Raises:
        ValueError: naming shard and sample, if a file is no uncompressed tar file, a sample has no picture, several, or no caption.
    """
    stated = {file: SPLIT.match(file.name) for file in files}
    rows = []
    for file, split in stated.items():
        for picture, captions in _samples(file):
            rows.append((f"{file.name}/{picture}", known_split(split[1], file.name) if split else None, captions))
    return gathered(rows, root.resolve())


def digest(file: Path) -> str:
    """Returns the sha256 of what a shard says: its captions, and where its pictures are; not of the pictures themselves."""
    return hashlib.sha256(json.dumps([_members(file), list(_samples(file))], sort_keys=True).encode()).hexdigest()


def _members(file: Path) -> dict[str, tuple[int, int]]:
    try:
        return tar_members(file)
    except tarfile.TarError as error:
        remedy = "unpack a compressed one, and pack it as .tar; copy a damaged or cut one again"
        raise ValueError(f"{file} is no uncompressed tar file, or not a whole one ({error}): {remedy}") from error


def _samples(file: Path) -> Iterator[tuple[str, list[str]]]:
    members = _members(file)
    samples: dict[str, dict[str, str]] = {}
    for name in members:
        folder, slash, last = name.rpartition("/")
        stem, _, ending = last.partition(".")
        if stem:
            samples.setdefault(f"{folder}{slash}{stem}", {})[ending.lower()] = name
    with file.open("rb") as stream:
        for key, parts in samples.items():
            shown = [parts[ending] for ending in PICTURES if ending in parts]
            if len(shown) != 1:
                raise ValueError(f"{file}, sample {key}: {len(shown)} pictures; a sample has one of {', '.join(PICTURES)}")
            said = parts.get(TEXT) or parts.get(JSON)
            raw = b""
            if said:
                start, size = members[said]
                stream.seek(start)
                raw = stream.read(size)
            captions = _captions(raw, is_json=TEXT not in parts, where=f"{file}, sample {key}")
            if not captions:
                raise ValueError(f"{file}, sample {key} has no caption: neither lines of {TEXT} nor caption or captions of {JSON}")
            yield shown[0], captions


def _captions(raw: bytes, is_json: bool, where: str) -> list[str]:
    try:
        text = raw.decode("utf-8")
        if not is_json:
            return [tidy(line) for line in text.split("\n") if line.strip()]
        stated = json.loads(text or "{}")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: its captions cannot be read: {error}: save them as UTF-8") from error
    except ValueError as error:
        raise ValueError(f"{where}: its captions cannot be read: {error}") from error
    said = stated.get("captions") or stated.get("caption") or [] if isinstance(stated, dict) else []
    captions = said if isinstance(said, list) else [said]
    if not all(isinstance(caption, str) and caption.strip() for caption in captions):
        raise ValueError(f"{where}: its captions are texts that are not empty: take others out")
    return [tidy(caption) for caption in captions]
