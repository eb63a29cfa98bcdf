"""A training that was killed goes on as if it had not been: the same loss at every update, the same weights at the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from avg.generators import create
from methods.fitting.checkpoint import Checkpoints
from methods.fitting.trainer import Trainer
from methods.stage import UNFINISHED
from tests.methods.made_up import SETTINGS, STATE, WIDTH, llama, splits, stage_inputs, t5, training

ROOT = Path(__file__).resolve().parents[2]
SHORT = {"epochs": 2, "batch": 16, "checkpoint_minutes": 0, "dropout": 0.1, "source_dropout": 0.1, "discriminative_steps": 5}


@pytest.fixture(scope="module", params=["frozen-text", "seq2seq", "decoder-only", "lora"])
def given(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "frozen-text":
        return {}
    if request.param == "seq2seq":
        return {"backbone": str(t5(folder))}
    return {"backbone": str(llama(folder, attention_dropout=0.1)), "lora_rank": 2 if request.param == "lora" else 0}


def _trainer(settings, folder=None):
    torch.manual_seed(3)
    model = create(settings, tokens=5, state_width=STATE, vector_width=WIDTH)
    return Trainer(settings, splits(), ["train"], model, folder)


class Killed(Exception):
    pass


@pytest.fixture
def dies_after(monkeypatch):
    """Returns a function after which a training dies at its n-th update; every second of its updates leaves a checkpoint."""
    update, checkpointed = Trainer._update, Checkpoints.due
    monkeypatch.setattr(Checkpoints, "due", lambda self, updates: checkpointed(self, updates) and updates % 2 == 0)

    def after(updates):
        left = iter(range(updates))

        def dying(self, *arguments):
            if next(left, None) is None:
                raise Killed
            update(self, *arguments)

        monkeypatch.setattr(Trainer, "_update", dying)

    return after


def _outcome(trainer):
    return trainer.losses, trainer.curve, {name: value.tolist() for name, value in trainer.kept.items()}


@pytest.mark.parametrize("when", ["joint", "second-stage"])
def test_killed_in_any_stage_it_goes_on_with_the_same_losses(given, when, dies_after, tmp_path):
    settings = SETTINGS.model_copy(update={**SHORT, "discriminative": when, **given})
    whole = _trainer(settings)
    whole.train()
    assert len(whole.losses["second-stage"]) == (5 if when == "second-stage" else 0)
    folder = tmp_path / "first"
    folder.mkdir()
    # in the first epoch, at once again, in the second one, in the second stage
    for updates in (3, 1, 3, 4):
        dies_after(updates)
        torch.manual_seed(time.time_ns())  # what a new process has drawn before is no matter
        try:
            trainer = _trainer(settings, folder)
            trainer.train()
        except Killed:
            continue
        break
    dies_after(1000)
    trainer = _trainer(settings, folder)
    trainer.train()
    assert _outcome(trainer) == _outcome(whole)
    assert len(list(folder.iterdir())) == 2


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(dies_after, tmp_path, caplog):
    settings = SETTINGS.model_copy(update=SHORT)
    whole = _trainer(settings)
    whole.train()
    dies_after(5)
    with pytest.raises(Killed):
        _trainer(settings, tmp_path).train()
    older, newer = sorted(tmp_path.iterdir())
    damaged = newer / "optimizer.bin"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    dies_after(1000)
    trainer = _trainer(settings, tmp_path)
    assert trainer.checkpoints.restore()
    assert trainer.step == int(older.name) == 2
    assert f"checkpoint {newer}: optimizer.bin is damaged; the one before it" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [older.name]
    (older / "checkpoint.json").write_text("{}")
    caplog.clear()
    trainer = _trainer(settings, tmp_path)
    trainer.train()
    assert f"checkpoint {older}: checkpoint.json cannot be read" in caplog.text
    assert _outcome(trainer) == _outcome(whole)


def test_a_refused_checkpoint_does_not_push_out_new_ones(dies_after, tmp_path, caplog):
    """Checkpoints are pruned by number: two that cannot be used, left there, would be all that is kept."""
    for number, contents in (("000000900", "{}"), ("000000901", '{"processes": 1, "sha256": {"optimizer.bin": "0"}}')):
        (tmp_path / number).mkdir()
        (tmp_path / number / "checkpoint.json").write_text(contents)
    dies_after(5)
    with pytest.raises(Killed):
        _trainer(SETTINGS.model_copy(update=SHORT), tmp_path).train()
    assert f"checkpoint {tmp_path / '000000901'}: optimizer.bin is damaged;" in caplog.text
    assert f"checkpoint {tmp_path / '000000900'}: checkpoint.json cannot be read;" in caplog.text
    kept = [int(path.name) for path in tmp_path.iterdir()]
    assert len(kept) == 2 and max(kept) < 900


def test_a_checkpoint_of_another_number_of_processes_is_refused_and_kept(tmp_path):
    settings = SETTINGS.model_copy(update={**SHORT, "epochs": 1})
    _trainer(settings, tmp_path).train()
    _, newest = sorted(tmp_path.iterdir())
    contents = json.loads((newest / "checkpoint.json").read_text())
    (newest / "checkpoint.json").write_text(json.dumps({**contents, "processes": 7}))
    (tmp_path / "000000999").mkdir()  # damaged: it says nothing
    with pytest.raises(ValueError, match="was made by 7 processes, not 1: set processes to 7, or delete") as raised:
        _trainer(settings, tmp_path).train()
    assert str(tmp_path) in str(raised.value)
    assert len(list(tmp_path.iterdir())) == 2 and newest.is_dir()


def test_what_was_cut_short_while_it_was_written_is_no_checkpoint(tmp_path):
    (tmp_path / "000000007.part").mkdir()
    trainer = _trainer(SETTINGS.model_copy(update=SHORT), tmp_path)
    assert not trainer.checkpoints.restore()
    assert not list(tmp_path.iterdir())
    trainer.train()
    assert all(path.name.isdecimal() for path in tmp_path.iterdir())


def test_what_fails_while_it_is_written_leaves_nothing(tmp_path, monkeypatch):
    def full(folder):
        raise OSError("No space left on device")

    monkeypatch.setattr("methods.fitting.checkpoint._hashes", full)
    with pytest.raises(OSError, match="No space left"):
        _trainer(SETTINGS.model_copy(update=SHORT), tmp_path).train()
    assert not list(tmp_path.iterdir())


def test_checkpoints_wait_for_their_minutes_and_cost_little(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("methods.fitting.checkpoint.time.monotonic", lambda: now[0])
    checkpoints = _trainer(SETTINGS, tmp_path).checkpoints
    assert not checkpoints.due(1)
    now[0] = 301.0
    assert checkpoints.due(2)
    checkpoints.last, checkpoints.cost = now[0], 20.0
    now[0] += 301.0
    assert not checkpoints.due(3), "the last one took 20 seconds: the next waits ten minutes"
    now[0] += 300.0
    assert checkpoints.due(4)


def _shared(trainer, monkeypatch):
    """Returns the trainer's checkpoints as one of two processes, which is the first, and what they agreed on."""
    agreed = []
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", property(lambda self: 2))
    monkeypatch.setattr("methods.fitting.checkpoint.broadcast_object_list", lambda values: agreed.append(values) or values)
    return trainer.checkpoints, agreed


