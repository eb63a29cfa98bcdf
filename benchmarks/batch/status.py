"""How the stages of a batch stand: from the store, from what the jobs noted, and from SLURM, so that any terminal sees the same."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.batch.batch import Batch
from benchmarks.stages import Store
from slurm import accounting, launch

SILENT = 300.0
"""Seconds without a sign of life after which a running job is said to be silent."""
ACTIVE = ("running", "pending", "unknown")
ORDER = ("done", *ACTIVE, "failed", "out of memory", "timed out", "lost node", "lost", "cancelled", "blocked")
BAD = frozenset({"failed", "out of memory", "timed out", "lost node", "lost", "cancelled", "blocked"})
SAID = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "timed out",
    "OUT_OF_MEMORY": "out of memory",
    "NODE_FAIL": "lost node",
    "BOOT_FAIL": "lost node",
    "PREEMPTED": "lost node",
}


@dataclass(frozen=True)
class State:
    """How one stage stands; `where` is a file that says more."""

    key: str
    name: str
    cells: tuple[str, ...]
    job: str
    state: str
    detail: str = ""
    where: str = ""


@dataclass(frozen=True)
class Status:
    states: list[State]
    complaints: tuple[str, ...]

    @property
    def bad(self) -> list[State]:
        return [state for state in self.states if state.state in BAD]

    @property
    def active(self) -> bool:
        return any(state.state in ACTIVE for state in self.states)

    def failures(self) -> dict[str, str]:
        """Returns where the traceback or log of each stage is that failed, by key."""
        return {state.key: state.where for state in self.bad if state.where}


def status(batch: Batch, store: Store) -> Status:
    """Returns how a batch stands."""
    record, stages = batch.record(), batch.stages()
    of_slurm = record["executor"] == "slurm"
    last = {key: stage["jobs"][-1] for key, stage in record["stages"].items() if stage["jobs"]}
    answer = accounting.ask(list(dict.fromkeys(last.values()))) if of_slurm else accounting.Answer({})
    at_work = not of_slurm and _queue_lives(batch)
    found = []
    for key, stage in record["stages"].items():
        said = partial(State, key, stage["name"], tuple(stage["cells"]), last.get(key, ""))
        if store.done(stages[key]):
            found.append(said("done", f"{store.report(stages[key])['seconds']:.0f} s"))
        elif key not in last:
            found.append(said("lost", "was not submitted"))
        elif of_slurm:
            found.append(said(*_in_slurm(batch, key, last[key], answer)))
        else:
            found.append(said(*_in_queue(batch, key, last[key], at_work, record["cancelled"] is not None)))
    return Status(found, answer.complaints)


def _in_slurm(batch: Batch, key: str, job_id: str, answer: accounting.Answer) -> tuple[str, str, str]:
    job, noted = answer.jobs.get(job_id), _noted(batch, key, job_id)
    _, errors = launch.logs(batch.logs, job_id)
    if job is not None and job.waits:
        again = ", put back into the queue" if noted else ""
        return "pending", f"{job.reason}{again}", ""
    if job is not None and job.runs:
        return "running", _progress(batch, key, noted, f"on {job.node}, {job.elapsed}" if job.elapsed else f"on {job.node}"), ""
    if noted and noted["state"] in ("failed", "blocked"):
        return noted["state"], noted["cause"], noted["where"]
    where = str(errors) if errors.exists() else ""
    if job is None:
        age = f"last sign of life {_age(batch, key)} ago" if noted else "no sign of life"
        if answer.unknown:
            return "unknown", f"SLURM does not answer, {age}", where
        return "lost", f"SLURM does not know its job, {age}", where
    ended = job.state.partition("+")[0]
    if ended in SAID:
        return SAID[ended], job.reason if job.reason not in ("", "None") else ended.lower(), where
    if said := _memory(errors):
        return "out of memory", said, where
    return "failed", f"{ended.lower()}, {_exit(job.exit)}{_last_words(errors)}", where


def _in_queue(batch: Batch, key: str, job: str, at_work: bool, cancelled: bool) -> tuple[str, str, str]:
    noted, log = _noted(batch, key, job), batch.jobs / f"{key}.log"
    if noted and noted["state"] in ("failed", "blocked"):
        return noted["state"], noted["cause"], noted["where"]
    if at_work:
        return ("running", _progress(batch, key, noted, "here"), "") if noted else ("pending", "waits for its inputs or a free place", "")
    where = str(log) if log.exists() else str(batch.folder / "queue.log")
    return ("cancelled", "", where) if cancelled else ("lost", "the queue's process is gone", where)


def _noted(batch: Batch, key: str, job: str) -> dict[str, Any] | None:
    """Returns what the last run of a stage noted, if that was this job's."""
    found = _read(batch.jobs / f"{key}.json")
    return found if found is not None and found["job"] == job else None


def _progress(batch: Batch, key: str, noted: Mapping[str, Any] | None, where: str) -> str:
    parts = [where]
    beat = _read(batch.jobs / f"{key}.beat")
    if noted and beat and beat["time"] >= noted["time"]:
        parts.append(f"{beat['what']} {100 * beat['done'] / beat['total']:.0f} %")
        done, seconds = beat["done"] - beat["began_at"], beat["time"] - beat["began"]
        if done and seconds:
            parts.append(f"about {_length((beat['total'] - beat['done']) * seconds / done)} left")
    if noted and time.time() - (batch.jobs / f"{key}.json").stat().st_mtime > SILENT:
        parts.append(f"no sign of life for {_age(batch, key)}")
    return ", ".join(parts)


def _age(batch: Batch, key: str) -> str:
    return _length(time.time() - (batch.jobs / f"{key}.json").stat().st_mtime)


def _length(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _exit(said: str) -> str:
    code, _, number = said.partition(":")
    # srun tells a signal as 128 and more, or as the code itself
    killed = number not in ("", "0") or code in ("9", "137")
    return f"killed by signal {number if number not in ('', '0') else 9}" if killed else f"exit code {code or 'unknown'}"


def _memory(path: Path) -> str:
    """Returns the line in which SLURM says that a job took more memory than it asked for: without cgroups its state is FAILED."""
    try:
        found = re.search(r"^.*(exceeded memory limit|oom.kill).*$", path.read_text(errors="replace"), re.MULTILINE | re.IGNORECASE)
    except OSError:
        return ""
    return found[0].partition("error: ")[2] or found[0] if found else ""


def _last_words(path: Path) -> str:
    """Returns the last line that a job wrote on its standard error."""
    try:
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return f": {lines[-1]}" if lines else ""


def _queue_lives(batch: Batch) -> bool:
    from benchmarks.batch.queue import alive

    return alive(batch)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def text(batch: Batch, found: Status) -> str:
    """Returns a status as a table for people."""
    from tabulate import tabulate

    lines = []
    for state in found.states:
        cells = ", ".join(state.cells) if len(state.cells) <= 2 else f"{len(state.cells)} cells"
        lines.append([state.name, cells, state.job, state.state, state.detail[:100]])
    counts = Counter(state.state for state in found.states)
    total = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
    parts = [*found.complaints, tabulate(lines, ["stage", "cells", "job", "state", ""], disable_numparse=True)]
    return "\n".join([*parts, f"{batch.id}: {total} of {len(found.states)} stages"])
