"""Batches on a real SLURM: daemons, scheduler, signals and accounting are those of Debian's packages."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from benchmarks.batch import status as batch_status
from benchmarks.batch import submission
from benchmarks.batch.batch import named
from benchmarks.stages import Store
from slurm import accounting, launch
from slurm.profile import Profile
from tests.slurm.made import (
    ALL_OF_IT,
    ALL_OF_TABLE_3,
    CHEAP,
    PROFILE,
    SCRIPT,
    asking,
    command,
    ended,
    measured,
    request,
    stage,
    states,
    submitted,
    wait_for,
)

pytestmark = pytest.mark.slow


def test_an_array_of_eight_runs_after_what_it_needs(cluster, store):
    first = stage("first")
    cells = {f"cell{number}": stage(f"part{number}", first, seconds=3, number=number) for number in range(8)}
    batch = submitted(store, **cells)
    jobs = {name: state.job for name, state in states(batch, store).items()}
    assert len({job.partition("_")[0] for job in jobs.values()}) == 2
    assert {jobs[f"part{number}"].partition("_")[2] for number in range(8)} == {str(number) for number in range(8)}
    found = ended(batch, store)
    assert {state.state for state in found.values()} == {"done"}
    reports = {each.name: store.report(each) for each in (first, *cells.values())}
    times = {name: record["report"] for name, record in reports.items()}
    assert all(times["first"]["end"] < times[f"part{number}"]["begin"] for number in range(8))
    assert max(times[f"part{number}"]["begin"] for number in range(8)) < min(times[f"part{number}"]["end"] for number in range(8)) + 30
    record = reports["part3"]
    assert record["environment"]["scheduler"]["array_task_id"] == "3"
    assert (
        record["environment"]["git"]["commit"]
        == subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    )
    assert record["report"]["OMP_NUM_THREADS"] == "1"
    assert record["report"]["PYTHONPATH"].startswith(str(batch.folder / "code"))
    assert record["peak_memory_bytes"] > 10**7 and "joules" in record


def test_gpus_are_shared_out(cluster, store):
    """The devices are copies of /dev/null: who is given which of them is SLURM's own work."""
    profile = asking("gpu", gpus=1)
    cells = {f"cell{number}": stage(f"part{number}", seconds=2, number=number) for number in range(4)}
    batch = submitted(store, profile, **cells)
    assert {state.state for state in ended(batch, store).values()} == {"done"}
    reports = [store.report(each)["report"] for each in cells.values()]
    assert {report["CUDA_VISIBLE_DEVICES"] for report in reports} == {"0", "1"}
    at_once = [sum(other["begin"] <= report["begin"] < other["end"] for other in reports) for report in reports]
    assert max(at_once) <= 2


def test_what_fails_stops_only_what_needs_it_and_is_mended_by_resubmit(cluster, store, tmp_path):
    """A task fails, one is killed -9, one takes more memory than it asked for; beside them, a cell is whole."""
    mended = tmp_path / "mended"
    bad = stage("bad", fails_unless=str(mended))
    behind = stage("behind", bad)
    batch = submitted(
        store,
        broken=behind,
        fine=stage("fine", stage("before")),
        shot=stage("shot", signal=signal.SIGKILL),
        hungry=stage("hungry", gigabytes=2, seconds=20),
    )
    found = ended(batch, store)
    assert {name: state.state for name, state in found.items()} == {
        "bad": "failed", "behind": "blocked", "before": "done", "fine": "done", "shot": "failed", "hungry": "out of memory",
    }  # fmt: skip
    assert found["bad"].detail == "RuntimeError: on purpose"
    assert found["behind"].detail == f"bad {bad.key} is not there"
    assert found["shot"].detail.startswith("failed, killed by signal 9")
    done = command(store, "status")
    assert done.returncode == 1
    assert "3 failed" not in done.stdout and "2 done, 2 failed, 1 out of memory, 1 blocked of 6 stages" in done.stdout
    done = command(store, "logs", "broken")
    assert "RuntimeError: on purpose" in done.stdout and "Traceback" in done.stdout
    mended.touch()
    done = command(store, "resubmit", "--failed", "--profile", "one-node")
    assert done.returncode == 0, done.stderr
    assert "4 stages" in done.stdout
    found = wait_for(lambda: (all_ := states(batch, store))["behind"].state == "done" and all_)
    assert found["fine"].job == states(batch, store)["fine"].job
    command(store, "cancel")


