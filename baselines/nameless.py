"""Arrays on the disk whose file has no name: its room is free again however the process ends."""

from __future__ import annotations

import os
import tempfile
import weakref

import numpy as np
from numpy.typing import DTypeLike


def nameless(shape: tuple[int, ...], dtype: DTypeLike) -> np.memmap:
    """Returns an array in a file of TMPDIR that goes with the array, or with the process if it is killed.

    Its `filename` is a path by which other processes of this machine can map it while it is in use here (Linux).
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the array)
    array = np.memmap(file, dtype, "w+", shape=shape)
    array.filename = f"/proc/{os.getpid()}/fd/{file.fileno()}"
    weakref.finalize(array, file.close)
    return array
