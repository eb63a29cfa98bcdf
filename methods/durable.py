"""Files that are there whole or not at all, after a power cut too; and what tells whether one was changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def put(unfinished: Path, path: Path) -> None:
    """Renames a finished file to its place in the same folder, when it is on the disk."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def file_hash(path: Path) -> str:
    """Returns the sha256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
