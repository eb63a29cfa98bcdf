"""A ranking as it grows, batch by batch, kept on the way, so that an interrupted one goes on after the queries that it had answered.

FOLDER/0.npz, 1.npz, ...   rankings of queries that follow each other
FOLDER/parts.json          {"parts": names, "seconds": {name: s}}; what it does not name is not there
"""

from __future__ import annotations

import json
import logging
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from methods.files.durable import put, write_atomically
from methods.retriever import PAD, Ranking

log = logging.getLogger("vokenbench")

LIST = "parts.json"


class RankedParts:
    """Rankings of one batch of queries after another, and the seconds that they took.

    Args:
        folder: where they are kept; those of an interrupted run are found there, unless they are damaged.
        every: seconds between two times that they are kept, at least.

    `queries` says how many were ranked, `rankings` holds them, `seconds` the time by what it went into.
    """

    def __init__(self, folder: Path, every: float = 60.0):
        self.folder, self.every, self.last = folder, every, time.monotonic()
        self.rankings: list[Ranking] = []
        self.seconds: dict[str, float] = {}
        try:
            if (folder / LIST).is_file():
                told = json.loads((folder / LIST).read_text())
                self.rankings = [Ranking.load(folder / name) for name in told["parts"]]
                self.seconds = told["seconds"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            log.warning("%s is damaged (%s); ranking starts anew", folder, error)
            self.rankings, self.seconds = [], {}
        self.kept = len(self.rankings)

    @property
    def queries(self) -> int:
        return sum(map(len, self.rankings))

    def add(self, ranking: Ranking, **seconds: float) -> None:
        """Takes the ranking of the next queries, and the seconds that it took; keeps what it has if it is time."""
        self.rankings.append(ranking)
        for name, taken in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + taken
        if time.monotonic() - self.last >= self.every:
            self._keep()

    def _keep(self) -> None:
        self.rankings[self.kept :] = [stacked(self.rankings[self.kept :])]
        self.kept = len(self.rankings)
        self.folder.mkdir(parents=True, exist_ok=True)
        names = [f"{part}.npz" for part in range(self.kept)]
        unfinished = self.folder / "unfinished.npz"
        self.rankings[-1].save(unfinished)
        put(unfinished, self.folder / names[-1])
        write_atomically(self.folder / LIST, json.dumps({"parts": names, "seconds": self.seconds}))
        self.last = time.monotonic()


def stacked(rankings: Sequence[Ranking]) -> Ranking:
    """Returns one ranking of the queries of several, which differ in width by their last tie groups."""
    width = max(ranking.ids_QW.shape[1] for ranking in rankings)

    def wide(name: str, pad: float) -> np.ndarray:
        arrays = [getattr(ranking, name) for ranking in rankings]
        return np.concatenate([np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=pad) for a in arrays])

    return Ranking(wide("ids_QW", PAD), wide("scores_QW", -np.inf), wide("group_QW", PAD), rankings[0].k)
