"""The store of stages: computed once, whole or not at all, safe under two processes and after a kill."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.stages import StageFailed, Store
from benchmarks.user_error import UserError
from methods.stage import Stage

WORK = '''
import errno, os, time
from pathlib import Path

def note(config, inputs, out):
    """Writes its text; counts its calls in a file that is no part of the result."""
    with open(config["calls"], "a") as calls:
        calls.write(config["text"] + chr(10))
    time.sleep(config.get("sleep", 0))
    before = "".join((inputs[name] / "deep" / "note.txt").read_text() for name in sorted(inputs))
    (out / "deep").mkdir()
    (out / "deep" / "note.txt").write_text(before + config["text"])
    (out / "other.bin").write_bytes(bytes(1000))
    return {"length": len(before + config["text"])}

def fail(config, inputs, out):
    with open(config["calls"], "a") as calls:
        calls.write("fail" + chr(10))
    (out / "half.txt").write_text("half")
    raise RuntimeError("the loss is not a number")

def fill(config, inputs, out):
    (out / "half.txt").write_text("half")
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if config["wrapped"]:
            raise ValueError("cannot serialise") from error
        raise

def interrupt(config, inputs, out):
    (out / "half.txt").write_text("half")
    raise KeyboardInterrupt

def hang(config, inputs, out):
    (out / "half.txt").write_text("half")
    Path(config["calls"]).write_text("hangs")
    if not Path(config["calls"] + ".free").exists():
        time.sleep(60)
'''


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Returns a maker of stages whose functions are in a module of their own, so that other processes can import it."""
    (tmp_path / "stage_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stage_work", raising=False)
    calls = tmp_path / "calls.txt"

    def make(text="a", function="note", inputs=None, **config):
        return Stage("note", f"stage_work:{function}", {"text": text, "calls": str(calls), **config}, inputs or {})

    return make


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def calls(tmp_path):
    path = tmp_path / "calls.txt"
    return lambda: path.read_text().split() if path.exists() else []


def text_of(folder: Path) -> str:
    return (folder / "deep" / "note.txt").read_text()


def leftovers(root: Path) -> list[Path]:
    return list(root.glob("*/.*"))


def start(root: Path, tmp_path: Path, stage: Stage) -> subprocess.Popen:
    script = f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        from benchmarks.stages import Store
        from methods.stage import Stage
        print(Store({str(root)!r}).run(Stage({stage.name!r}, {stage.function!r}, {dict(stage.config)!r})))
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_stage_runs_once_and_its_inputs_first(work, root, calls):
    first = work("a")
    second = work("b", inputs={"before": first})
    assert text_of(Store(root).run(second)) == "ab"
    assert calls() == ["a", "b"]
    folder = Store(root).run(second)
    assert folder == root / "note" / second.key
    assert calls() == ["a", "b"]


def test_a_shared_input_is_computed_once_and_a_changed_setting_anew(work, root, calls):
    first = work("a")
    store = Store(root)
    store.run(work("b", inputs={"before": first}))
    store.run(work("c", inputs={"before": first}))
    assert calls() == ["a", "b", "c"]
    assert text_of(store.run(work("b", inputs={"before": work("A")}))) == "Ab"
    store.run(replace(first, version=2))
    assert calls() == ["a", "b", "c", "A", "b", "a"]


def test_plan_lists_what_is_missing_in_order(work, root):
    first = work("a")
    second, third = work("b", inputs={"before": first}), work("c", inputs={"before": first})
    store = Store(root)
    assert [stage.config["text"] for stage in store.plan([second, third])] == ["a", "b", "c"]
    store.run(second)
    assert store.plan([second, third]) == [third]
    assert store.done(first)
    assert not store.done(third)


def test_an_input_that_is_gone_is_made_again_only_if_something_needs_it(work, root):
    first = work("a")
    second = work("b", inputs={"before": first})
    Store(root).run(second)
    for file in sorted((root / "note" / first.key).rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (root / "note" / first.key).rmdir()
    assert Store(root).plan([second]) == []
    third = work("c", inputs={"before": first})
    assert Store(root).plan([second, third]) == [first, third]


def test_the_record_says_what_was_done_and_what_lies_behind(work, root):
    first = work("a")
    second = work("b", inputs={"before": first})
    store = Store(root)
    store.run(second)
    record = store.report(second)
    assert record["name"] == "note"
    assert record["key"] == second.key
    assert record["config"] == dict(second.config)
    assert record["inputs"] == {"before": first.key}
    assert record["report"] == {"length": 2}
    assert record["seconds"] >= 0
    assert record["peak_memory_bytes"] > 2**20
    assert set(record["environment"]) == {"versions", "git", "hardware", "scheduler"}
    assert record["environment"]["versions"]["python"].startswith("3.")
    assert record["lineage"][first.key]["report"] == {"length": 1}


def truncate(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-1])
    return "bytes instead of"


def flip(path: Path) -> str:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))
    return "sha256 differs"


def flip_secretly(path: Path) -> str:
    before = path.stat()
    message = flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return message


def delete(path: Path) -> str:
    path.unlink()
    return "is missing"


