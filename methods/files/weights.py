"""Files of weights: whether they are whole, told by their first and last bytes before hours of work; a hash of what they hold."""

from __future__ import annotations

import hashlib
import json
import zipfile
from functools import lru_cache
from pathlib import Path

from methods.files.durable import file_hash

HEADER_LIMIT = 100_000_000  # of the safetensors format
INDEX = ".index.json"


def damage(path: Path) -> str | None:
    """Returns what is wrong with a file of weights, or None: of `.safetensors` by its header, of PyTorch's files by their directory, and
    of an index of shards whether it names any."""
    if path.name.endswith(INDEX):
        return None if shards_named(path) else "it is no index of shards"
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix in (".pt", ".pth", ".bin"):
        with path.open("rb") as file:
            begin = file.read(4)
        if begin[:2] == b"PK" and not zipfile.is_zipfile(path):
            return "it ends before its directory: it was cut short"
        if begin[:2] != b"PK" and begin[:1] != b"\x80":
            return "it is no file of PyTorch's"
    return None


def shards_named(index: Path) -> set[str]:
    """Returns the files of weights that an index names, none where it cannot be read."""
    try:
        return set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


def _safetensors(path: Path) -> str | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(HEADER_LIMIT, size - 8):
            return "it has no header of safetensors"
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return "its header is no header of safetensors"
    wanted = 8 + length + max(ends, default=0)
    return None if size == wanted else f"it has {size:,} bytes instead of {wanted:,}"


def contents_hash(path: Path) -> str:
    """Returns a hash over names and contents of a file or of all files in a folder; remembered while size and time stay the same."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    names = [file.relative_to(path).as_posix() if path.is_dir() else file.suffix for file in files]
    states = [file.stat() for file in files]
    hashes = [_sha256(str(file), state.st_size, state.st_mtime_ns) for file, state in zip(files, states, strict=True)]
    return hashlib.sha256(json.dumps([names, hashes]).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    return file_hash(Path(path))
