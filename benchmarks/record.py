"""Files of measurements that tables and figures are computed from: JSON of format 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_measured(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """Returns a file of measurements.

    Args:
        what: such a file is, e.g. `run summary`.
        remedy: what the user does about one that cannot be read, e.g. `delete it and run its cell again`.

    Raises:
        ValueError: if the file is none that this version reads; names it and the remedy.
    """
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from error
    if not isinstance(found, dict) or found.get("format") != 1:
        raise ValueError(f"{path} is no {what} of format 1: {remedy}")
    return found