@pytest.mark.parametrize("damage", [truncate, flip, flip_secretly, delete])
@pytest.mark.parametrize("file", ["deep/note.txt", "other.bin"])
def test_a_damaged_result_is_named_and_made_again(work, root, calls, caplog, damage, file):
    stage = work("a")
    folder = Store(root).run(stage)
    message = damage(folder / file)
    with caplog.at_level(logging.WARNING):
        assert text_of(Store(root).run(stage)) == "a"
    assert calls() == ["a", "a"]
    (record,) = caplog.records
    assert str(folder) in record.getMessage()
    assert file in record.getMessage()
    assert message in record.getMessage()
    assert "rebuilding" in record.getMessage()
    assert Store(root).done(stage)


def forge(path: Path) -> str:
    path.write_text(path.read_text().replace('"length": 1', '"length": 2'))
    return "changed after it was sealed"


@pytest.mark.parametrize("damage", [truncate, flip, delete, forge])
def test_a_damaged_record_is_as_bad_as_a_damaged_file(work, root, calls, caplog, damage):
    stage = work("a")
    damage(Store(root).run(stage) / "stage.json")
    with caplog.at_level(logging.WARNING):
        Store(root).run(stage)
    assert calls() == ["a", "a"]
    assert "stage.json" in caplog.text
    assert Store(root).report(stage)["report"] == {"length": 1}


def test_a_damaged_input_is_made_again_before_it_is_used(work, root, calls):
    first = work("a")
    flip_secretly(Store(root).run(first) / "deep" / "note.txt")
    assert text_of(Store(root).run(work("b", inputs={"before": first}))) == "ab"
    assert calls() == ["a", "a", "b"]


def test_damage_far_behind_a_finished_result_is_repaired_too(work, root, calls, caplog):
    first = work("a")
    second = work("b", inputs={"before": first})
    Store(root).run(second)
    truncate(root / "note" / first.key / "other.bin")
    assert Store(root).plan([second]) == [first]
    with caplog.at_level(logging.WARNING):
        Store(root).run(second)
    assert calls() == ["a", "b", "a"]
    assert first.key in caplog.text


def test_two_processes_at_once_do_the_work_once(work, root, tmp_path, calls):
    stage = work("a", sleep=1.5)
    processes = [start(root, tmp_path, stage) for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    assert {out.strip() for out, _ in answers} == {str(root / "note" / stage.key)}
    assert calls() == ["a"]


def test_a_killed_process_leaves_nothing_that_counts(work, root, tmp_path, calls):
    stage = work("a", function="hang")
    process = start(root, tmp_path, stage)
    deadline = time.monotonic() + 30
    while calls() != ["hangs"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [path.name for path in leftovers(root)[0].iterdir()] == ["half.txt"]
    living = Store(root)
    assert leftovers(root), "the folder of a living process is not ours to remove"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not living.done(stage)
    store = Store(root)
    assert leftovers(root) == []
    (tmp_path / "calls.txt.free").touch()
    store.run(stage)
    assert store.done(stage)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_is_one_line_and_keeps_what_is_finished(work, root, wrapped):
    first = work("a")
    stage = work("b", function="fill", inputs={"before": first}, wrapped=wrapped)
    store = Store(root)
    with pytest.raises(UserError, match=r"no space left in .*--store") as error:
        store.run(stage)
    assert "\n" not in str(error.value)
    assert str(root) in str(error.value)
    assert store.done(first)
    assert leftovers(root) == []


def test_a_failure_keeps_its_traceback_and_is_not_repeated(work, root, calls):
    bad = work("x", function="fail")
    store = Store(root)
    with pytest.raises(StageFailed, match=f"note {bad.key} failed: RuntimeError: the loss is not a number") as error:
        store.run(work("b", inputs={"before": bad}))
    assert error.value.path == root / "failed" / f"note-{bad.key}.txt"
    assert "in fail" in error.value.path.read_text()
    with pytest.raises(StageFailed):
        store.run(work("c", inputs={"before": bad}))
    assert calls() == ["fail"], "what failed once in a process fails at once for the next cell"
    assert leftovers(root) == []
    assert text_of(store.run(work("d"))) == "d"
    with pytest.raises(StageFailed):
        Store(root).run(bad)
    assert calls() == ["fail", "d", "fail"]


def test_a_report_that_is_no_json_is_a_failure_and_leaves_no_result(work, root, tmp_path):
    (tmp_path / "bad_report.py").write_text("def report(config, inputs, out):\n    return {'set': {1}}\n")
    stage = replace(work("a"), function="bad_report:report")
    with pytest.raises(StageFailed, match="JSON"):
        Store(root).run(stage)
    assert not Store(root).done(stage)


def test_an_interrupt_passes_and_leaves_nothing_half_written(work, root):
    store = Store(root)
    with pytest.raises(KeyboardInterrupt):
        store.run(work("a", function="interrupt"))
    assert leftovers(root) == []


def test_a_root_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file/store .*--store"):
        Store(tmp_path / "file" / "store")


def test_durations_are_remembered_and_damage_to_them_is_no_matter(work, root):
    store, stage = Store(root), work("a", sleep=0.2)
    assert store.durations.expected(stage) == 30
    store.run(stage)
    assert 0.2 <= store.durations.expected(work("b")) < 5
    assert store.durations.expected(work("b", inputs={"data": Stage("data", "m:f", {"name": "huge"})})) == 30
    (root / "durations.json").write_text("{")
    assert Store(root).durations.expected(stage) == 30
    Store(root).run(work("b"))
