"""A data set of one's own: a folder of pictures with one CSV or JSON Lines file of what is said of them.

CSV with a header, or a JSON object a line: `image` (or `file_name`), the picture's name relative to the folder; `caption` (or `text` or
`captions`), in JSON also a list of captions; and, for all rows or none, `split`: train, val (or validation, valid, dev) or test. A header's
names and splits may have capitals. A picture may come in several rows. Without `split` the pictures are split by their names
(`annotations.hashed_split`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.datasets.annotations import Annotations, gathered, known_split, tidy

IMAGE, CAPTION = ("image", "file_name"), ("caption", "text", "captions")


def annotation_files(root: Path) -> list[Path]:
    """Returns the files in this form that stand in a data root."""
    return sorted({*root.glob("*.csv"), *root.glob("*.jsonl")})


def read(root: Path, files: Sequence[Path]) -> Annotations:
    """Returns what one CSV or JSON Lines file says.

    Raises:
        ValueError: naming the line, if a column is missing or empty, or some lines have a split and others have none.
    """
    (file,) = files
    rows = _csv(file) if file.suffix == ".csv" else _jsonl(file)
    try:
        return gathered([_row(row, f"{file}, line {line}") for line, row in rows], root.resolve())
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} cannot be read: {error}: save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def _csv(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        header = reader.fieldnames or []
        reader.fieldnames = columns = [name.strip().lower() for name in header]
        if not set(columns) & set(IMAGE) or not set(columns) & set(CAPTION):
            raise ValueError(f"{file}: its header is {','.join(header)!r}: name columns image and caption, separated by commas")
        for row in reader:
            if None in row:
                raise ValueError(f"{file}, line {reader.line_num} has more columns than the header: put captions with commas in quotes")
            yield reader.line_num, row


def _jsonl(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with file.open(encoding="utf-8") as stream:
        for line, text in enumerate(stream, 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise ValueError(f"{file}, line {line} is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{file}, line {line} is no JSON object")
            yield line, row


def _row(row: Mapping[str, Any], where: str) -> tuple[str, str | None, list[str]]:
    image, said = (_value(row, names, where) for names in (IMAGE, CAPTION))
    captions = [tidy(text) if isinstance(text, str) else "" for text in (said if isinstance(said, list) else [said])]
    if not isinstance(image, str) or not captions or not all(captions):
        raise ValueError(f"{where}: a picture's name is one text, and its captions are texts that are not empty")
    split = row.get("split") or None
    return image, None if split is None else known_split(str(split), where), captions


def _value(row: Mapping[str, Any], names: Sequence[str], where: str) -> Any:
    for name in names:
        if row.get(name):
            return row[name]
    raise ValueError(f"{where} has no {' or '.join(names)}; a header or keys name {', '.join((*IMAGE, *CAPTION, 'split'))}")
