"""What every form of a data set on disk is read into: which picture is in which split, and what is said of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from methods.pictures import check_name

SPLITS = ("train", "val", "test")
ALSO_VAL = ("validation", "valid", "dev")
"""What others call val."""
LARGEST_ID = 2**31 - 1


@dataclass(frozen=True)
class Entry:
    """One picture: its name relative to the pictures' folder, its id, and its captions."""

    file: str
    image_id: int
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Annotations:
    """Entries of every split, in the order of the files; nothing is checked but their form.

    Args:
        pictures: the folder that the entries' names are relative to.
        hashed: whether the splits are by `hashed_split`, since nobody said them.
    """

    pictures: Path
    splits: Mapping[str, Sequence[Entry]]
    hashed: bool = False

    def cut(self, captions: int) -> Annotations:
        """Returns the same with no more than the first so many captions of each picture."""
        return replace(
            self, splits={name: [replace(e, captions=e.captions[:captions]) for e in entries] for name, entries in self.splits.items()}
        )

    @property
    def held(self) -> tuple[str, ...]:
        """The splits that have pictures."""
        return tuple(split for split in SPLITS if self.splits.get(split))

    def check(self, complete: bool = True) -> None:
        """Raises a ValueError, naming the first of them, if a split is empty, a name leaves the folder, an id is unfit, a picture or
        an id comes twice, or a picture has no caption or an empty one: nothing can be measured on such data.

        Args:
            complete: whether there must be all splits; else `test` alone will do, where somebody says so.
        """
        splits: dict[str, str] = {}
        seen: dict[int, tuple[str, str]] = {}
        alone = self.held == ("test",) and not complete and not self.hashed
        for split in self.held if alone else SPLITS:
            if not self.splits.get(split):
                remedy = "; nobody says the splits here: name them with a `split` column, or in the shards' names" if self.hashed else ""
                needed = ", ".join(SPLITS) + ("" if complete else ", or test alone")
                raise ValueError(f"there is no picture in the split {split!r}: a data set needs {needed}{remedy}")
            for entry in self.splits[split]:
                check_name(entry.file)
                if (other := splits.get(entry.file)) is not None:
                    twice = "listed twice in {1}: list it once" if other == split else "in {0} and in {1}: keep it in one split"
                    raise ValueError(f"picture {entry.file} is {twice.format(other, split)}")
                if not 0 <= entry.image_id <= LARGEST_ID:
                    raise ValueError(f"picture {entry.file}: its image id {entry.image_id} is not between 0 and {LARGEST_ID}")
                if entry.image_id in seen:
                    other, first = seen[entry.image_id]
                    raise ValueError(f"image id {entry.image_id} comes twice: {first} in {other}, {entry.file} in {split}")
                if not entry.captions:
                    raise ValueError(f"picture {entry.file} in {split} has no caption")
                if not all(entry.captions):
                    raise ValueError(f"picture {entry.file} in {split} has an empty caption: take it out")
                splits[entry.file] = split
                seen[entry.image_id] = split, entry.file


def tidy(caption: str) -> str:
    """Returns a caption with its white space made single: published ones hold line ends and trailing blanks."""
    return " ".join(caption.split())


def hashed_split(name: str) -> str:
    """Returns the split of a picture where nobody says it: 80, 10 and 10 percent, by the sha256 of its name alone.

    So a picture keeps its split when others are added. Example: the first 8 hex digits of sha256("a.jpg") are 509b0d46, which is
    1352338758: the last two digits, 58, are below 80, so it is in train; 80 to 89 are val, 90 to 99 test.
    """
    part = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 100
    return "train" if part < 80 else "val" if part < 90 else "test"


def gathered(rows: Iterable[tuple[str, str | None, Sequence[str]]], pictures: Path) -> Annotations:
    """Returns annotations from (name, split or None, captions): rows of one picture in one split are one entry, ids count pictures as they
    first appear. Where no row says its split, all are split by `hashed_split`.

    Raises:
        ValueError: if some rows say their split and others do not.
    """
    found: dict[tuple[str, str], list[str]] = {}
    ids: dict[str, int] = {}
    stated: dict[bool, str] = {}
    for name, split, captions in rows:
        stated.setdefault(split is not None, name)
        found.setdefault((name, split or hashed_split(name)), []).extend(captions)
        ids.setdefault(name, len(ids))
    if len(stated) > 1:
        told = f"{stated[True]} does, {stated[False]} does not"
        raise ValueError(f"some pictures say their split and others do not ({told}): say it for all of them, or for none")
    splits: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for (name, split), captions in found.items():
        splits[split].append(Entry(name, ids[name], tuple(captions)))
    return Annotations(pictures, splits, hashed=True not in stated)


def known_split(split: str, where: str, also: Sequence[str] = ()) -> str:
    """Returns the split in small letters, `val` where it is called as in `ALSO_VAL`, or raises a ValueError that lists the valid ones."""
    small = split.lower()
    if small in ALSO_VAL:
        return "val"
    if small not in (*SPLITS, *also):
        raise ValueError(f"{where}: unknown split {split!r}; valid are {', '.join((*SPLITS, *also))}")
    return small
