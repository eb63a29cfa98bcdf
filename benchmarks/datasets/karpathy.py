"""Data sets in Karpathy's JSON: Flickr30K, MS-COCO, and any other in that form.

{"images": [{"filename", "split", "sentences": [{"raw", …}, …], "filepath"?, "cocoid"?, "imgid"?, …}]}

A picture's split is train, restval (which joins train), val or test. Its id is its `cocoid` where every picture has one, else its `imgid`,
else its place in the file. It lies under FILEPATH/FILENAME where there is a filepath, below the first folder of `FOLDERS` that holds such.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from benchmarks.datasets.annotations import SPLITS, Annotations, Entry, tidy

FOLDERS = ("flickr30k-images", "flickr30k_images", "images", "Images", ".")
SAMPLE = 20  # pictures looked for to find their folder


class Sentence(BaseModel):
    raw: str


class Picture(BaseModel):
    filename: str
    split: Literal["train", "restval", "val", "test"]
    sentences: list[Sentence]
    filepath: str = ""
    cocoid: int | None = None
    imgid: int | None = None


class Karpathy(BaseModel):
    images: list[Picture]


def annotation_files(root: Path) -> list[Path]:
    """Returns the files in this form that stand in a data root."""
    return sorted({*root.glob("dataset_*.json"), *root.glob("dataset.json")})


def read(root: Path, files: Sequence[Path]) -> Annotations:
    """Returns what one JSON file says.

    Raises:
        ValueError: if the file is not of this form, or none of a sample of its pictures is found.
    """
    (file,) = files
    try:
        pictures = Karpathy.model_validate_json(file.read_bytes()).images
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ValueError(f"{file} is not in Karpathy's form: {where}: {first['msg']}") from error
    splits: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for image_id, picture in zip(_ids(pictures), pictures, strict=True):
        name = f"{picture.filepath}/{picture.filename}" if picture.filepath else picture.filename
        # Forgetting restval is the classic fault: 30,504 of COCO's training images.
        split = "train" if picture.split == "restval" else picture.split
        splits[split].append(Entry(name, image_id, tuple(tidy(sentence.raw) for sentence in picture.sentences)))
    return Annotations(pictures_folder(root, [entry.file for entries in splits.values() for entry in entries], file), splits)


def pictures_folder(root: Path, names: Sequence[str], file: Path) -> Path:
    """Returns the first folder of `FOLDERS` in a data root that holds one of a sample of pictures; a folder that is a link is followed.

    Raises:
        ValueError: if there is none.
    """
    sample = names[:: max(1, len(names) // SAMPLE)]
    for folder in FOLDERS:
        if any((root / folder / name).is_file() for name in sample if "\0" not in name):
            return (root / folder).resolve()
    example = sample[0] if sample else "any picture"
    raise ValueError(f"no picture that {file} names is in {root}: looked for {example} and others in {', '.join(FOLDERS)}")


def _ids(pictures: Sequence[Picture]) -> list[int]:
    for key in ("cocoid", "imgid"):
        ids = [getattr(picture, key) for picture in pictures]
        if None not in ids:
            return ids
    return list(range(len(pictures)))
