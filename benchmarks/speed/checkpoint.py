"""What a measurement has timed so far, kept in the store until it is whole, so that a killed one goes on.

STORE/figure4/KEY.json: KEY is of all that the times depend on; what other settings, code or machines timed is not gone on with.

{"format": 1, "of": {...}, "timed": {PART: [point, ...]}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.record import read_measured
from benchmarks.stages import Store
from methods.files.durable import write_atomically

FOLDER = "figure4"
Points = list[dict[str, Any]]


class Checkpoint:
    """The parts of one measurement that were timed.

    Args:
        of: all that the times depend on, JSON-able.
        say: is told how many parts there are from before.

    Raises:
        ValueError: if the file is damaged.
    """

    def __init__(self, store: Store, of: Mapping[str, Any], say: Callable[[str], None]):
        self._store, self._of = store, of
        key = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]
        self.path = store.root / FOLDER / f"{key}.json"
        self._timed: dict[str, Points] = {}
        if self.path.is_file():
            self._timed = read_measured(self.path, "checkpoint", "delete it and run figure4 again", ["timed"])["timed"]
            say(f"{len(self._timed)} galleries were timed before, and are not again; delete {self.path} to begin anew")

    def once(self, part: str, time: Callable[[], Points]) -> Points:
        """Returns the points of a part: those that are kept, or those that `time` returns, which then are."""
        if part not in self._timed:
            self._timed[part] = time()
            with self._store.disk_errors():
                self.path.parent.mkdir(exist_ok=True)
                write_atomically(self.path, json.dumps({"format": 1, "of": self._of, "timed": self._timed}) + "\n")
        return self._timed[part]

    def remove(self) -> None:
        """Forgets all of it: the whole is kept elsewhere."""
        self.path.unlink(missing_ok=True)
