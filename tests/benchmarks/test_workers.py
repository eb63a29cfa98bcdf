"""Stages on several processes: each once, inputs first, and what fails or is killed holds up only what needs it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import workers
from benchmarks.progress import Progress
from benchmarks.stages import StageFailed, Store
from benchmarks.user_error import UserError
from methods.stage import Stage

HERE = "tests.benchmarks.test_workers"


def note(config, inputs, out):
    """Waits a little and writes when it ran, with what threads, and what its inputs say."""
    begin = time.time()
    time.sleep(config.get("seconds", 0.0))
    if config.get("fails"):
        raise RuntimeError("on purpose")
    if config.get("unfit"):
        raise UserError("line 3 of a.csv has no caption: take it out")
    if config.get("full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if config.get("dies"):
        os._exit(9)
    said = [(folder / "said.txt").read_text() for _, folder in sorted(inputs.items())]
    (out / "said.txt").write_text(f"{config['name']}({','.join(said)})")
    return {"begin": begin, "end": time.time(), "threads": os.environ["OMP_NUM_THREADS"], "process": os.getpid()}


def stage(name, *inputs, **config):
    return Stage(name, f"{HERE}:note", {"name": name, **config}, {before.name: before for before in inputs})


@pytest.fixture
def project_on_path(monkeypatch):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    monkeypatch.setenv("PYTHONPATH", root)  # where processes begun anew find this file


@pytest.mark.slow
def test_stages_run_beside_each_other_and_after_what_they_need(tmp_path, project_on_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    store, first = Store(tmp_path), stage("first", seconds=0.1)
    left, right = stage("left", first, seconds=4.0), stage("right", first, seconds=4.0)
    last = stage("last", left, right)
    done = [each.name for each in workers.compute(store.plan([last]), store, 2)]
    assert done[0] == "first" and set(done[1:3]) == {"left", "right"} and done[3] == "last"
    assert (store.folder(last) / "said.txt").read_text() == "last(left(first()),right(first()))"
    reports = {each.name: store.report(each)["report"] for each in (first, left, right, last)}
    assert reports["left"]["begin"] < reports["right"]["end"] and reports["right"]["begin"] < reports["left"]["end"]
    assert reports["left"]["process"] != reports["right"]["process"]
    assert {name: report["threads"] for name, report in reports.items()} == {"first": "4", "left": "2", "right": "2", "last": "4"}
    assert store.made == {each.key for each in (first, left, right, last)}
    (alone,) = workers.compute([stage("ranking")], store, 2)
    assert store.report(alone)["report"]["threads"] == "2", "seconds that are compared are of equal threads, whoever runs beside"


@pytest.mark.slow
def test_a_failure_holds_up_what_needs_it_and_nothing_else(tmp_path, project_on_path):
    store, bad = Store(tmp_path), stage("bad", fails=True)
    behind, apart = stage("behind", bad), stage("apart", stage("before"))
    done = [each.name for each in workers.compute(store.plan([behind, apart]), store, 2)]
    assert done == ["before", "apart"]
    with pytest.raises(StageFailed, match="on purpose") as failed:
        store.run(behind)
    assert "RuntimeError: on purpose" in failed.value.path.read_text()


@pytest.mark.slow
def test_a_killed_process_is_its_stages_failure_and_no_others(tmp_path, project_on_path):
    store, dead = Store(tmp_path), stage("dead", dies=True)
    others = [stage("long", seconds=2.0), stage("after", stage("before"))]
    done = {each.name for each in workers.compute(store.plan([dead, *others]), store, 2)}
    assert done == {"long", "before", "after"}
    with pytest.raises(StageFailed, match="its process was killed, perhaps for want of memory"):
        store.run(dead)


@pytest.mark.slow
def test_data_that_cannot_be_used_hold_up_what_needs_them_and_nothing_else(tmp_path, project_on_path):
    store, bad = Store(tmp_path), stage("bad", unfit=True)
    behind, beside = stage("behind", bad), stage("after", stage("long", seconds=3.0))
    done = [each.name for each in workers.compute(store.plan([behind, beside]), store, 2)]
    assert done == ["long", "after"]
    with pytest.raises(StageFailed) as failed:
        store.run(behind)
    assert (failed.value.stage, failed.value.cause, failed.value.of_data) == (bad, "line 3 of a.csv has no caption: take it out", True)


@pytest.mark.slow
def test_a_full_disk_ends_it(tmp_path, project_on_path):
    store = Store(tmp_path)
    with pytest.raises(UserError, match="no space left in"):
        list(workers.compute([stage("full", full=True)], store, 2))


@pytest.mark.slow
def test_a_process_that_was_killed_while_idle_is_begun_anew(tmp_path, project_on_path):
    store, first = Store(tmp_path), stage("first")
    last = stage("last", first)
    work = workers.compute(store.plan([last]), store, 1)
    assert next(work).name == "first"
    idle = store.report(first)["report"]["process"]
    os.kill(idle, signal.SIGKILL)
    while _lives(idle):
        time.sleep(0.1)
    time.sleep(0.5)  # until its pool has seen it
    assert [each.name for each in work] == ["last"]
    assert store.report(last)["report"]["process"] != idle


def test_the_longest_way_goes_first(tmp_path):
    store = Store(tmp_path)
    for name, seconds in (("a", 1.0), ("b", 5.0), ("c", 10.0)):
        store.durations.remember(stage(name), seconds)
    a, c = stage("a"), stage("c")
    b = stage("b", a)
    assert workers._ways([c, a, b], store) == {c.key: 10.0, b.key: 5.0, a.key: 6.0}


def test_what_nearly_everything_waits_for_runs_alone():
    first, apart = stage("first"), stage("apart")
    later = [stage(f"later{number}", first) for number in range(4)]
    everything = [first, apart, *later]
    ahead = dict.fromkeys((each.key for each in everything), 1.0)
    assert workers._alone(first, ahead, everything)  # four of five wait
    assert not workers._alone(apart, ahead, everything)
    for done in later[1:]:
        del ahead[done.key]
    assert not workers._alone(first, ahead, everything)  # one of two


@pytest.mark.slow
def test_an_interrupted_run_waits_for_nobody(tmp_path, project_on_path):
    store, begin = Store(tmp_path), time.time()

    class Impatient(Progress):
        def end(self, stage, seconds):
            raise KeyboardInterrupt

    store.progress = Impatient()
    with pytest.raises(KeyboardInterrupt):
        list(workers.compute([stage("long", seconds=60.0), stage("short")], store, 2))
    assert time.time() - begin < 30
    assert store.done(stage("short")) and not store.done(stage("long", seconds=60.0))


@pytest.mark.slow
def test_processes_end_with_a_killed_parent(tmp_path, project_on_path):
    source = (
        "if __name__ == '__main__':\n"
        "    from pathlib import Path\n"
        "    from benchmarks import workers\n"
        "    from benchmarks.stages import Store\n"
        "    from tests.benchmarks.test_workers import stage\n"
        f"    store = Store(Path({str(tmp_path / 'store')!r}))\n"
        "    for done in workers.compute([stage('long', seconds=60.0), stage('short')], store, 2):\n"
        "        print(store.report(done)['report']['process'], flush=True)\n"
    )
    (tmp_path / "begin.py").write_text(source)
    parent = subprocess.Popen([sys.executable, tmp_path / "begin.py"], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    os.kill(worker, 0)  # it lives, and waits for more
    parent.kill()
    parent.communicate()
    deadline = time.time() + 20
    while _lives(worker):
        assert time.time() < deadline, "a process outlives the one that began it"
        time.sleep(0.1)


def _lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # one that has ended and that nobody has asked for is no longer at work
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
