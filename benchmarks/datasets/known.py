"""The known data sets as published. The file beside says the hashing rule, and where the lists come from."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.datasets.annotations import SPLITS

FILE = Path(__file__).with_name("known_splits.toml")
NUMBER = re.compile(r"(\d+)\.[^./\d]+\d?$")


@cache
def known_splits() -> Mapping[str, Mapping[str, Any]]:
    """Returns {data set: {"label", "notes"?: lines, split: {"images", "captions", "ids", "five"?}}}."""
    return tomllib.loads(FILE.read_text())


def published_id(file: str) -> int | None:
    """Returns the number at the end of a file's name, which is the id of a Flickr30K or COCO picture; None where there is none."""
    match = NUMBER.search(file)
    return int(match[1]) if match else None


def ids_digest(files: Iterable[str]) -> str | None:
    """Returns the sha256 of the published ids: ascending, in decimal, each with a line feed; None where a file's name has no number.

    Example: of 10.jpg and 9.jpg it is that of "9\\n10\\n".
    """
    ids = []
    for file in files:
        if (number := published_id(file)) is None:
            return None
        ids.append(number)
    return hashlib.sha256("".join(f"{number}\n" for number in sorted(ids)).encode()).hexdigest()


def whose(digest: str | None) -> str | None:
    """Returns `LABEL: SPLIT` of the known split with these ids, or None."""
    for known in known_splits().values():
        for split, facts in known.items():
            if split in SPLITS and digest is not None and facts["ids"] == digest:
                return f"{known['label']}: {split}"
    return None


def expected(name: str, split: str, five: bool) -> dict[str, Any] | None:
    """Returns {"images", "captions", "ids"} of a known data set's split, None where nothing is known of it."""
    facts = known_splits().get(name, {}).get(split)
    if facts is None:
        return None
    captions = facts.get("five", facts["captions"]) if five else facts["captions"]
    return {"images": facts["images"], "captions": captions, "ids": facts["ids"]}
