"""The queue on this machine: it outlives the command, and answers to the same verbs."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from benchmarks import workers
from benchmarks.batch import submission
from benchmarks.batch.batch import Batch
from benchmarks.stages import Store
from tests.slurm.made import ALL_OF_TABLE_3, command, ended, measured, request, stage, states, wait_for

pytestmark = pytest.mark.slow


def queued(store, slots=2, **cells) -> Batch:
    batch = submission.to_queue([request(**cells)], store, slots)
    assert batch is not None
    return batch


def test_it_fails_blocks_and_goes_on_and_is_mended_by_resubmit(store, tmp_path):
    bad = stage("bad", fails_unless=str(tmp_path / "mended"))
    batch = queued(store, broken=stage("behind", bad), fine=stage("fine", stage("before")), shot=stage("shot", signal=signal.SIGKILL))
    found = ended(batch, store)
    assert {name: state.state for name, state in found.items()} == {
        "bad": "failed", "behind": "blocked", "before": "done", "fine": "done", "shot": "failed",
    }  # fmt: skip
    assert found["bad"].detail == "RuntimeError: on purpose"
    assert found["shot"].detail == workers.KILLED
    assert "Traceback" in command(store, "logs", "broken").stdout
    (tmp_path / "mended").touch()
    assert "3 stages" in command(store, "resubmit", "--failed").stdout
    found = ended(batch, store)
    assert {name: found[name].state for name in ("bad", "behind", "shot")} == {"bad": "done", "behind": "done", "shot": "failed"}
    assert store.report(bad)["report"]["file"].startswith(str(submission.PROJECT / "tests"))


def test_cancel_ends_it_and_a_killed_queue_is_lost(store):
    batch = queued(store, cell=stage("long", stage("short"), seconds=100))
    wait_for(lambda: states(batch, store)["long"].detail.startswith("here, long"))
    assert "1 stages" in command(store, "cancel").stdout
    assert {name: state.state for name, state in states(batch, store).items()} == {"short": "done", "long": "cancelled"}
    assert command(store, "resubmit", "--failed").returncode == 0
    wait_for(lambda: states(batch, store)["long"].state == "running")
    done = command(store, "resubmit", "--failed")
    assert "nothing" in done.stdout
    os.killpg(int(states(batch, store)["long"].job), signal.SIGKILL)
    found = wait_for(lambda: (state := states(batch, store)["long"]).state == "lost" and state)
    assert found.detail == "the queue's process is gone"


def test_each_place_has_a_gpu_and_what_all_share_runs_alone(store, monkeypatch):
    """Two GPUs are named; nobody computes on them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    left, right = stage("left", seconds=8), stage("right", seconds=8)
    both = stage("both", how={"processes": 0})
    done = list(workers.compute(store.plan([left, right, both]), store, 2))
    reports = {each.name: store.report(each)["report"] for each in done}
    assert {reports["left"]["CUDA_VISIBLE_DEVICES"], reports["right"]["CUDA_VISIBLE_DEVICES"]} == {"4", "7"}
    assert reports["both"]["CUDA_VISIBLE_DEVICES"] == "4,7"
    assert all(
        reports["both"]["end"] <= reports[name]["begin"] or reports[name]["end"] <= reports["both"]["begin"] for name in ("left", "right")
    )


@pytest.fixture(scope="module")
def inline(tmp_path_factory, tiny_features):
    """The folder of Table 3 as one process makes it."""
    folder = tmp_path_factory.mktemp("inline")
    shutil.copytree(tiny_features, folder / "store")
    done = command(folder / "store", *ALL_OF_TABLE_3, timeout=600, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_collect_marks_what_is_missing_and_keeps_it(inline, tmp_path):
    """A batch of the local queue, cancelled before all of it is made; finished stages are those of the inline run."""
    shutil.copytree(inline, tmp_path, dirs_exist_ok=True)
    store = Store(tmp_path / "store")
    for path in (store.root / "ranking").iterdir():
        shutil.rmtree(path)
    done = command(store, *ALL_OF_TABLE_3, "--executor", "local", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: " done" in command(store, "status").stdout)
    assert "cancelled" in command(store, "cancel").stdout
    done = command(store, "collect")
    assert done.returncode == 1 and "are not done" in done.stdout
    assert command(store, "resubmit", "--failed").returncode == 0
    assert command(store, "status", "--watch", "--every", "1", timeout=300).returncode == 0
    assert command(store, "collect").returncode == 0
    assert measured(tmp_path) == measured(inline) != {}
