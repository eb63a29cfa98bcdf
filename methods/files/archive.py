"""An `.npz` file whose large arrays stay on disk until they are read."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np

LARGE = 2**26
"""Bytes from which an array is mapped: hidden states of a gallery are gigabytes, of which a query reads the shortlist's."""
LOCAL_HEADER = struct.Struct("<26xHH")  # of a member of a zip file: two lengths stand at its end


def mapped(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file that `np.savez` wrote; large ones as read-only `np.memmap`, which numpy does for `.npy` files alone.

    Raises:
        ValueError: if an array is of objects, which would have to be unpickled.
    """
    arrays = {}
    with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as stored:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            is_large = member.file_size >= LARGE and member.compress_type == zipfile.ZIP_STORED
            arrays[name] = _map(path, member.header_offset) if is_large else stored[name]
    return arrays


def _map(path: Path, header_offset: int) -> np.ndarray:
    with path.open("rb") as file:
        file.seek(header_offset)
        name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        file.seek(name_length + extra_length, 1)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, is_fortran, dtype = read_header[np.lib.format.read_magic(file)](file)
        if dtype.hasobject:
            raise ValueError(f"{path} holds an array of objects")
        return np.memmap(path, dtype, "r", offset=file.tell(), shape=shape, order="F" if is_fortran else "C")
