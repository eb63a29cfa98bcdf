"""Work over many items kept as it is done, in files of a bounded number of items, so that an interrupted run goes on with the next file.

S items of a shard, Q captions, T tokens of all captions laid end to end, H width of a state.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from methods.files.durable import whole
from methods.files.weights import damage
from methods.fitting.heartbeat import beat

log = logging.getLogger("vokenbench")

Arrays = dict[str, Tensor]


class Shards:
    """Arrays over `total` items, `size` of them a file. What a file holds is on the disk whole, or not at all.

    Args:
        folder: where the files are kept; of an earlier run they are found again.
        name: begins their names.
    """

    def __init__(self, folder: Path, name: str, total: int, size: int):
        self.folder, self.name, self.size = folder, name, size
        self.bounds = [(first, min(first + size, total)) for first in range(0, total, size)]

    def path(self, first: int, end: int) -> Path:
        return self.folder / f"{self.name}-{first:09d}-{end:09d}.safetensors"

    def fill(self, work: Callable[[int, int], Arrays]) -> Shards:
        """Keeps `work(first, end)` of every shard that is not there yet; a damaged one is named, removed and made again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for first, end in self.bounds:
            path = self.path(first, end)
            if path.exists():
                fault = _fault(path)
                if fault is None:
                    continue
                log.warning("%s: %s; it is removed and made again", path, fault)
                path.unlink()
            arrays = work(first, end)
            with whole(path) as unfinished:
                save_file(arrays, unfinished, {"sha256": _hash(arrays)})
            beat(self.name, end, self.bounds[-1][1])
        return self

    def __iter__(self) -> Iterator[tuple[int, int, Arrays]]:
        """Yields (first, end, arrays) one shard after the other, mapped from the disk rather than read."""
        for first, end in self.bounds:
            yield first, end, load_file(self.path(first, end))

    def join(self, name: str, into: Path) -> np.ndarray:
        """Returns one array of all shards, (total, ...), mapped from a new `.npy` file."""
        joined: np.ndarray | None = None
        for first, end, arrays in self:
            part = arrays[name].numpy()
            if joined is None:
                joined = np.lib.format.open_memmap(into, "w+", part.dtype, (self.bounds[-1][1], *part.shape[1:]))
            joined[first:end] = part
        assert joined is not None, "nothing to join"
        return joined


def _fault(path: Path) -> str | None:
    found = damage(path)
    if found is not None:
        return found
    try:
        with safe_open(path, "pt") as file:
            stored = (file.metadata() or {}).get("sha256")
        return None if stored == _hash(load_file(path)) else "it does not hold what was written"
    except SafetensorError as error:
        return f"it cannot be read ({error})"


def _hash(arrays: Arrays) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {list(arrays[name].shape)}".encode())
        found.update(arrays[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def write_packed(path: Path, shards: Iterator[tuple[Sequence[int], Tensor, Tensor]], lengths_Q: Tensor, width: int) -> int:
    """Writes bfloat16 states of all captions end to end in a safetensors file, shard by shard; returns how many tokens they are.

    Args:
        shards: captions' rows, their states end to end (T, H), and their lengths; every caption once, in any order.
        lengths_Q: of all captions.

    The file has the layout of `safetensors.torch.save_file({"states_TH": ..., "start_Q1": ...})`, which would want all of it in memory:
    eight bytes with the header's length, a JSON header, then the tensors, 64-bit ones first.
    """
    start_Q1 = torch.cat([torch.zeros(1, dtype=torch.long), lengths_Q.cumsum(0)])
    tokens, begin, row_bytes = int(start_Q1[-1]), start_Q1.nbytes, width * 2
    header = json.dumps(
        {
            "start_Q1": {"dtype": "I64", "shape": list(start_Q1.shape), "data_offsets": [0, begin]},
            "states_TH": {"dtype": "BF16", "shape": [tokens, width], "data_offsets": [begin, begin + tokens * row_bytes]},
        },
        separators=(",", ":"),
    ).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        offset = file.tell() + begin
        file.write(start_Q1.numpy().tobytes())
        file.truncate(offset + tokens * row_bytes)
        file.flush()
        for rows, states_TH, lengths_S in shards:
            raw = states_TH.contiguous().view(torch.uint8).numpy()
            first = 0
            # written, not mapped: of a mapped file all that was touched would count as this process's memory
            for row, length in zip(rows, lengths_S.tolist(), strict=True):
                _write(file.fileno(), raw[first : first + length].data, offset + int(start_Q1[row]) * row_bytes)
                first += length
    return tokens


def _write(handle: int, data: memoryview, offset: int) -> None:
    data = data.cast("B")
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written
