"""What a batch is made of: groups, scripts, and mistakes that are told before anything is submitted. Needs no SLURM."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from time import sleep

import pytest

from benchmarks.batch import batch, submission
from benchmarks.batch import status as batch_status
from benchmarks.batch.batch import Batch, Group, grouped, kind_of
from benchmarks.batch.job import StageJob, note
from benchmarks.cells import cell_stages
from benchmarks.run import main
from benchmarks.speed import efficiency_report
from benchmarks.stages import Store
from benchmarks.tables.table1 import TABLE1
from benchmarks.tables.table2 import TABLE2
from benchmarks.user_error import UserError
from methods.fitting.processes import TASKS_FOLDER
from methods.needs import Need
from methods.stage import Stage
from slurm import accounting, launch
from slurm.profile import Profile, read_profile
from tests.benchmarks.made_evidence import speed_record
from tests.slurm.made import ROOT, command, request, stage

GOLDEN = Path(__file__).parent / "golden"


def test_stages_are_grouped_by_class_and_depth_and_cut_to_the_largest_array():
    data = stage("data")
    parts = [stage(f"part{number}", data, number=number) for number in range(5)]
    codes = stage("codes", data)
    shared = stage("last", parts[0], codes, how={"processes": 0})
    groups = grouped([data, *parts, codes, shared], 2)
    assert [(group.kind, group.level, len(group.stages)) for group in groups] == [
        ("cpu", 0, 1), ("cpu", 1, 1), ("gpu", 1, 2), ("gpu", 1, 2), ("gpu", 1, 1), ("gpus", 2, 1),
    ]  # fmt: skip
    assert [each for group in groups for each in group.stages if group.kind == "gpu"] == parts
    trained = stage("generator", resumes=True)
    assert [group.stages for group in grouped([parts[0], trained], 2)] == [(trained,), (parts[0],)]
    assert groups[-1].name == "last-gpus-2"
    assert grouped([shared], 2)[0].level == 0, "what is there already is waited for by nobody"


@pytest.mark.parametrize(("resumes", "allowed", "restarts"), [(True, 20, 20), (False, 20, 1), (False, 0, 0)])
def test_what_begins_anew_goes_back_into_the_queue_once(store, resumes, allowed, restarts):
    group = Group("gpu", 0, (stage("part", resumes=resumes),))
    assert (
        submission._order(Batch(store.root / "batches" / "one"), group, Path("/code"), Profile(restarts=allowed), {}).restarts == restarts
    )


def test_other_tasks_of_a_job_are_dismissed_where_its_stage_is_done(store, tmp_path, monkeypatch):
    """A job that is put back into the queue just after its stage was kept: the first task has nothing to hand over."""
    for name, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", TASKS_FOLDER: ""}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "jobs").mkdir()
    job = StageJob(store=store.root, stage=(done := stage("part")), jobs=tmp_path / "jobs")
    store.run(done)
    other = threading.Thread(target=job.follow, daemon=True)
    other.start()
    assert job() == str(store.folder(done))
    other.join(timeout=30)
    assert not other.is_alive()


def test_a_training_of_several_processes_has_a_class_of_its_own():
    assert [kind_of(stage(name, how=how)) for name, how in (("data", {}), ("generator", {}), ("generator", {"processes": 4}))] == [
        "cpu", "gpu", "gpus",
    ]  # fmt: skip
    blips = [Stage("blip", f"methods.{function}", {}) for function in ("blip:prepare", "blip_training:train")]
    assert [kind_of(each) for each in blips] == ["cpu", "gpu"], "a copy of a published one, and a training"
    cells = {row.key: cell_stages(row, "openmoji-scenes", "clean", seed=0) for row in TABLE1.rows}
    classes = {key: [kind_of(each) for each in cell.ranking.ancestors()] for key, cell in cells.items()}
    assert classes["random"] == ["cpu"] * 3 and classes["scene-facts"] == ["cpu"] * 2, "no model is behind them"
    assert classes["clip"][-2:] == ["gpu"] * 2
    one, four = stage("generator", how={"processes": 1}), stage("generator", how={"processes": 4})
    assert kind_of(one) == "gpu" and one.key == four.key


@pytest.mark.parametrize(
    ("profile", "kind", "count"), [("generic", "gpu", 8), ("generic", "gpus", 1), ("apptainer", "gpu", 1), ("one-node", "cpu", 3)]
)
def test_the_scripts_are_those_that_were_read_by_a_person(profile, kind, count):
    stated = read_profile(Path(profile))
    order = launch.Order(
        name="table1-generator-gpu-6",
        resources=getattr(stated.classes, kind),
        folder=Path("/store/code"),
        logs=Path("/store/slurm"),
        restarts=0,
        after=("12", "15"),
        variables={"PYTHONPATH": "/store/code${PYTHONPATH:+:$PYTHONPATH}"},
    )
    text = launch.script(count, order, stated).replace(sys.executable, "PYTHON")
    path = GOLDEN / f"{profile}-{kind}.sh"
    if "WRITE_GOLDEN" in os.environ:
        path.write_text(text)
    assert text == path.read_text()


def test_a_dry_run_prints_scripts_graph_and_estimate_and_submits_nothing(tmp_path):
    """Where no SLURM is installed, too."""
    arguments = ["table1", "--tiny", "--rows", "avg,random", "--executor", "slurm", "--profile", "generic", "--dry-run"]
    done = command(tmp_path / "store", *arguments, PATH="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("#!/bin/bash") == 11
    assert "#SBATCH --gpus-per-node=1" in done.stdout and "#SBATCH --signal=USR2@120" in done.stdout
    assert "generator-gpu-6_0" in done.stdout and "after" in done.stdout
    assert "11 stages in 11 arrays and jobs" in done.stdout and "GPU-hours" in done.stdout
    assert not (tmp_path / "store" / "batches").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1", "--tiny", "--executor", "slurm"], "no sbatch on PATH: submit on a login node of the cluster, or take --executor local"),
        (["table1", "--tiny", "--executor", "slurm", "--profile", "mine.toml"], "profile mine.toml cannot be read (No such file"),
        (["table1", "--tiny", "--executor", "cloud"], "'cloud' is not one of 'inline', 'local', 'slurm'"),
        (["status"], "holds no batch: submit one with --executor slurm or local"),
        (["resubmit"], "Missing option '--failed'"),
    ],
)
def test_a_mistake_gets_one_line_and_code_2(tmp_path, arguments, message):
    done = command(tmp_path / "store", *arguments, PATH="/nonexistent")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_shared_is_named(tmp_path):
    store = Store(tmp_path / "store")
    (store.root / "batches").touch()
    done = command(store, "table1", "--tiny", "--rows", "random", "--executor", "slurm")
    assert done.returncode == 2
    assert "batches (File exists): name another folder with --store, one that all nodes share" in done.stderr


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    """flock answers as NFS does that was mounted without locks."""

    def unsupported(*given):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    refused = pytest.raises(UserError, match=r"file system without locks \(No locks available.*name another folder with --store")
    with refused, batch.submitting(Store(tmp_path / "store")):
        pytest.fail("it would have been submitted")


def test_nobody_knows_of_no_jobs():
    assert accounting.ask([]).jobs == {}


def submitted(store: Store, last: Stage, *jobs: str) -> batch.Batch:
    """A batch of one stage, which had these jobs."""
    made = batch.create([request(cell=last)], store, "slurm", [last])
    record = made.record()
    record["stages"][last.key]["jobs"] += jobs
    made.write(record)
    return made


def test_a_job_of_an_old_batch_is_waited_for_where_a_newer_ones_ended(tmp_path, monkeypatch):
    """The old batch's stage was submitted again, behind the newer batch's."""
    store, last = Store(tmp_path / "store"), stage("last")
    submitted(store, last, "1", "3")
    newer = submitted(store, last, "2")
    ended = "JobID|State|ExitCode|NodeList|Elapsed|Reason\n2|FAILED|1:0|a|00:01|None\n"
    answers = {"squeue": ("3|RUNNING|None|a|0:01\n", ""), "sacct": (ended, "")}
    monkeypatch.setattr(accounting, "_run", lambda command, *rest: answers[command])
    assert batch.batches(store)[-1].id == newer.id
    assert submission.running(store) == {last.key: "3"}


def test_nothing_is_submitted_while_squeue_does_not_answer(tmp_path, monkeypatch):
    store, last = Store(tmp_path / "store"), stage("last")
    monkeypatch.setattr(launch, "check_commands", lambda: None)
    monkeypatch.setattr(launch, "submit", lambda *given: pytest.fail("it would have run twice"))
    monkeypatch.setattr(accounting, "_run", lambda *command: ("", "Unable to contact slurm controller"))
    old = submitted(store, last, "1")
    refused = r"squeue does not answer \(Unable to contact slurm controller\), so that jobs might .* twice: try again when it does"
    with pytest.raises(UserError, match=refused):
        submission.to_slurm([request(cell=last)], store, Profile())
    assert [made.id for made in batch.batches(store)] == [old.id], "no batch is left of which nothing was submitted"
    with pytest.raises(UserError, match=refused):
        submission.again(old, [last], store, Profile())
    assert old.record()["stages"][last.key]["jobs"] == ["1"]


def test_what_slurm_does_not_say_is_not_called_lost(tmp_path, monkeypatch, capsys):
    """`status --watch` goes on, and nobody submits again what runs."""
    store, last, bad = Store(tmp_path / "store"), stage("last"), stage("bad")
    made = batch.create([request(cell=last, other=bad)], store, "slurm", [last, bad])
    record = made.record()
    record["stages"][last.key]["jobs"], record["stages"][bad.key]["jobs"] = ["1"], ["2"]
    made.write(record)
    note(made.jobs, bad, "2", "failed", "RuntimeError: on purpose")
    monkeypatch.setattr(accounting, "_run", lambda *command: ("", "Unable to contact slurm controller"))
    found = batch_status.status(made, store)
    assert {state.name: state.state for state in found.states} == {"last": "unknown", "bad": "failed"}
    assert found.active and [state.name for state in found.bad] == ["bad"]
    assert "1 unknown, 1 failed of 2 stages" in batch_status.text(made, found)
    assert main(["resubmit", "--failed", "--store", str(store.root)]) == 2
    assert "squeue does not answer (Unable to contact slurm controller)" in capsys.readouterr().err


def test_resubmit_makes_what_was_done_at_submission_and_is_gone(tmp_path, monkeypatch, capsys):
    """Else what needs it would be blocked again and again."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    store, first = Store(tmp_path / "store"), stage("first")
    last = stage("last", first)
    folder = store.run(first)
    made = submitted(store, last, "1")
    shutil.rmtree(folder)
    ended = "JobID|State|ExitCode|NodeList|Elapsed|Reason\n1|FAILED|1:0|a|00:01|None\n"
    monkeypatch.setattr(accounting, "_run", lambda command, *rest: (ended if command == "sacct" else "", ""))
    monkeypatch.setattr(launch, "check_commands", lambda: None)
    orders: list[launch.Order] = []

    def submit(functions, order, profile):
        orders.append(order)
        return [str(10 + len(orders))]

    monkeypatch.setattr(launch, "submit", submit)
    assert main(["resubmit", "--failed", "--store", str(store.root)]) == 0
    assert "2 stages" in capsys.readouterr().out
    assert [order.after for order in orders] == [(), ("11",)]
    record = made.record()["stages"]
    assert record[first.key] == {"name": "first", "cells": ["cell"], "inputs": [], "kind": "gpu", "jobs": ["11"]}
    assert record[last.key]["jobs"] == ["1", "12"]


