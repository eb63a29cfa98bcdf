"""The queue of `--executor local`: a process that computes a batch's stages on this machine, and holds a lock as long as it lives."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from benchmarks import workers
from benchmarks.batch import job as batch_job
from benchmarks.batch.batch import FOLDER, Batch
from benchmarks.stages import Store

LOCK = "queue.lock"


def alive(batch: Batch) -> bool:
    """Says whether the batch's queue is at work."""
    try:
        with FileLock(batch.folder / LOCK).acquire(timeout=0):
            return False
    except Timeout:
        return True


def main(root: Path, name: str, slots: int) -> None:
    """Computes what is missing of a batch; what fails or is killed holds up only what needs it."""
    os.setsid()  # its terminal may be closed, and `cancel` ends it with all that it begins
    store = Store(root)
    batch = Batch(store.root / FOLDER / name)
    with FileLock(batch.folder / LOCK):
        stages = batch.stages()
        mine = str(os.getpid())
        while not (keys := [key for key, stage in batch.record()["stages"].items() if mine in stage["jobs"]]):
            time.sleep(0.1)  # whoever began this process has not written it down yet
        todo = store.plan(stages[key] for key in keys)
        for _ in workers.compute(todo, store, slots or workers.usual(), batch.jobs):
            pass
        for stage in todo:
            if why := batch_job.unmet(store, stage):
                batch_job.note(batch.jobs, stage, mine, "blocked", why)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
