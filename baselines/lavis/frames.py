"""What goes over the pipe between this environment and LAVIS's: a line of JSON, then the bytes of the arrays that it announces.

Both sides read this file, so it needs numpy alone, any version of it. Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

KINDS = "biuf"  # booleans, integers, floats: an array of objects would have to be unpickled


def write(stream: IO[bytes], message: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Sends a JSON-able message and named arrays of numbers."""
    given = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    announced = [[name, array.dtype.str, array.shape] for name, array in given.items()]
    stream.write(json.dumps({"message": dict(message), "arrays": announced}).encode() + b"\n")
    for array in given.values():
        stream.write(array.tobytes())
    stream.flush()


def read(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Returns the next message and its arrays, or None where the stream has ended.

    Raises:
        ValueError: if what comes is no frame, or breaks off.
    """
    line = stream.readline()
    if not line:
        return None
    try:
        frame = json.loads(line)
        announced = [(name, np.dtype(kind), tuple(shape)) for name, kind, shape in frame["arrays"]]
        message = frame["message"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"no frame but {line[:80]!r}") from error
    arrays = {}
    for name, kind, shape in announced:
        if kind.kind not in KINDS:
            raise ValueError(f"array {name} of type {kind}: only numbers go over the pipe")
        size = kind.itemsize * int(np.prod(shape, dtype=np.int64))
        data = stream.read(size)
        if len(data) < size:
            raise ValueError(f"the stream ended within array {name}")
        arrays[name] = np.frombuffer(data, kind).reshape(shape)
    return message, arrays
