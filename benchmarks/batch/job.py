"""One stage of a batch, where it is computed: says that it lives, how far it is, and how it ended, in the batch's folder.

JOBS/KEY.json   {"job", "host", "process", "time", "state": running, done, failed, blocked or stopped, "cause", "where"}, touched while
                it lives
JOBS/KEY.beat   how far it is (`methods/fitting/heartbeat.py`)
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.stages import StageFailed, Store
from methods.files.durable import write_atomically
from methods.fitting.heartbeat import HEARTBEAT_FILE
from methods.stage import Stage

ALIVE = 10.0
"""Seconds between two signs of life."""


class Blocked(RuntimeError):
    """A stage's inputs are not there."""


def run(store: Store, stage: Stage, jobs: Path, job: str) -> Path:
    """Returns the folder of a stage that was made here, and of no other: inputs that are not there are somebody else's to make.

    Raises:
        Blocked: names what is missing.
        StageFailed, UserError: as `Store.run`.
    """
    said = partial(note, jobs, stage, job)
    said("running")
    try:
        if why := unmet(store, stage):
            raise Blocked(why)
        with _signs_of_life(jobs / f"{stage.key}.json"), _heartbeat(jobs / f"{stage.key}.beat"):
            folder = store.run(stage)
    except StageFailed as failed:
        said("failed", failed.cause, str(failed.path))
        raise
    except Blocked as blocked:
        said("blocked", str(blocked))
        raise
    except Exception as error:
        (where := jobs / f"{stage.key}.txt").write_text(traceback.format_exc())
        said("failed", f"{type(error).__name__}: {error}", str(where))
        raise
    except BaseException as error:  # a notice of the end, or the end itself
        said("stopped", type(error).__name__)
        raise
    said("done")
    return folder


def unmet(store: Store, stage: Stage) -> str:
    """Returns which inputs of a stage are not there; nothing if all are."""
    missing = [f"{before.name} {before.key}" for before in stage.inputs.values() if not store.done(before)]
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not there" if missing else ""


def note(jobs: Path, stage: Stage, job: str, state: str, cause: str = "", where: str = "") -> None:
    """Notes a stage's state in a batch's folder of jobs."""
    here = {"job": job, "host": socket.gethostname(), "process": os.getpid(), "time": time.time()}
    noted = {**here, "state": state, "cause": " ".join(cause.split()), "where": where}
    write_atomically(jobs / f"{stage.key}.json", json.dumps(noted) + "\n")


@contextmanager
def _signs_of_life(path: Path) -> Iterator[None]:
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(ALIVE):
            try:
                os.utime(path)
            except OSError:  # the batch's folder may be deleted at any time
                return

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _heartbeat(path: Path) -> Iterator[None]:
    path.unlink(missing_ok=True)
    os.environ[HEARTBEAT_FILE] = str(path)
    try:
        yield
    finally:
        del os.environ[HEARTBEAT_FILE]


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """What a SLURM job calls: one stage, in a store and a batch's folder of jobs that all nodes see."""

    store: Path
    stage: Stage
    jobs: Path

    def __call__(self) -> str:
        from submitit import JobEnvironment

        tasks = self._tasks()
        os.environ.update(tasks)
        try:
            return str(run(Store(self.store), self.stage, self.jobs, JobEnvironment().job_id))
        finally:
            if tasks:  # the others wait for work, of which there was none where the stage is done already
                from methods.fitting.processes import dismiss

                dismiss()

    def follow(self) -> None:
        """Does what the tasks of a job besides the first do: their share of a training."""
        from methods.fitting.processes import follow

        os.environ.update(self._tasks())
        follow()

    def _tasks(self) -> Mapping[str, str]:
        """Returns the variables by which the tasks of a job find each other; none for a job of one task."""
        if int(os.environ.get("SLURM_NTASKS", "1")) == 1:
            return {}
        from methods.fitting.processes import TASKS_FOLDER

        attempt = f"{self.stage.key}-{os.environ['SLURM_JOB_ID']}-{os.environ.get('SLURM_RESTART_COUNT', '0')}"
        return {TASKS_FOLDER: str(self.jobs / attempt)}


def shared(stage: Stage, processes: int) -> Stage:
    """Returns the stage, computed by so many processes: no part of its key."""
    return replace(stage, how={**stage.how, "processes": processes})
