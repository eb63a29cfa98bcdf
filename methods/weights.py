"""Whether files of weights are whole, told from their first and last bytes: hours before a stage would stumble over one."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

HEADER_LIMIT = 100_000_000  # of the safetensors format


def damage(path: Path) -> str | None:
    """Returns what is wrong with a file of weights, or None: of `.safetensors` by its header, of PyTorch's files by their directory."""
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
