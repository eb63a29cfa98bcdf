"""Asking a training for a checkpoint, and to stop behind it: how the notice before a time limit or a pre-emption is used.

A signal's handler may run between any two instructions, so that it cannot write a checkpoint itself. It asks, and the training answers
where everything is whole. Processes that share a training are asked through a file, which the first of them looks for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

ASK_FILE = "VOKENBENCH_ASK_FILE"
Wish = Literal["", "checkpoint", "stop"]

_wish: Wish = ""
_listeners: list[Path | None] = []


class Interrupted(BaseException):
    """A training has made a checkpoint and stopped, because it was asked to. No error: nobody should handle it as one."""


def ask(wish: Wish) -> bool:
    """Asks what runs for a checkpoint, or to stop behind one; returns whether it will, or had better be ended at once."""
    global _wish
    if _wish != "stop":
        _wish = wish
    for path in _listeners:
        if path is not None:
            path.write_text(_wish)
    return bool(_listeners)


def asked() -> Wish:
    """Returns what this process, or the one that began it, was asked for."""
    path = os.environ.get(ASK_FILE)
    if path is not None and Path(path).exists():
        return "stop" if Path(path).read_text() == "stop" else "checkpoint"
    return _wish


def answered() -> None:
    """Forgets what was asked: the checkpoint is made."""
    global _wish
    _wish = ""
    path = os.environ.get(ASK_FILE)
    if path is not None:
        Path(path).unlink(missing_ok=True)


@contextmanager
def listening(file: Path | None = None) -> Iterator[None]:
    """While this lasts, what runs here looks at `asked` again and again, or at `file` where it runs in other processes."""
    _listeners.append(file)
    try:
        yield
    finally:
        _listeners.remove(file)
