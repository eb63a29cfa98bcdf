"""What was probably meant by a name that is none."""

from __future__ import annotations

import difflib


def suggestion(given: str, valid: list[str]) -> str:
    """Returns `: did you mean X?` with the nearest valid name, or nothing, followed by the valid ones."""
    close = difflib.get_close_matches(given, valid, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}valid are {', '.join(valid)}"
