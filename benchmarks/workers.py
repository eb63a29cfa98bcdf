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
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from pathlib import Path

from benchmarks.batch import job as batch_job
from benchmarks.environment import cores
from benchmarks.stages import StageFailed, Store
from methods.machine import free_memory
from methods.stage import Stage

MOST = 4
"""Processes that are begun unasked on processors: each holds a model and a data set's features in memory."""
WAITING = 0.8
"""The part of what is left that must wait for a stage to let it run alone."""
Made = tuple[float, str, str, bool]
"""Of a stage: its seconds, or why it failed, where its traceback is, and whether the user's data are at fault."""
KILLED = "its process was killed, perhaps for want of memory"


def usual() -> int:
    """Returns how many processes this machine is given unasked: one a GPU, else one a core, up to `MOST`."""
    from methods.machine import gpus

    return len(gpus()) or min(cores(), MOST)


class Slots:
    """Processes that compute one stage each at a time, with one GPU each where there are several.

    Each is a pool of its own: one that is killed takes no other with it, and is begun anew.
    """

    def __init__(self, count: int):
        self.free = list(range(count))
        self.devices = _devices()
        self._pools: dict[int | None, ProcessPoolExecutor] = {}

    def begin(self, place: int | None, root: Path, stage: Stage, threads: int, jobs: Path | None) -> Future[Made]:
        """Computes a stage in a free place, or, where None, with all GPUs."""
        try:
            return self._pool(place).submit(_made, root, stage, threads, jobs)
        except BrokenProcessPool:  # killed while it had nothing to do
            self.replace(place)
            return self._pool(place).submit(_made, root, stage, threads, jobs)

    def _pool(self, place: int | None) -> ProcessPoolExecutor:
        if place not in self._pools:
            several = len(self.devices) > 1 and place is not None
            device = self.devices[place % len(self.devices)] if several else None  # type: ignore[operator]
            # spawn: a fork of a process with threads may hang
            self._pools[place] = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(device,))
        return self._pools[place]

    def replace(self, place: int | None) -> None:
        self._pools.pop(place).shutdown(wait=False)

    def close(self, at_once: bool) -> None:
        if at_once:  # interrupted: nobody waits for minutes of work
            for child in multiprocessing.active_children():
                child.terminate()
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)


def compute(stages: Sequence[Stage], store: Store, jobs: int, watched: Path | None = None) -> Iterator[Stage]:
    """Yields stages as they are finished, longest way to the end first. What a failed one holds up is left out; `store` knows why.

    Args:
        stages: what is missing, as `Store.plan` gives it.
        jobs: stages at once; one whose work all GPUs share runs alone.
        watched: folder in which each stage notes how far it is, and keeps what it printed (`batch/job.py`).

    Raises:
        UserError: if the disk is full.
    """
    left = {stage.key: stage for stage in stages}
    ahead = _ways(stages, store)
    running: dict[Future[Made], tuple[Stage, int | None]] = {}
    threads = int(os.environ.get("OMP_NUM_THREADS") or cores())
    slots = Slots(jobs)
    try:
        while left or running:
            ready = [stage for stage in left.values() if not any(before.key in ahead for before in stage.inputs.values())]
            begun = sorted(ready, key=lambda stage: -ahead[stage.key])[: jobs - len(running)]
            if any(_alone(stage, ahead, stages) or place is None for stage, place in running.values()):
                begun = []
            elif begun and (_alone(begun[0], ahead, stages) or _shared(begun[0], slots)):
                begun = begun[:1] if not running else []
            else:
                begun = [stage for stage in begun if not _shared(stage, slots)]
            # one that begins alone has all threads; one that joins others later has its part, and what is timed has that always
            share = max(threads // max(len(running) + len(begun), 1), 1)
            for stage in begun:
                del left[stage.key]
                store.progress.begin(stage)
                place = None if _shared(stage, slots) else slots.free.pop(0)
                timed = stage.name == "ranking"
                running[slots.begin(place, store.root, stage, max(threads // jobs, 1) if timed else share, watched)] = stage, place
            if not running:
                return  # what is left waits for what failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                stage, place = running.pop(future)
                if place is not None:
                    slots.free.append(place)
                try:
                    seconds, cause, path, of_data = future.result()
                except BrokenProcessPool:
                    slots.replace(place)
                    cause, path, of_data = KILLED, str(store.note_traceback(stage, KILLED)), False
                    if watched is not None:
                        batch_job.note(watched, stage, str(os.getpid()), "failed", cause, path)
                if cause:
                    store.note_failure(StageFailed(stage, cause, Path(path), of_data))
                    continue
                del ahead[stage.key]
                store.made.add(stage.key)
                store.progress.end(stage, seconds)
                yield stage
    finally:
        slots.close(at_once=bool(running))


def _devices() -> list[str]:
    """Returns the GPUs that are visible, as CUDA_VISIBLE_DEVICES names them."""
    from methods.machine import gpus

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(index) for index in range(len(gpus()))]


def _shared(stage: Stage, slots: Slots) -> bool:
    return stage.how.get("processes", 1) != 1 and len(slots.devices) > 1


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


def _begin(device: str | None) -> None:
    """Readies a process: it has one GPU where there are several, and it ends when the one that began it does, killed perhaps."""
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _made(root: Path, stage: Stage, threads: int, watched: Path | None) -> Made:
    """Makes a stage in this process."""
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["OMP_NUM_THREADS"] = str(threads)  # what torch, where it is still to be imported, begins with
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    store = Store(root)
    try:
        if watched is None:
            store.run(stage)
        else:
            with _printing_to(watched / f"{stage.key}.log"):
                batch_job.run(store, stage, watched, str(os.getppid()))
    except StageFailed as failed:
        return 0.0, failed.cause, str(failed.path), failed.of_data
    finally:
        free_memory()  # a training that shares all GPUs may be next
    return store.report(stage)["seconds"], "", "", False


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Sends what this process and those that it begins print into a file."""
    kept = os.dup(1), os.dup(2)
    with path.open("a") as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    try:
        yield
    finally:
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
