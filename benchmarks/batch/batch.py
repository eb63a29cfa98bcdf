"""A batch: tables whose missing stages were handed to a job system, and all that is needed to watch, mend and collect them later.

STORE/batches/ID/
    batch.json      what was submitted, as below
    requests.pkl    the tables and their cells
    code/, code-2/  the code that runs, as it was when it was submitted (again)
    jobs/           what the jobs note of themselves (`job.py`)
    slurm/          submitit's scripts, pickles and logs

{"format": 1, "executor": "slurm", "created": seconds, "cancelled": seconds or null,
 "stages": {KEY: {"name", "cells": [...], "inputs": [KEY, ...], "kind", "jobs": [ID, ...]}}}
The last of a stage's jobs is the one that counts. One that another batch had submitted already is taken over from there.
"""

from __future__ import annotations

import fcntl
import json
import pickle
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks import campaign
from benchmarks.cells import CellPlan
from benchmarks.overrides import Given
from benchmarks.spec import Table
from benchmarks.stages import Store
from benchmarks.user_error import UserError
from methods.files.durable import write_atomically
from methods.stage import Stage

FOLDER, RECORD, REQUESTS = "batches", "batch.json", "requests.pkl"
KINDS = ("cpu", "gpu", "gpus")
WITHOUT_GPU = frozenset({"data", "model", "codes"})
"""Stages that a GPU would not speed up. An index is none: it is made by a method with its models loaded, and BLIP's reads the pictures."""
NO_MODEL = frozenset({"data", "index", "ranking"})
"""Where nothing else is behind a stage, no model is: a random order, and the ideal matcher's."""
COPIED = "methods.blip:prepare"
"""What fetches a published BLIP, of the name of the stage that trains one."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A table that was asked for, with its cells; `results` is None where nothing is to be written.

    `tiny`, `varied` and `base` say how the cells were planned, as `results_folder.refuse_mixing` asks it.
    """

    table: Table
    datasets: tuple[str, ...]
    protocol: str
    plans: tuple[CellPlan, ...]
    results: Path | None
    tiny: bool = False
    varied: bool = False
    base: Given = field(default_factory=dict)


def kind_of(stage: Stage) -> str:
    """Returns a stage's cost class: `cpu`, `gpu`, or `gpus` for a training that several share."""
    if stage.how.get("processes", 1) != 1:
        return "gpus"
    without = stage.name in WITHOUT_GPU or stage.function == COPIED or NO_MODEL.issuperset(each.name for each in stage.ancestors())
    return "cpu" if without else "gpu"


@dataclass(frozen=True)
class Group:
    """Stages of one cost class that may run at the same time, after those of earlier groups; all go on after an interruption, or none."""

    kind: str
    level: int
    stages: tuple[Stage, ...]

    @property
    def resumes(self) -> bool:
        return self.stages[0].resumes

    @property
    def name(self) -> str:
        names = list(dict.fromkeys(stage.name for stage in self.stages))
        return f"{names[0]}{'-and-more' if len(names) > 1 else ''}-{self.kind}-{self.level}"


def grouped(missing: Sequence[Stage], largest: int) -> list[Group]:
    """Returns missing stages in groups of at most `largest`, each after those that it needs: by the longest way to what is there."""
    level: dict[str, int] = {}
    for stage in missing:  # inputs come first
        level[stage.key] = 1 + max((level[before.key] for before in stage.inputs.values() if before.key in level), default=-1)
    groups = []
    for number in range(max(level.values(), default=-1) + 1):
        for kind, resumes in product(KINDS, (True, False)):
            alike = [stage for stage in missing if (level[stage.key], kind_of(stage), stage.resumes) == (number, kind, resumes)]
            groups += [Group(kind, number, tuple(alike[first : first + largest])) for first in range(0, len(alike), largest)]
    return groups


