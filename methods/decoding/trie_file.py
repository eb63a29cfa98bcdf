"""The files of a prefix index: one `.npy` an array, mapped when it is read, and `trie.json`, which says what they have to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from methods.files.durable import file_hash, whole

ARRAYS = ("first_S", "count_S", "token_E", "child_E", "identifiers_NL", "alive_N")
RECORD = "trie.json"
VERSION = 1
REMEDY = "build the index again and save it"


def save(folder: Path, arrays: Mapping[str, np.ndarray], fan_out: tuple[int, ...]) -> None:
    """Writes arrays and `fan_out`. A folder is whole when its `trie.json` is there, which is written last.

    An index that is mapped from this folder goes on with the files that it has open.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    files = {}
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        with whole(path) as unfinished:
            np.save(unfinished, arrays[name], allow_pickle=False)
        files[name] = {
            "shape": list(arrays[name].shape),
            "dtype": arrays[name].dtype.str,
            "bytes": path.stat().st_size,
            "sha256": file_hash(path),
        }
    record = {"version": VERSION, "fan_out": list(fan_out), "files": files}
    with whole(folder / RECORD) as unfinished:
        unfinished.write_text(json.dumps({**record, "sha256": _seal(record)}, indent=1))


def load(folder: Path, verify: bool) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """Returns the arrays, read-only and mapped from the disk, and `fan_out`.

    Raises:
        ValueError: in one line that names a file which is missing or is not what was saved, and the remedy.
    """
    record = _record(Path(folder) / RECORD)
    arrays = {name: _mapped(Path(folder) / f"{name}.npy", record["files"][name], verify) for name in ARRAYS}
    return arrays, tuple(record["fan_out"])


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
        stated = record.pop("sha256")
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: {REMEDY}") from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): {REMEDY}") from error
    if stated != _seal(record):
        raise ValueError(f"{path} is not what was saved: {REMEDY}")
    if record["version"] != VERSION:
        raise ValueError(f"{path} is of version {record['version']}, not {VERSION}: {REMEDY}")
    return record


def _mapped(path: Path, stated: Mapping[str, Any], verify: bool) -> np.ndarray:
    try:
        size = path.stat().st_size
        if size != stated["bytes"]:
            raise ValueError(f"{path} has {size} bytes instead of {stated['bytes']}: {REMEDY}")
        if verify and file_hash(path) != stated["sha256"]:
            raise ValueError(f"{path} has other contents than when it was saved (sha256 differs): {REMEDY}")
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: {REMEDY}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): {REMEDY}") from error
    try:
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is no array of numpy's: {REMEDY}") from error
    if list(array.shape) != stated["shape"] or array.dtype.str != stated["dtype"]:
        kind = f"{array.dtype.str} {list(array.shape)} instead of {stated['dtype']} {stated['shape']}"
        raise ValueError(f"{path} is {kind}: {REMEDY}")
    return array


def _seal(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
