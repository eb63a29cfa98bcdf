"""Folders that exist only when whole: sealed with the size and hash of every file, and checked before they are read.

A sealed folder holds `stage.json` beside its files. Its last entry is a hash over all the others, so that a record is as protected as
the files that it lists.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from methods.files.durable import file_hash, sync_folder, write_atomically
from methods.stage import UNFINISHED

RECORD = "stage.json"


def seal(folder: Path, record: dict[str, Any]) -> None:
    """Writes the record with size, sha256 and time of every file, and waits until all of it is on the disk.

    What a stage keeps to go on after an interruption is no part of it (`UNFINISHED`): it is removed when the folder is in its place.
    """
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] != UNFINISHED):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
            state = os.fstat(file.fileno())
        files[path.relative_to(folder).as_posix()] = {"bytes": state.st_size, "sha256": digest, "mtime_ns": state.st_mtime_ns}
    # Through JSON first: keys that are numbers become strings there, which changes their order and so the hash.
    whole = json.loads(json.dumps({**record, "files": files}))
    write_atomically(folder / RECORD, json.dumps({**whole, "seal": _seal_of(whole)}, indent=1))
    sync_folder(folder)


def read_record(folder: Path) -> dict[str, Any]:
    """Returns a sealed folder's record.

    Raises:
        ValueError: if it is missing, unreadable or not as it was sealed.
    """
    try:
        record = json.loads((folder / RECORD).read_text())
        stated = record.pop("seal")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{RECORD} is missing or unreadable ({type(error).__name__})") from error
    if stated != _seal_of(record):
        raise ValueError(f"{RECORD} was changed after it was sealed")
    return record


def fault(folder: Path, deep: bool) -> str | None:
    """Returns which file of a sealed folder is damaged and how, or None if the folder is whole.

    Args:
        deep: hash every file. Otherwise only those whose time changed since they were sealed, as git does: cheap enough to be done to
            every result on every run.
    """
    try:
        record = read_record(folder)
    except ValueError as error:
        return str(error)
    for name, stated in record["files"].items():
        path = folder / name
        try:
            state = path.stat()
            if state.st_size != stated["bytes"]:
                return f"{name} has {state.st_size} bytes instead of {stated['bytes']}"
            if (deep or state.st_mtime_ns != stated["mtime_ns"]) and file_hash(path) != stated["sha256"]:
                return f"{name} has other contents than when it was written (sha256 differs)"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def move_into_place(folder: Path, final: Path) -> None:
    """Renames a sealed folder to its final name on the same disk, for good."""
    os.rename(folder, final)
    sync_folder(final.parent)


def _seal_of(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
