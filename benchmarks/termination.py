"""What is said when a command is ended from outside: by Ctrl-C or by SIGTERM, as `timeout` and containers send it."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

TOLD = "interrupted; finished stages are kept, run the same command to go on"


def told_of() -> None:
    """Lets SIGTERM say `TOLD` and end the process at once, as if nobody had listened."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: Any) -> None:
    os.write(sys.stderr.fileno(), f"{TOLD}\n".encode())
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