class Batch:
    """One batch's folder."""

    def __init__(self, folder: Path):
        self.folder, self.id = folder, folder.name

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    @property
    def logs(self) -> Path:
        return self.folder / "slurm"

    def record(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / RECORD).read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{self.folder / RECORD} cannot be read ({error}): delete that folder and submit again") from error

    def write(self, record: dict[str, Any]) -> None:
        write_atomically(self.folder / RECORD, json.dumps(record, indent=1) + "\n")

    def requests(self) -> list[Request]:
        path = self.folder / REQUESTS
        try:
            return pickle.loads(path.read_bytes())
        except Exception as error:  # of damaged bytes a pickle makes any call, and any error
            raise UserError(f"{path} cannot be read ({error}): delete that folder and submit again") from error

    def plans(self) -> list[CellPlan]:
        return [plan for request in self.requests() for plan in request.plans]

    def stages(self) -> dict[str, Stage]:
        """Returns every stage behind the batch's cells by key, inputs first."""
        return {stage.key: stage for plan in self.plans() for last in (plan.data, plan.ranking) for stage in last.ancestors()}

    def add(self, stages: Sequence[Stage]) -> None:
        """Writes down stages that were done when the batch was submitted and are no longer, as if they had been missing then."""
        record = self.record()
        self.write({**record, "stages": {**self.described(stages), **record["stages"]}})

    def described(self, stages: Sequence[Stage]) -> dict[str, dict[str, Any]]:
        """Returns what the record says of stages that no job has yet, by key."""
        cells: dict[str, list[str]] = {}
        plans = self.plans()
        several = len({plan.dataset for plan in plans}) > 1
        for plan in plans:
            cell = plan.row.key + (f"-seed{plan.seed}" if plan.seed else "") + (f"@{plan.dataset}" if several else "")
            for key in {each.key: each for last in (plan.data, plan.ranking) for each in last.ancestors()}:
                cells.setdefault(key, []).append(cell)
        return {
            stage.key: {
                "name": stage.name,
                "cells": list(dict.fromkeys(cells[stage.key])),
                "inputs": [before.key for before in stage.inputs.values()],
                "kind": kind_of(stage),
                "jobs": [],
            }
            for stage in stages
        }

    def new_code(self) -> Path:
        """Returns a new copy of the code."""
        from benchmarks.batch.snapshot import take

        number = len(list(self.folder.glob("code*"))) + 1
        return take(self.folder / ("code" if number == 1 else f"code-{number}"))


def create(requests: Sequence[Request], store: Store, executor: str, missing: Sequence[Stage]) -> Batch:
    """Returns a new batch of the missing stages of some tables; nothing is submitted yet."""
    tables = list(dict.fromkeys(request.table.name for request in requests))
    name = f"{tables[0] if len(tables) == 1 else 'all'}-{time.strftime('%m%d-%H%M%S')}"
    folder, number = store.root / FOLDER / name, 1
    while True:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
            folder = folder.with_name(f"{name}-{number}")
    batch = Batch(folder)
    batch.jobs.mkdir()
    batch.logs.mkdir()
    (folder / REQUESTS).write_bytes(pickle.dumps(list(requests)))
    stages = batch.described(missing)
    batch.write({"format": 1, "executor": executor, "created": time.time(), "cancelled": None, "stages": stages})
    return batch


def batches(store: Store) -> list[Batch]:
    """Returns a store's batches, oldest first."""
    found = [Batch(path.parent) for path in (store.root / FOLDER).glob(f"*/{RECORD}")]
    return sorted(found, key=lambda batch: (batch.record()["created"], batch.id))


def named(store: Store, name: str | None) -> Batch:
    """Returns the batch of this name, the newest where none is given.

    Raises:
        ValueError: if there is none; lists those there are.
    """
    found = batches(store)
    if not found:
        raise UserError(f"{store.root} holds no batch: submit one with --executor slurm or local, or name another folder with --store")
    if name is None:
        return found[-1]
    for batch in found:
        if batch.id == name:
            return batch
    from methods.spelling import suggestion

    raise UserError(f"unknown batch {name!r}: {suggestion(name, [batch.id for batch in found])}")


@contextmanager
def submitting(store: Store) -> Iterator[None]:
    """Lets one process at a time submit into a store, so that each sees what the others have submitted.

    Raises:
        UserError: if the store's file system has no locks: jobs could not keep out of each other's way either.
    """
    folder = store.root / FOLDER
    with store.disk_errors():
        folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # somebody else has it: they work
        except OSError as error:
            raise UserError(
                f"{store.root} lies on a file system without locks ({error.strerror}), so that jobs would do the same work twice: "
                "name another folder with --store"
            ) from error
    with FileLock(folder / "lock"):
        yield


def missing_of(requests: Sequence[Request], store: Store) -> list[Stage]:
    """Returns the stages that are left to do for some tables, inputs first."""
    return campaign.missing([plan for request in requests for plan in request.plans], store)