def test_a_time_limit_is_survived_with_the_numbers_of_an_uninterrupted_run(cluster, store, tmp_path):
    from tests.methods.made_up import SETTINGS, stage_inputs

    stage_inputs(tmp_path / "inputs")
    settings = SETTINGS.model_copy(update={"epochs": 9}).model_dump(mode="json", exclude=set(SETTINGS.HOW))
    given = {"generator": settings, "pictures_of": [], "folder": str(tmp_path / "inputs")}

    def training(pause):
        return stage("generator", does="train", resumes=True, how={"checkpoint_minutes": 60}, pause=pause, **given)

    batch = submitted(store, asking("gpu", memory_gb=2).model_copy(update={"notice_seconds": 40}), cell=training(1.0))
    job = states(batch, store)["generator"].job
    plain = Store(tmp_path / "plain")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the job has: with more, sums are rounded in another order
    folder = plain.run(training(0.0))
    torch.set_num_threads(threads)
    wait_for(lambda: re.search(r"generator [2-5]\d %", states(batch, store)["generator"].detail))
    minutes = int(subprocess.run(["squeue", "-h", "-j", job, "-o", "%M"], capture_output=True, text=True).stdout.split(":")[0])
    subprocess.run(["scontrol", "update", f"jobid={job}", f"timelimit={minutes + 1}"], check=True)
    again = wait_for(lambda: (state := states(batch, store)["generator"]).state == "pending" and state)
    assert "put back into the queue" in again.detail
    assert list(store.root.glob("generator/.*/unfinished/*/checkpoint.json"))
    subprocess.run(["scontrol", "update", f"jobid={job}", "timelimit=10"], check=True)
    assert ended(batch, store)["generator"].state == "done"
    record = store.report(training(1.0))
    assert record["resumed"] and int(record["environment"]["scheduler"]["restart_count"]) >= 1
    with np.load(store.folder(training(1.0)) / "losses.npz") as found, np.load(folder / "losses.npz") as wanted:
        assert len(wanted["generative"]) == 54
        np.testing.assert_array_equal(found["generative"], wanted["generative"])
    assert record["report"]["curve"] == plain.report(training(0.0))["report"]["curve"]


def test_a_pre_empted_job_goes_on_where_it_was(cluster, store):
    spare = PROFILE.model_copy(update={"partition": "spare"})
    counting = stage("steps", does="steps", resumes=True, steps=120)
    batch = submitted(store, spare, cell=counting)
    wait_for(lambda: list(store.root.glob("steps/.*/unfinished/runs.txt")))
    time.sleep(2)
    everything = Profile(classes={"gpu": {**CHEAP, "cpus": 8}})
    other = submitted(store, everything, urgent=stage("urgent", seconds=1))
    assert ended(other, store)["urgent"].state == "done"
    assert ended(batch, store)["steps"].state == "done"
    runs = store.report(counting)["report"]["runs"]
    assert len(runs) == 2 and runs[0] == 0 and runs[1] > 10
    begun = store.report(stage("urgent", seconds=1))["report"]["begin"]
    assert store.report(counting)["started"] > time.strftime("%Y-%m-%dT%H:%M", time.gmtime(begun))


def test_a_job_of_a_lost_node_goes_back_and_ends_when_the_node_is_there_again(cluster, store):
    """The node's daemon and all of the job's processes die at once, as when a machine loses its power."""
    cell = stage("cell", seconds=15)
    batch = submitted(store, cell=cell)
    wait_for(lambda: "cell" in states(batch, store)["cell"].detail)
    for process in (["-x", "slurmd"], ["-x", "slurmstepd"], ["-f", "submitit.core._submit"]):
        subprocess.run(["pkill", "-9", *process], check=True)
    assert not store.done(cell)
    found = wait_for(lambda: (state := states(batch, store)["cell"]).state == "pending" and state)
    assert "put back into the queue" in found.detail
    subprocess.run([SCRIPT, "up"], check=True)
    assert ended(batch, store)["cell"].state == "done"
    assert int(store.report(cell)["environment"]["scheduler"]["restart_count"]) >= 1


def test_cancel_keeps_what_is_done_and_says_so(cluster, store):
    batch = submitted(
        store, cell=stage("long", stage("short"), seconds=100), other=stage("behind", stage("long", stage("short"), seconds=100))
    )
    wait_for(lambda: states(batch, store)["long"].state == "running")
    assert wait_for(lambda: re.search(r"long \d+ %, about .* left", states(batch, store)["long"].detail))
    done = command(store, "cancel")
    assert "2 stages" in done.stdout, done.stderr
    found = ended(batch, store)
    assert {name: state.state for name, state in found.items()} == {"short": "done", "long": "cancelled", "behind": "cancelled"}


def test_a_killed_submitter_leaves_a_batch_that_others_see(cluster, store):
    """Killed right after the first array: what was not submitted is said to be missing, and resubmit submits it."""
    source = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from benchmarks.stages import Store\n"
        "from slurm import launch\n"
        "from tests.slurm.made import stage, submitted\n"
        "submit, calls = launch.submit, []\n"
        "def then_die(*given):\n"
        "    if calls: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    calls.append(1)\n"
        "    return submit(*given)\n"
        "launch.submit = then_die\n"
        f"submitted(Store(Path({str(store.root)!r})), cell=stage('behind', stage('first')))\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    batch = named(store, None)
    wait_for(lambda: states(batch, store)["first"].state == "done")
    assert "was not submitted" in command(store, "status").stdout
    done = command(store, "resubmit", "--failed", "--profile", "one-node")
    assert "1 stages" in done.stdout, done.stderr
    assert ended(batch, store)["behind"].state == "done"


