"""A ranking as it grows, batch by batch, kept on the way, so that an interrupted one goes on after the queries that it had answered.

FOLDER/0.npz, 1.npz, ...   rankings of queries that follow each other
FOLDER/parts.json          {"parts": {name: sha256}, "seconds": {name: s}, "code": as `environment.git`, "threads": [n]}; what it does not
                           name is not there
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.environment import git
from methods.files.durable import file_hash, whole, write_atomically
from methods.retriever import PAD, Ranking

log = logging.getLogger("vokenbench")

LIST = "parts.json"


class RankedParts:
    """Rankings of one batch of queries after another, and the seconds that they took.

    Args:
        folder: where they are kept; those of an interrupted run are found there, unless they are damaged or other code made them.
        threads: on how many it is ranked.
        every: seconds between two times that they are kept, at least.

    `queries` says how many were ranked, `rankings` holds them, `seconds` the time by what it went into.
    """

    def __init__(self, folder: Path, threads: int, every: float = 60.0):
        self.folder, self.every, self.last = folder, every, time.monotonic()
        self.rankings: list[Ranking] = []
        self.hashes: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self._threads = {threads}
        if (folder / LIST).is_file():
            self._find()

    @property
    def queries(self) -> int:
        return sum(map(len, self.rankings))

    @property
    def threads(self) -> int | None:
        """On how many threads all of it was ranked; None if runs differ."""
        return next(iter(self._threads)) if len(self._threads) == 1 else None

    def add(self, ranking: Ranking, **seconds: float) -> None:
        """Takes the ranking of the next queries, and the seconds that it took; keeps what it has if it is time."""
        self.rankings.append(ranking)
        for name, taken in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + taken
        if time.monotonic() - self.last >= self.every:
            self._keep()

    def _find(self) -> None:
        fault = ""
        try:
            told = json.loads((self.folder / LIST).read_text())
            if told["code"] != git():
                fault = "other code ranked it"
            elif changed := [name for name, digest in told["parts"].items() if file_hash(self.folder / name) != digest]:
                fault = f"{changed[0]} is damaged"
        except (OSError, ValueError, KeyError, TypeError) as error:
            fault = f"{LIST} cannot be read ({error})"
        if fault:
            log.warning("%s: %s; ranking starts anew", self.folder, fault)
            (self.folder / LIST).unlink()
            return
        self.rankings = [Ranking.load(self.folder / name) for name in told["parts"]]
        self.hashes, self.seconds = told["parts"], told["seconds"]
        self._threads |= set(told["threads"])

    def _keep(self) -> None:
        self.rankings[len(self.hashes) :] = [stacked(self.rankings[len(self.hashes) :])]
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{len(self.hashes)}.npz"
        with whole(part) as unfinished:
            self.rankings[-1].save(unfinished)
        self.hashes[part.name] = file_hash(part)
        told = {"parts": self.hashes, "seconds": self.seconds, "code": git(), "threads": sorted(self._threads)}
        write_atomically(self.folder / LIST, json.dumps(told))
        self.last = time.monotonic()


def stacked(rankings: Sequence[Ranking]) -> Ranking:
    """Returns one ranking of the queries of several, which differ in width by their last tie groups."""
    width = max(ranking.ids_QW.shape[1] for ranking in rankings)

    def wide(name: str, pad: float) -> np.ndarray:
        arrays = [getattr(ranking, name) for ranking in rankings]
        return np.concatenate([np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=pad) for a in arrays])

    return Ranking(wide("ids_QW", PAD), wide("scores_QW", -np.inf), wide("group_QW", PAD), rankings[0].k)
