"""Runs stages once and keeps what they made: `ROOT/NAME/KEY/`, sealed; failures' tracebacks in `ROOT/failed/`.

Under every key stands a lock, so that two processes never do the same work twice. A stage writes to a temporary folder beside its final
one and is renamed when whole. A result is checked before it is used; a damaged one is named, removed and made again.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmarks import energy
from benchmarks.datasets import FILES
from benchmarks.environment import environment, forget_peak_memory, git, peak_memory
from benchmarks.progress import Bar, Durations, Progress
from benchmarks.seal import fault, move_into_place, read_record, seal
from benchmarks.user_error import UserError
from methods.machine import free_memory
from methods.pictures import PictureError
from methods.reads import recording
from methods.stage import UNFINISHED, Stage

log = logging.getLogger("vokenbench")

DEFAULT_ROOT = Path(".vokenbench")
FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
RESUMED = "-resumed"
ROOM = 2**20  # bytes; with less than this left on the disk, an error while writing is taken for a full disk


class StageFailed(RuntimeError):
    """A stage's function raised. `path` holds the traceback.

    Args:
        of_data: whether the user's data are at fault; then `cause` is the line that names what and the remedy.
    """

    def __init__(self, stage: Stage, cause: str, path: Path, of_data: bool = False):
        super().__init__(f"stage {stage.name} {stage.key} failed: {cause} (traceback: {path})")
        self.stage, self.cause, self.path, self.of_data = stage, cause, path, of_data


class Store:
    """A folder of finished stages.

    Args:
        root: made if it is not there.
        progress: is told which stage begins and ends.

    `made` holds the keys of the stages that this process computed.

    Raises:
        UserError: if the folder cannot be made or written to.
    """

    def __init__(self, root: Path = DEFAULT_ROOT, progress: Progress | None = None):
        self.root = Path(root).resolve()
        self.progress = progress or Progress()
        self._trusted: set[str] = set()  # keys of results that this process made or hashed in full
        self._failed: dict[str, StageFailed] = {}
        self.made: set[str] = set()
        with self.disk_errors():
            for folder in ("locks", "failed"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root).close()
        self.durations = Durations(self.root / "durations.json")
        self._remove_leftovers()

    def folder(self, stage: Stage) -> Path:
        return self.root / stage.name / stage.key

    def done(self, stage: Stage) -> bool:
        """Says whether the stage's result is there and whole; touches nothing."""
        return stage.key in self._trusted or (self.folder(stage).is_dir() and fault(self.folder(stage), deep=False) is None)

    def damaged(self, stage: Stage) -> bool:
        """Says whether something stands in the result's place that must not be used."""
        return self.folder(stage).is_dir() and not self.done(stage)

    def report(self, stage: Stage) -> dict[str, Any]:
        """Returns the record of a finished stage: name, key, config, input keys, report, reads, seconds, peak memory, environment, lineage.

        `lineage` holds the same of all stages behind this one, as they were when it was made: enough to say how a result came to be,
        though the stages before it be gone.
        """
        return read_record(self.folder(stage))

    def plan(self, stages: Iterable[Stage]) -> list[Stage]:
        """Returns what is left to do for these stages, inputs first. An input counts only if something that is missing needs it, or if
        it is damaged."""
        wanted = {stage.key: stage for stage in stages}
        missing: dict[str, Stage] = {}
        seen: dict[str, bool] = {}

        def visit(stage: Stage, needed: bool) -> None:
            if stage.key in seen and seen[stage.key] >= needed:
                return
            seen[stage.key] = needed
            todo = self.damaged(stage) or (needed and not self.done(stage))
            for before in stage.inputs.values():
                visit(before, needed=todo)
            if todo:
                missing.setdefault(stage.key, stage)

        for stage in wanted.values():
            visit(stage, needed=True)
        return list(missing.values())

    def run(self, stage: Stage) -> Path:
        """Makes sure that a stage and what it needs are done, and returns its folder.

        Raises:
            StageFailed: if its function, or that of a stage before it, raised; again at once when asked again in this process.
            UserError: if there is no room on the disk. What was finished is kept.
        """
        for missing in self.plan([stage]):
            self._make(missing)
        return self._whole(stage)

    def run_all(self, wanted: Sequence[Stage]) -> list[Path]:
        """Returns the folders of finished stages, in order; a bar shows how far those are that have to be made. Raises as `run` does."""
        self.progress = bar = Bar(self.plan(wanted), self.durations)
        try:
            return [self.run(stage) for stage in wanted]
        finally:
            bar.close()

    def note_failure(self, failed: StageFailed) -> None:
        """Takes note that another process failed at a stage: it is not tried again in this one."""
        self._failed[failed.stage.key] = failed

    def _whole(self, stage: Stage) -> Path:
        """Returns the folder of a finished stage, hashed in full once per process, made again if that shows damage."""
        if stage.key not in self._trusted and not (self.folder(stage).is_dir() and fault(self.folder(stage), deep=True) is None):
            self._make(stage)
        self._trusted.add(stage.key)
        return self.folder(stage)

    def _make(self, stage: Stage) -> None:
        if stage.key in self._failed:
            raise self._failed[stage.key]
        try:
            # Before the lock is taken: a process that waits for one lock while it holds another could wait for ever.
            inputs = {name: self._whole(before) for name, before in stage.inputs.items()}
            with self.disk_errors(), self._locked(stage):
                folder = self.folder(stage)
                damage = fault(folder, deep=True) if folder.is_dir() else None
                if damage:
                    log.warning("%s: %s; rebuilding", folder, damage)
                    shutil.rmtree(folder)
                if not folder.is_dir():
                    self._compute(stage, inputs)
        except StageFailed as failed:
            self._failed[stage.key] = failed
            raise
        self._trusted.add(stage.key)

    def _compute(self, stage: Stage, inputs: dict[str, Path]) -> None:
        final = self.folder(stage)
        final.parent.mkdir(exist_ok=True)
        out = self._workplace(stage)
        if resumed := _holds_work(out):
            self.progress.say(f"{stage.name}: goes on where an interrupted run stopped")
        git()  # remembered from here on: the code that runs is the code before, not after, minutes of work
        self.progress.begin(stage)
        started, start = datetime.now(UTC), time.perf_counter()
        forget_peak_memory()
        meters = energy.joules()
        try:
            with recording(inputs) as reads:
                report = stage(inputs, out)
            seconds = round(time.perf_counter() - start, 3)
            record = {
                "name": stage.name,
                "key": stage.key,
                "function": stage.function,
                "version": stage.version,
                "config": dict(stage.config),
                "how": dict(stage.how),
                "inputs": {name: before.key for name, before in stage.inputs.items()},
                "report": report,
                "reads": reads.as_dict(),
                "resumed": resumed,  # then seconds, memory and commit are those of the last run alone
                "seconds": seconds,
                "peak_memory_bytes": peak_memory(),
                "joules": energy.spent(meters, energy.joules()),  # by meter, of the whole device
                "started": started.isoformat(timespec="seconds"),
                "environment": environment(),
            }
            seal(out, {**record, "lineage": self._lineage(stage)})
            move_into_place(out, final)
            # not before: until then an interruption or a full disk would cost the whole work
            shutil.rmtree(final / UNFINISHED, ignore_errors=True)
        except Exception as error:
            if _disk_is_full(error, self.root):
                raise UserError(self._no_room()) from error
            raise self._failure(stage, error) from error
        finally:
            if stage.resumes:
                free_memory()  # trainings are among these
            if not _holds_work(out):
                shutil.rmtree(out, ignore_errors=True)
        self.made.add(stage.key)
        if not resumed:
            self.durations.remember(stage, seconds)
        self.progress.end(stage, seconds)

    def _workplace(self, stage: Stage) -> Path:
        """Returns the temporary folder of a stage: new and empty, or, for one that resumes, with what an interrupted run kept."""
        final = self.folder(stage)
        if not stage.resumes:
            out = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{stage.key}-"))
            out.chmod(0o755)  # mkdtemp makes private folders; results are shared ones
            return out
        out = final.with_name(f".{stage.key}{RESUMED}")
        out.mkdir(exist_ok=True)
        for path in out.iterdir():
            if path.name != UNFINISHED:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return out

    def _lineage(self, stage: Stage) -> dict[str, Any]:
        behind: dict[str, Any] = {}
        for before in stage.inputs.values():
            record = self.report(before)
            behind |= record.pop("lineage")
            del record["files"]
            behind[before.key] = record
        return behind

    def note_traceback(self, stage: Stage, text: str) -> Path:
        """Returns the file in which it keeps why a stage failed."""
        path = self.root / "failed" / f"{stage.name}-{stage.key}.txt"
        path.write_text(text)
        return path

    def _failure(self, stage: Stage, error: Exception) -> StageFailed:
        path = self.note_traceback(stage, "".join(traceback.format_exception(error)))
        if isinstance(error, UserError):
            return StageFailed(stage, str(error), path, of_data=True)
        if told := _fault_of_data(stage, error):
            return StageFailed(stage, told, path, of_data=True)
        return StageFailed(stage, f"{type(error).__name__}: {error}", path)

    @contextmanager
    def _locked(self, stage: Stage) -> Iterator[None]:
        lock = FileLock(self.root / "locks" / f"{stage.name}-{stage.key}")
        try:
            lock.acquire(timeout=0.2)
        except Timeout:
            self.progress.say(f"{stage.name}: another process is making it; waiting")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise UserError(self._no_room()) from error
            if error.errno in FORBIDDEN:
                raise UserError(f"cannot write to {self.root} ({error.strerror}): name another folder with --store") from error
            raise

    def _no_room(self) -> str:
        # of a quota, and of what failed elsewhere, the store's disk knows nothing
        full = shutil.disk_usage(self.root).free < ROOM
        where = f"{self.root}" if full else f"{self.root}, or in {tempfile.gettempdir()} (TMPDIR) where temporary files lie"
        return f"no space left in {where}: free some, or name another folder with --store; finished stages are kept"

    def _remove_leftovers(self) -> None:
        """Removes what killed processes left half-written; a folder whose lock is held belongs to a living one."""
        for kept in self.root.glob(f"*/[!.]*/{UNFINISHED}"):  # in a result that stands in its place, nobody needs it
            shutil.rmtree(kept, ignore_errors=True)
        for folder in self.root.glob("*/.*-*"):
            if folder.name.endswith(RESUMED):
                continue
            lock = FileLock(self.root / "locks" / f"{folder.parent.name}-{folder.name[1:].partition('-')[0]}")
            try:
                with lock.acquire(timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                continue


def _holds_work(out: Path) -> bool:
    """Says whether an unfinished stage's folder holds something to go on from."""
    # what begins with a dot was being written when a process was killed
    return (out / UNFINISHED).is_dir() and any(not path.name.startswith(".") for path in (out / UNFINISHED).iterdir())


def _fault_of_data(stage: Stage, error: BaseException | None) -> str:
    """Returns the line about a picture of the user's that cannot be had, if that is behind an error; else nothing."""
    dataset = next((before.config["name"] for before in stage.ancestors() if before.function == FILES), None)
    while dataset and error is not None:
        if isinstance(error, PictureError):
            return f"{error}: replace it, or take it out of the annotations; `verify-data --dataset {dataset}` lists all such"
        error = error.__cause__ or error.__context__
    return ""


def _disk_is_full(error: BaseException | None, root: Path) -> bool:
    """Looks for ENOSPC behind an error: libraries that write in Rust or C++ raise their own kinds, so that the disk is asked as well."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in FULL) or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return shutil.disk_usage(root).free < ROOM
