"""Files of measurements that tables and figures are computed from: JSON of format 1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUMMARY = ("row", "method", "dataset", "split", "protocol", "seed", "knobs", "exposure", "images", "queries", "outcomes")
"""Keys that every run summary has, of outside systems too."""
COUNTS = ("seed", "images", "queries")
SECONDS = ("encode_seconds", "search_seconds")
OUTSIDE = "outside-"
"""How the row keys of outside systems begin, and so the names of their summaries' files."""
KNOWN = ("label", "file", "sha256", "tables")
"""What the summary of an outside system says of it alone."""


def read_measured(path: Path, what: str, remedy: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Returns a file of measurements.

    Args:
        what: such a file is, e.g. `run summary`.
        remedy: what the user does about one that cannot be read, e.g. `delete it and run its cell again`.
        keys: it must have.

    Raises:
        ValueError: if the file is none that this version reads; names it and the remedy.
    """
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    if not isinstance(found, dict) or found.get("format") != 1:
        raise ValueError(f"{path} is no {what} of format 1: {remedy}")
    if lacking := [key for key in keys if key not in found]:
        raise ValueError(f"{path} is a {what} without {', '.join(lacking)}: {remedy}")
    return found


def read_summary(path: Path, keys: Sequence[str] = SUMMARY) -> dict[str, Any]:
    """Returns a run summary.

    Args:
        keys: it must have, `outcomes` among them.

    Raises:
        ValueError: if the file is no summary that this version reads, or its outcomes or numbers are damaged.
    """
    from benchmarks.metrics import Outcomes

    is_outside = path.name.startswith(OUTSIDE)
    remedy = f"delete it and {'score' if is_outside else 'run its cell'} again"
    found = read_measured(path, "run summary", remedy, [*keys, *(("outside", "unanswered") if is_outside else ())])
    try:
        Outcomes.unpack(found["outcomes"])
        wrong = [key for key in COUNTS if key in found and type(found[key]) is not int]
        if wrong := [*wrong, *(key for key in SECONDS if not isinstance(found.get(key), int | float | None))]:
            raise ValueError(f"{wrong[0]} is no number")
        if is_outside and not (isinstance(found["outside"], dict) and set(KNOWN) <= set(found["outside"])):
            raise ValueError(f"`outside` does not say {', '.join(KNOWN)}")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from error
    return found
