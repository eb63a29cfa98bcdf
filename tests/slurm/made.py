"""Batches of made-up cells whose stages take seconds, and how tests wait for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.batch import status as batch_status
from benchmarks.batch import submission
from benchmarks.batch.batch import Batch, Request
from benchmarks.cells import CellPlan
from benchmarks.spec import Column, Row, Table
from benchmarks.stages import Store
from benchmarks.tables import TABLES
from methods.data import Exposure
from methods.stage import Stage
from slurm.profile import Profile

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "slurm" / "cluster" / "one_node.sh"
WORK = "tests.slurm.work"
ALL_OF_TABLE_3 = ("all", "--tiny", "--tables", "table3", "--results", "results")
ALL_OF_IT = ("all", "--tiny", "--tables", ",".join(name for name in TABLES if name.startswith("table")), "--results", "results")
TIMED = "table2"
"""Shows seconds, which no two runs share."""
CHEAP = {"cpus": 1, "memory_gb": 1, "minutes": 10, "gpus": 0}
PROFILE = Profile(parallel=8, notice_seconds=20, classes={"cpu": CHEAP, "gpu": CHEAP, "gpus": {**CHEAP, "processes": 2}})


def stage(name: str, *inputs: Stage, does: str = "note", resumes: bool = False, how=None, **config) -> Stage:
    """A stage whose work is a function of `work.py`."""
    return Stage(name, f"{WORK}:{does}", {"name": name, **config}, {each.name: each for each in inputs}, resumes=resumes, how=how or {})


def request(**cells: Stage) -> Request:
    """A table whose rows end in these stages; each reads the first stage behind it as its data."""
    rows = {key.replace("_", "-"): ranking for key, ranking in cells.items()}
    same = {"dataset": "made", "protocol": "clean", "seed": 0, "split": "test", "depth": 10, "settings": {}, "knobs": {}}
    plans = [
        CellPlan(row=Row(key=key, label=key, method=key), exposure=Exposure(), data=next(last.ancestors()), ranking=last, **same)
        for key, last in rows.items()
    ]
    columns = (Column(key="R@1", label="R@1", k=1),)
    table = Table(name="made", caption="", columns=columns, rows=[plan.row for plan in plans], reported={})
    return Request(table=table, datasets=("made",), protocol="clean", plans=tuple(plans), results=None)


def asking(kind: str, **changes) -> Profile:
    """A profile of which one cost class asks for something else."""
    classes = PROFILE.classes.model_copy(update={kind: getattr(PROFILE.classes, kind).model_copy(update=changes)})
    return PROFILE.model_copy(update={"classes": classes})


def submitted(store: Store, profile: Profile = PROFILE, **cells: Stage) -> Batch:
    batch = submission.to_slurm([request(**cells)], store, profile)
    assert batch is not None
    return batch


def states(batch: Batch, store: Store) -> dict[str, batch_status.State]:
    return {state.name: state for state in batch_status.status(batch, Store(store.root)).states}


def wait_for(what, seconds: float = 300.0):
    """Returns the first true value of a function, asked again and again."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        time.sleep(0.5)
    return found


def ended(batch: Batch, store: Store, seconds: float = 400.0) -> dict[str, batch_status.State]:
    """Waits until nothing of a batch waits or runs, and returns how its stages ended."""
    wait_for(lambda: not any(state.state in ("running", "pending") for state in states(batch, store).values()), seconds)
    return states(batch, store)


def command(store: Store | Path, *arguments: str, timeout: float = 300.0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the suite in a process of its own, beside the store."""
    root = store.root if isinstance(store, Store) else store
    given = [sys.executable, "-m", "benchmarks.run", *arguments, "--store", str(root)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1", **variables}
    return subprocess.run(given, cwd=root.parent, env=environment, capture_output=True, text=True, timeout=timeout)


def measured(folder: Path) -> dict[str, object]:
    """Returns the files of all tables that show no seconds, and what every cell measured, by name."""
    results = folder / "results" / "openmoji-scenes-tiny"
    found: dict[str, object] = {path.name: path.read_bytes() for path in results.glob("table*") if path.stem != TIMED}
    for path in results.glob("runs/*.json"):
        cell = json.loads(path.read_text())
        found[path.name] = {name: cell[name] for name in ("metrics", "outcomes")}
    return found
