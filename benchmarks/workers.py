"""Computes stages on several processes at once, each with its part of the processor's threads.

Two trainings of one thread are done sooner than two of two threads one after the other: small products do not divide well.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from pathlib import Path

from benchmarks.environment import cores
from benchmarks.seal import UserError
from benchmarks.stages import StageFailed, Store
from methods.stage import Stage

MOST = 4
"""Processes that are begun unasked: each holds a model and a data set's features in memory."""
WAITING = 0.8
"""The part of what is left that must wait for a stage to let it run alone."""


def usual() -> int:
    """Returns how many processes this machine is given unasked: one with a GPU, else one a core, up to `MOST`."""
    from methods.machine import gpus

    return 1 if gpus() else min(cores(), MOST)


def compute(stages: Sequence[Stage], store: Store, jobs: int) -> Iterator[Stage]:
    """Yields stages as they are finished, longest way to the end first. What a failed one holds up is left out; `store` knows why.

    Args:
        stages: what is missing, as `Store.plan` gives it.

    Raises:
        UserError: if the disk is full.
    """
    left = {stage.key: stage for stage in stages}
    ahead = _ways(stages, store)
    running: dict[Future[tuple[float, str, str]], Stage] = {}
    threads = int(os.environ.get("OMP_NUM_THREADS") or cores())
    # spawn: a fork of a process with threads may hang
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    try:
        while left or running:
            ready = [stage for stage in left.values() if not any(before.key in ahead for before in stage.inputs.values())]
            begun = sorted(ready, key=lambda stage: -ahead[stage.key])[: jobs - len(running)]
            if any(_alone(stage, ahead, stages) for stage in running.values()):
                begun = []
            elif begun and not running and _alone(begun[0], ahead, stages):
                begun = begun[:1]
            # one that begins alone has all threads; one that joins others later has its part
            share = max(threads // max(len(running) + len(begun), 1), 1)
            for stage in begun:
                del left[stage.key]
                store.progress.begin(stage)
                running[pool.submit(_made, store.root, stage, share)] = stage
            if not running:
                return  # what is left waits for what failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                stage = running.pop(future)
                try:
                    seconds, cause, path = future.result()
                except BrokenProcessPool:
                    raise UserError("a process was killed, perhaps for want of memory: run again with --jobs 1") from None
                if cause:
                    store.note_failure(StageFailed(stage, cause, Path(path)))
                    continue
                del ahead[stage.key]
                store.made.add(stage.key)
                store.progress.end(stage, seconds)
                yield stage
    finally:
        if running:  # interrupted: nobody waits for minutes of work
            for child in multiprocessing.active_children():
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _alone(stage: Stage, ahead: Mapping[str, float], stages: Sequence[Stage]) -> bool:
    """Says whether nearly all that is left waits for a stage, so that it had better have all threads."""
    others = [other for other in stages if other.key in ahead and other.key != stage.key]
    return sum(any(before.key == stage.key for before in other.ancestors()) for other in others) >= WAITING * max(len(others), 1)


def _ways(stages: Sequence[Stage], store: Store) -> dict[str, float]:
    """Returns the seconds that are expected from each stage's beginning to the end of the longest way on from it."""
    after: dict[str, float] = {}
    for stage in reversed(stages):
        ahead = store.durations.expected(stage) + after.get(stage.key, 0.0)
        after[stage.key] = ahead
        for before in stage.inputs.values():
            after[before.key] = max(after.get(before.key, 0.0), ahead)
    return {stage.key: after[stage.key] for stage in stages}


def _end_with_parent() -> None:
    """Sees to it that this process ends when the one that began it does, killed perhaps: else it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _made(root: Path, stage: Stage, threads: int) -> tuple[float, str, str]:
    """Makes a stage in this process; returns its seconds, or why it failed and where its traceback is."""
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["OMP_NUM_THREADS"] = str(threads)  # what torch, where it is still to be imported, begins with
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    store = Store(root)
    try:
        store.run(stage)
    except StageFailed as failed:
        return 0.0, failed.cause, str(failed.path)
    return store.report(stage)["seconds"], "", ""