def test_updates_are_counted_through_epochs_and_stages(tmp_path, monkeypatch):
    """With three updates an epoch, a number that begins anew would never reach what several processes agree by."""
    asked = []
    monkeypatch.setattr(Checkpoints, "due", lambda self, updates: asked.append(updates))
    _trainer(SETTINGS.model_copy(update={**SHORT, "discriminative": "second-stage"}), tmp_path).train()
    assert asked == list(range(1, 2 * 3 + 5 + 1))


def test_several_processes_agree_now_and_then_or_after_every_slow_update(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("methods.fitting.checkpoint.time.monotonic", lambda: now[0])
    checkpoints, agreed = _shared(_trainer(SETTINGS, tmp_path), monkeypatch)

    def agreements(seconds, updates):
        before = len(agreed)
        for number in updates:
            now[0] += seconds
            checkpoints.due(number)
        return len(agreed) - before

    agreements(0.1, range(1, 3))
    assert agreements(0.1, range(3, 3 + 10 * 16)) == 10
    agreements(5.0, range(163, 163 + 16))
    assert agreements(5.0, range(179, 189)) == 10
    monkeypatch.setattr("methods.fitting.checkpoint.asked", lambda: "stop")
    assert checkpoints.due(189)


@pytest.mark.slow
def test_a_killed_process_goes_on(tmp_path):
    """The stage in processes of their own, the first of which is killed by the system."""
    inputs = {name: str(path) for name, path in stage_inputs(tmp_path / "inputs").items()}
    settings = SETTINGS.model_copy(update={**SHORT, "epochs": 5, "discriminative": "second-stage"})
    script = (
        "import json, sys\nfrom pathlib import Path\nfrom methods.stage import Stage\n"
        "stage, inputs, out = json.loads(sys.argv[1])\n"
        "Stage(**stage)({name: Path(path) for name, path in inputs.items()}, Path(out))"
    )
    stage = training(settings, ["train"])
    fields = {"name": stage.name, "function": stage.function, "config": stage.config, "resumes": True}

    def started(out: Path) -> subprocess.Popen:
        out.mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, "-c", script, json.dumps([fields, inputs, str(out)])], cwd=ROOT)

    assert started(tmp_path / "whole").wait(timeout=120) == 0
    process = started(tmp_path / "killed")
    while not (tmp_path / "killed" / UNFINISHED / "000000009").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert started(tmp_path / "killed").wait(timeout=120) == 0
    with np.load(tmp_path / "whole" / "losses.npz") as whole, np.load(tmp_path / "killed" / "losses.npz") as killed:
        for name in whole:
            np.testing.assert_array_equal(killed[name], whole[name])
    for name in ("generator.json", "generator.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