def test_two_submissions_at_once_do_the_work_once(cluster, store):
    shared = stage("shared", seconds=3)
    left, right = stage("left", shared), stage("right", shared)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda cells: submitted(Store(store.root), **cells), ({"left": left}, {"left": left, "right": right}))
    for batch in (first, second):
        assert {state.state for state in ended(batch, store).values()} == {"done"}
    jobs = [states(batch, store) for batch in (first, second)]
    assert jobs[0]["shared"].job == jobs[1]["shared"].job
    assert jobs[0]["left"].job == jobs[1]["left"].job
    assert submission.to_slurm([request(left=left, right=right)], store, PROFILE) is None


def test_two_tasks_of_a_job_share_a_training(cluster, store, tmp_path):
    from tests.methods.made_up import SETTINGS, stage_inputs

    stage_inputs(tmp_path / "inputs")
    settings = SETTINGS.model_copy(update={"epochs": 1}).model_dump(mode="json", exclude=set(SETTINGS.HOW))
    given = {"generator": settings, "pictures_of": [], "folder": str(tmp_path / "inputs"), "pause": 0.0}
    profile = asking("gpus", memory_gb=4)
    shared = stage("generator", does="train", resumes=True, how={"processes": 0}, **given)
    alone = stage("generator", does="train", resumes=True, **given)
    plain = Store(tmp_path / "plain")
    plain.run(alone)
    batch = submitted(store, profile, cell=shared)
    assert ended(batch, store)["generator"].state == "done", ended(batch, store)
    report = store.report(shared)["report"]
    assert report["processes"] == 2 and report["ranks"] == "2"
    with np.load(store.folder(shared) / "losses.npz") as found, np.load(plain.folder(alone) / "losses.npz") as wanted:
        np.testing.assert_allclose(found["generative"], wanted["generative"], rtol=2e-3)


def test_without_sacct_it_is_said_and_goes_on(cluster, store, tmp_path, monkeypatch):
    """As where no slurmdbd runs: sacct says that accounting is disabled."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sacct").write_text("#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n")
    (tmp_path / "bin" / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    batch = submitted(store, fine=stage("fine"), shot=stage("shot", signal=signal.SIGKILL), long=stage("long", seconds=60))
    found = wait_for(lambda: (all_ := states(batch, store))["shot"].state == "failed" and all_["fine"].state == "done" and all_)
    assert found["shot"].detail.startswith("failed, killed by signal 9")
    status = batch_status.status(batch, store)
    assert status.complaints == (accounting.DEGRADED.format("Slurm accounting storage is disabled"),)
    assert "long" in command(store, "status").stdout
    command(store, "cancel")
    assert ended(batch, store)["long"].state == "cancelled"


def test_a_drained_node_is_the_reason(cluster, store):
    subprocess.run(["scontrol", "update", f"nodename={cluster}", "state=drain", "reason=test"], check=True)
    try:
        batch = submitted(store, cell=stage("waits"))
        found = wait_for(lambda: (state := states(batch, store)["waits"]).detail not in ("", "None", "Priority") and state)
        assert found.state == "pending"
        assert re.search(r"DRAINED|ReqNodeNotAvail", found.detail), found.detail
    finally:
        subprocess.run(["scontrol", "update", f"nodename={cluster}", "state=resume"], check=True)
    assert ended(batch, store)["waits"].state == "done"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"classes": {"gpu": {**CHEAP, "gpus": 3}}}, "Requested node configuration is not available"),
        ({"sbatch": {"no-such-option": 1}}, "no-such-option"),
    ],
)
def test_what_slurm_refuses_is_said_in_its_words(cluster, store, change, words):
    with pytest.raises(ValueError, match=words):
        submission.to_slurm([request(cell=stage("behind", stage("first")))], store, Profile(**change))
    queue = subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True).stdout
    assert "made-" not in queue
    assert launch.largest_array() == 1000


@pytest.mark.parametrize("given", [ALL_OF_TABLE_3, pytest.param(ALL_OF_IT, marks=pytest.mark.whole)], ids=["table3", "all"])
def test_tables_on_slurm_are_the_tables_inline(cluster, given, tmp_path, tiny_features):
    inline, batch = tmp_path / "inline", tmp_path / "batch"
    for folder in (inline, batch):
        shutil.copytree(tiny_features, folder / "store")
    done = command(inline / "store", *given, timeout=1200, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    done = command(batch / "store", *given, "--executor", "slurm", "--profile", "one-node")
    assert done.returncode == 0, done.stderr
    stages = re.search(r"(\d+) stages", done.stdout)[1]
    watched = command(batch / "store", "status", "--watch", "--every", "3", timeout=2400)
    assert watched.returncode == 0, watched.stdout[-3000:]
    assert f"{stages} done of {stages} stages" in watched.stdout
    assert command(batch / "store", "collect").returncode == 0
    assert measured(batch) == measured(inline) != {}