@pytest.mark.parametrize("executor", ["slurm", "local"])
@pytest.mark.parametrize("name", ["ck", "./ck"])
def test_a_model_at_a_relative_path_is_refused_where_it_is_submitted(tmp_path, monkeypatch, executor, name):
    """Jobs run in the copied code's folder: they would not find it, hours later."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ck").mkdir()
    asked = request(cell=stage("last"))

    def offered(path: str) -> list[str]:
        said: list[str] = []
        plans = tuple(replace(plan, needs=(Need.of_model(path),)) for plan in asked.plans)
        submission.offer([replace(asked, plans=plans)], Store(tmp_path / "store"), executor, None, 0, True, said.append)
        return said

    with pytest.raises(UserError, match=f"{name} is a path relative to this folder, and a batch's jobs run in another: give {tmp_path}/ck"):
        offered(name)
    assert "nothing was submitted" in offered(str(tmp_path / "ck"))[0]


def test_a_queue_that_ends_at_once_is_not_waited_for(tmp_path, monkeypatch):
    """Where nobody asks for a process that has ended, as in a container without an init, it seems to live for ever."""
    store, last, real, ended = Store(tmp_path / "store"), stage("last"), subprocess.run, []

    def run(command, **options):
        if command[0] != "sh":
            return real(command, **options)
        ended.append(process := subprocess.Popen(["true"]))
        return subprocess.CompletedProcess(command, 0, f"{process.pid}\n")

    waited = iter(range(50))
    monkeypatch.setattr(submission.subprocess, "run", run)
    monkeypatch.setattr(
        submission.time, "sleep", lambda seconds: sleep(seconds) if next(waited, None) is not None else pytest.fail("it hangs")
    )
    with pytest.raises(RuntimeError, match=r"the queue ended before it began: see .*queue\.log"):
        submission.to_queue([request(cell=last)], store, 1)
    ended[0].wait()


def test_without_sacct_is_submitted_all_the_same(tmp_path, monkeypatch):
    store, last = Store(tmp_path / "store"), stage("last")
    submitted(store, last, "1")
    monkeypatch.setattr(accounting, "_run", lambda command, *rest: ("", "" if command == "squeue" else f"no {command} on PATH"))
    assert submission.running(store) == {}


def test_what_is_collected_only_to_look_at_shows_speed_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "openmoji-scenes").mkdir(parents=True)
    efficiency_report.keep(speed_record(), tmp_path / "results" / "openmoji-scenes")
    table2 = replace(request(cell=stage("last")), table=TABLE2, datasets=("openmoji-scenes",), plans=())
    batch.create([table2], Store(tmp_path / "store"), "local", [])
    assert main(["collect", "--store", str(tmp_path / "store")]) == 0
    told = capsys.readouterr().out
    assert "on 2 threads of Some CPU (Figure 4)" in told and "Speed is missing" not in told
    assert "written: nowhere" in told


def test_collecting_what_is_done_needs_no_job(tmp_path):
    store = Store(tmp_path / "store")
    last = stage("last")
    store.run(last)
    said = []
    submission.offer([request(cell=last)], store, "local", None, 0, False, said.append)
    assert said[0].startswith("nothing is missing; made-")
    assert batch.named(store, None).record()["stages"] == {}
    assert Profile().classes.gpus.processes == 4


def test_the_next_command_names_the_store_where_it_would_not_look(tmp_path, monkeypatch):
    store, said = Store(tmp_path / "a store"), []
    monkeypatch.setattr(submission, "to_queue", lambda requests, store, slots: batch.create(requests, store, "local", []))
    monkeypatch.delenv("VOKENBENCH_STORE", raising=False)
    submission.offer([request(cell=stage("last"))], store, "local", None, 0, False, said.append)
    assert f"`python -m benchmarks.run status --store '{store.root}'`" in said[-1]
    monkeypatch.setenv("VOKENBENCH_STORE", str(store.root))
    submission.offer([request(cell=stage("last"))], store, "local", None, 0, False, said.append)
    assert "`python -m benchmarks.run status`" in said[-1]


@pytest.mark.parametrize("left", [None, 0, 100])
def test_tables_of_a_batch_that_are_cut_or_gone_are_named(tmp_path, left):
    made = batch.create([request(cell=stage("last"))], Store(tmp_path / "store"), "local", [])
    path = made.folder / "requests.pkl"
    whole = path.read_bytes()
    path.unlink()
    if left is not None:
        path.write_bytes(whole[:left])
    with pytest.raises(UserError, match=r"requests\.pkl cannot be read \(.*\): delete that folder and submit again"):
        made.stages()


def test_a_queue_on_this_machine_hears_no_profile(tmp_path):
    store = Store(tmp_path / "store")
    batch.create([request(cell=stage("last"))], store, "local", [])
    done = command(store, "resubmit", "--failed", "--profile", "generic")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--profile is for batches of --executor slurm" in done.stderr
