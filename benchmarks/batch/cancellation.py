"""Ends what a batch has waiting or running, but not what another batch waits for too."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from benchmarks.batch.batch import Batch, batches, submitting
from benchmarks.batch.status import ACTIVE, Status
from benchmarks.stages import Store
from slurm import launch

PATIENCE = 20.0
"""Seconds in which the local queue ends after it was asked to; then it is killed."""


def cancel(batch: Batch, store: Store, found: Status) -> tuple[int, int]:
    """Returns how many stages were cancelled, and how many go on for other batches."""
    active = [state for state in found.states if state.state in ACTIVE]
    with submitting(store):
        record = batch.record()
        others: set[str] = set()
        if record["executor"] == "slurm":
            for other in batches(store):
                theirs = other.record()
                if other.id != batch.id and theirs["cancelled"] is None:
                    others |= {stage["jobs"][-1] for stage in theirs["stages"].values() if stage["jobs"]}
            launch.cancel([state.job for state in active if state.job not in others])
        elif active:
            _end_queue(batch, int(active[0].job))
        record["cancelled"] = time.time()
        batch.write(record)
    kept = sum(state.job in others for state in active)
    return len(active) - kept, kept


def _end_queue(batch: Batch, process: int) -> None:
    from benchmarks.batch.queue import alive

    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            if alive(batch):
                os.killpg(process, number)
        end = time.monotonic() + PATIENCE
        while alive(batch) and time.monotonic() < end:
            time.sleep(0.1)
