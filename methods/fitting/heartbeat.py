"""How far a stage is, for whoever watches: a small file that the stage's process writes, where one was asked for.

{"what": "generator", "done": 120, "total": 480, "time": seconds since 1970, "began": the same, "began_at": what was done then}
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

HEARTBEAT_FILE = "VOKENBENCH_HEARTBEAT_FILE"
EVERY = 1.0
"""Seconds between two writings."""

_last = 0.0
_begun: tuple[str, float, float] = ("", 0.0, 0.0)


def beat(what: str, done: float, total: float) -> None:
    """Notes that so much of something is done; costs nothing where nobody asked."""
    global _last, _begun
    path = os.environ.get(HEARTBEAT_FILE)
    if path is None:
        return
    now = time.time()
    if _begun[0] != what:
        _begun = what, now, done
    elif now - _last < EVERY and done < total:
        return
    _last = now
    text = json.dumps({"what": what, "done": done, "total": total, "time": now, "began": _begun[1], "began_at": _begun[2]})
    temporary = Path(f"{path}.{os.getpid()}")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError:  # to be watched is worth no failure
        temporary.unlink(missing_ok=True)
