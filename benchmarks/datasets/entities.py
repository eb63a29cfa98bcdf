"""Flickr30K under the split of Flickr30K Entities, which is the paper's: 29,783 / 1,000 / 1,000 of all 31,783 pictures.

    train.txt val.txt test.txt      a picture's number a line (repository BryanPlummer/flickr30k_entities)
    results_20130124.token          NUMBER.jpg#0<tab>caption, five lines a picture (Flickr30K's own), or else
    annotations.zip or Sentences/   Sentences/NUMBER.txt, a caption a line with marked phrases (the repository's)

Both captions are the tokenised ones ("… in the yard ."); Karpathy's are not. His JSON cannot stand in for them: it lacks 769 of the
pictures. A picture's id is its place among all, by number: the numbers themselves pass 31 bits.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.datasets.annotations import SPLITS, Annotations, Entry, tidy
from benchmarks.datasets.karpathy import pictures_folder

REPOSITORY = "BryanPlummer/flickr30k_entities"
TOKENS, ZIP, SENTENCES = "results_20130124.token", "annotations.zip", "Sentences"
PHRASE = re.compile(r"\[/EN#\d+(?:/[^\s/\]]+)+ ([^\]]*)\]")


def annotation_files(root: Path) -> list[Path]:
    """Returns the split files and the file or folder of captions; the first that is there of the three.

    Raises:
        ValueError: if one is missing.
    """
    splits = [root / f"{split}.txt" for split in SPLITS]
    for path in splits:
        if not path.is_file():
            raise ValueError(f"{path} is missing: copy train.txt, val.txt and test.txt of the repository {REPOSITORY} there")
    for name in (TOKENS, ZIP, SENTENCES):
        if (root / name).exists():
            return [*splits, root / name]
    raise ValueError(f"{root} holds no captions: put {TOKENS} of Flickr30K there, or {ZIP} of the repository {REPOSITORY}")


def read(root: Path, files: Sequence[Path]) -> Annotations:
    """Returns what the files of `annotation_files` say.

    Raises:
        ValueError: if a line is not of its form, or a picture has no captions.
    """
    *split_files, source = files
    numbers = {split: _numbers(path) for split, path in zip(SPLITS, split_files, strict=True)}
    every = sorted({number for of_split in numbers.values() for number in of_split})
    captions: dict[int, list[str]] = {number: [] for number in every}
    for number, caption in _captions(source):
        if number in captions:
            captions[number].append(tidy(caption))
    silent = [number for number in every if not captions[number]]
    if silent:
        raise ValueError(f"{source} has no captions for {len(silent):,} of {len(every):,} pictures, {silent[0]}.jpg among them")
    place = {number: row for row, number in enumerate(every)}
    splits = {
        split: [Entry(f"{number}.jpg", place[number], tuple(captions[number])) for number in of_split]
        for split, of_split in numbers.items()
    }
    return Annotations(pictures_folder(root, [f"{number}.jpg" for number in every], split_files[0]), splits)


def spoken(line: str) -> str:
    """Returns a caption without the marks of its phrases: `[/EN#1/people A man] walks` is `A man walks`."""
    return PHRASE.sub(r"\1", line)


def _numbers(path: Path) -> list[int]:
    found = []
    for count, line in enumerate(path.read_text().split(), 1):
        if not line.isdecimal():
            raise ValueError(f"{path}, line {count}: {line!r} is no picture's number")
        found.append(int(line))
    return found


def _captions(source: Path) -> Iterator[tuple[int, str]]:
    if source.name == TOKENS:
        # not splitlines, which also breaks a caption at U+2028 and the like
        for count, line in enumerate(source.read_text(encoding="utf-8").split("\n"), 1):
            match = re.fullmatch(r"(\d+)\.jpg#\d+\t(.*)", line)
            if match:
                yield int(match[1]), match[2]
            elif line.strip():
                raise ValueError(f"{source}, line {count}: {line[:40]!r} is not NUMBER.jpg#0<tab>caption")
        return
    for name, text in _sentence_files(source):
        if (match := re.fullmatch(r"(?:.*/)?(\d+)\.txt", name)) is not None:
            yield from ((int(match[1]), spoken(line)) for line in text.split("\n") if line.strip())


def _sentence_files(source: Path) -> Iterator[tuple[str, str]]:
    if source.name == SENTENCES:
        yield from ((path.name, path.read_text(encoding="utf-8")) for path in sorted(source.glob("*.txt")))
        return
    try:
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                if f"{SENTENCES}/" in name and name.endswith(".txt") and not name.startswith("__MACOSX"):
                    yield name, archive.read(name).decode("utf-8")
    except zipfile.BadZipFile as error:
        raise ValueError(f"{source} is no whole zip file ({error}): copy it again") from error
