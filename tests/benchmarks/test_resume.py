"""A stage that resumes: an interrupted run keeps what it needs to go on, a finished one leaves none of it."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace

import pytest

from benchmarks import stages
from benchmarks.seal import fault
from benchmarks.stages import Store
from benchmarks.user_error import UserError
from methods.stage import UNFINISHED, Stage, run_in

WORK = '''
def count(config, inputs, out):
    """Needs three runs: each but the last is interrupted, and keeps how far it came."""
    kept = out / "unfinished" / "steps.txt"
    steps = int(kept.read_text()) + 1 if kept.exists() else 1
    (out / "half.txt").write_text(str(steps))
    if steps < config["runs"]:
        kept.write_text(str(steps))
        raise KeyboardInterrupt
    return {"steps": steps, "files": sorted(path.name for path in out.iterdir())}

def stop(config, inputs, out):
    (out / "half.txt").write_text("half")
    raise KeyboardInterrupt
'''


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    (tmp_path / "resuming_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "resuming_work", raising=False)


def counting(runs: int) -> Stage:
    return Stage("count", "resuming_work:count", {"runs": runs}, resumes=True)


def test_it_finds_what_an_interrupted_run_kept(tmp_path):
    root, stage = tmp_path / "store", counting(runs=3)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            Store(root).run(stage)
        assert not Store(root).done(stage)
    store = Store(root)
    folder = store.run(stage)
    assert store.report(stage)["report"] == {"steps": 3, "files": ["half.txt", UNFINISHED]}
    assert store.report(stage)["resumed"]
    assert store.durations.expected(stage) == Store(tmp_path / "new").durations.expected(stage), "the last part is not the whole's time"
    assert not (folder / UNFINISHED).exists()
    assert [path.name for path in folder.parent.iterdir()] == [stage.key]


def test_what_goes_wrong_when_it_is_kept_costs_none_of_the_work(tmp_path, monkeypatch):
    """The disk is full when hashes are written, after the last step: the checkpoints are still there."""
    root, stage = tmp_path / "store", counting(runs=3)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            Store(root).run(stage)

    def full(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(stages, "seal", full)
        with pytest.raises(UserError, match="no space left"):
            Store(root).run(stage)
    assert [path.read_text() for path in root.glob(f"count/.*/{UNFINISHED}/steps.txt")] == ["2"]
    store = Store(root)
    folder = store.run(stage)
    assert store.report(stage)["report"]["steps"] == 3 and store.report(stage)["resumed"]
    assert list(store.report(stage)["files"]) == ["half.txt"]
    assert [path.name for path in folder.parent.iterdir()] == [stage.key]
    assert not (folder / UNFINISHED).exists()


def test_an_interrupted_run_that_kept_nothing_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "store").run(Stage("stop", "resuming_work:stop", {}, resumes=True))
    assert list((tmp_path / "store" / "stop").iterdir()) == []


def test_what_a_run_that_was_killed_at_its_very_end_left_does_no_harm(tmp_path):
    root, stage = tmp_path / "store", counting(runs=1)
    folder = Store(root).run(stage)
    (folder / UNFINISHED).mkdir()
    (folder / UNFINISHED / "steps.txt").write_text("1")
    assert fault(folder, deep=True) is None
    store = Store(root)
    assert store.run(stage) == folder and not store.made
    assert not (folder / UNFINISHED).exists(), "it may be gigabytes"


def test_without_a_store_it_runs_too(tmp_path):
    folder = run_in(tmp_path / "stages")(counting(runs=1))
    assert [path.name for path in folder.iterdir()] == ["half.txt"]


def test_resuming_is_no_part_of_a_stages_meaning():
    stage = counting(runs=1)
    assert replace(stage, resumes=False).key == stage.key
