"""A training that several processes share: gloo on this machine's CPU, the same batch, the same losses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from avg.settings import SHAPE, GeneratorSettings
from methods.fitting.processes import launch, raised, take_gpu
from methods.pictures import PictureError
from methods.reads import recording
from tests.methods.made_up import SETTINGS, stage_inputs, t5, training

ROOT = Path(__file__).resolve().parents[2]
SHORT = SETTINGS.model_copy(update={"epochs": 1, "batch": 20, "discriminative_steps": 2, "discriminative_batch": 9, "learning_rate": 1e-3})

UNSHAPED = {name: GeneratorSettings.model_fields[name].default for name in SHAPE}
"""A backbone has a shape of its own."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return stage_inputs(tmp_path_factory.mktemp("inputs"))


def test_each_process_loads_its_model_on_a_gpu_of_its_own(monkeypatch):
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for rank in ("0", "3", "4"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        take_gpu()
    assert taken == [0, 3, 0], "as accelerate counts them"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["frozen-text", "seq2seq"])
def test_two_processes_have_the_losses_and_weights_of_one(what, inputs, tmp_path):
    """Batches of 20, 20 and 8 captions with pictures, in pieces of at most 6, then 9 captions with candidates: nothing divides evenly."""
    given = {"discriminative": "second-stage"}
    if what == "seq2seq":
        (tmp_path / "t5").mkdir()
        given |= {"backbone": str(t5(tmp_path / "t5", dropout_rate=0.0)), **UNSHAPED}
    found = {}
    for processes, micro_batch in ((1, 0), (2, 6)):
        (out := tmp_path / str(processes)).mkdir()
        settings = SHORT.model_copy(update={**given, "processes": processes, "micro_batch": micro_batch})
        with recording(inputs) as reads:
            report = training(settings, ["train"])(inputs, out)
        assert reads.as_dict()["own"] == {"pictures": ["train"], "captions": ["train"]}
        assert report["processes"] == processes
        with np.load(out / "losses.npz") as losses:
            found[processes] = np.r_[losses["generative"], losses["second-stage"]]
        assert not list(out.glob("*.json.*"))
    assert len(found[1]) == 5
    np.testing.assert_allclose(found[2], found[1], rtol=2e-3)
    one, two = (load_file(next((tmp_path / name).rglob("*.safetensors"))) for name in "12")
    for name, weights in one.items():
        # AdamW's first steps are of the size of the rate whatever the gradient, so that its sign alone could show
        assert float((two[name] - weights).abs().max()) < 2e-3, name
        moved = np.corrcoef(two[name].flatten(), weights.flatten())[0, 1] if weights.numel() > 8 else 1.0
        assert moved > 0.999, name


@pytest.mark.slow
def test_what_a_process_refuses_is_refused_in_its_words(tmp_path):
    settings = SHORT.model_copy(update={"processes": 2, "backbone": str(tmp_path), **UNSHAPED})
    config = {"generator": settings.model_dump(mode="json"), "pictures_of": []}
    inputs = stage_inputs(tmp_path / "inputs")
    with pytest.raises(ValueError, match=r"no transformers folder: config\.json is missing"):
        launch("methods.training:train_here", config, inputs, tmp_path, 2)


def refuses(config, inputs, out):
    raise PictureError("no picture", "missing")


def fails(config, inputs, out):
    raise KeyError("backbone")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "kind", "message"), [("refuses", ValueError, "no picture"), ("fails", RuntimeError, "KeyError: 'backbone'")]
)
def test_an_error_says_one_line_and_brings_the_traceback(function, kind, message, tmp_path):
    with pytest.raises(kind) as raised:
        launch(f"tests.methods.test_processes:{function}", {}, {}, tmp_path, 2)
    assert str(raised.value) == message
    assert f"in {function}\n" in raised.value.__notes__[0]


def _errors(folder, *told):
    """Writes errors as processes do, the oldest first: rank, name, whether it refuses something."""
    files = []
    for second, (rank, name, refused) in enumerate(told):
        files.append(folder / f"error-{rank}.json")
        files[-1].write_text(json.dumps({"name": name, "text": f"of {rank}", "refused": refused, "trace": f"trace {rank}"}))
        os.utime(files[-1], (second, second))
    return sorted(files)


def test_the_cause_is_told_before_what_fails_since_it_waited(tmp_path):
    """The first process's collective fails once the second one is gone."""
    error = raised(_errors(tmp_path, (1, "OutOfMemoryError", False), (0, "RuntimeError", False)))
    assert isinstance(error, RuntimeError) and str(error) == "OutOfMemoryError: of 1"
    assert error.__notes__ == ["trace 1", "process 0 failed too, with RuntimeError: of 0"]
    error = raised(_errors(tmp_path, (0, "RuntimeError", False), (2, "KeyError", False), (1, "PictureError", True)))
    assert isinstance(error, ValueError) and str(error) == "of 1", "what is refused is the cause, whatever the clocks say"
    assert [note.split()[1] for note in error.__notes__[1:]] == ["0", "2"]


def endless(config, inputs, out):
    (out / f"{os.getpid()}-{os.getppid()}").touch()
    time.sleep(600)


LAUNCH = """
import signal, sys
from pathlib import Path
from methods.pictures import PictureError
from methods.fitting.processes import launch
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
launch("tests.methods.test_processes:endless", {}, {}, Path(sys.argv[1]), 2)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_whom_they_work_for(how, tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", LAUNCH, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
    _wait(lambda: len(list(tmp_path.iterdir())) == 2 or parent.poll() is not None)
    pids = {int(pid) for path in tmp_path.iterdir() for pid in path.name.split("-")}
    assert len(pids) == 3 and all(map(_runs, pids)), "two processes and their launcher"
    parent.send_signal(how)
    assert parent.wait(timeout=60) != 0
    _wait(lambda: not any(map(_runs, pids)))


def _wait(for_what):
    deadline = time.monotonic() + 240  # processes import torch, which a busy machine does slowly
    while not for_what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
