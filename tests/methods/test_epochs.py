"""Trainings that are interrupted after an epoch end as they would have ended without."""

from __future__ import annotations

import json
import time
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from avg.settings import TokenizerSettings
from avg.tokenizer import train_tokenizer
from benchmarks.datasets import data_stage
from methods import blip_training
from methods.blip_settings import TrainingSettings
from methods.data import Dataset
from methods.fitting.epochs import Epochs
from methods.stage import run_in

CPU = torch.device("cpu")


class Stumbling(Epochs):
    """Keeps every epoch, and is interrupted behind one of them; `made` says which epochs were."""

    made: ClassVar[list[int]] = []

    def __init__(self, *given, behind: int = 0):
        super().__init__(*given, seconds=0)
        self.behind = behind
        self.made.clear()

    def done(self, epochs, **values):
        super().done(epochs, **values)
        self.made.append(epochs)
        if epochs == self.behind:
            raise KeyboardInterrupt


@pytest.mark.parametrize("start", ["kmeans", "random"])
def test_a_tokenizer(tmp_path, start):
    rng = np.random.default_rng(0)
    rows_Q = np.repeat(np.arange(60), 2)
    images_ND = rng.normal(size=(60, 6)).astype(np.float32)
    texts_QD = images_ND[rows_Q] + rng.normal(size=(120, 6)).astype(np.float32)
    settings = TokenizerSettings(codebook_size=16, voken_length=2, code_width=4, hidden=(8,), batch=20, epochs=6, start=start, dropout=0.3)

    def trained(**behind):
        return train_tokenizer(settings, images_ND, texts_QD, rows_Q, Stumbling(tmp_path, "tokenizer", 6, CPU, **behind))

    plain, report = train_tokenizer(settings, images_ND, texts_QD, rows_Q)
    for behind in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            trained(behind=behind)
    resumed, again = trained()
    assert Stumbling.made == [5, 6]
    assert again == report
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.slow
def test_a_blip(tmp_path, monkeypatch):
    data = run_in(tmp_path / "stages")(data_stage("openmoji-scenes-tiny", train=12, val=4, test=2))
    (tmp_path / "maps").mkdir()
    for split in blip_training.SPLITS:
        maps_NCGG = torch.randn(len(Dataset(data).split(split).image_ids_N), 1280, 1, 1)
        save_file({"maps_NCGG": maps_NCGG.half()}, tmp_path / "maps" / blip_training.MAPS.format(split))
    settings = TrainingSettings(layers=1, vision_layers=0, image_size=32, embed_dim=8, contrastive_epochs=1, epochs=2, batch=6)

    def trained(name, **behind):
        monkeypatch.setattr(blip_training, "Epochs", lambda *given: Stumbling(*given, **behind))
        (tmp_path / name).mkdir(exist_ok=True)
        return blip_training.train(settings.model_dump(), {"data": data, "maps": tmp_path / "maps"}, tmp_path / name)

    report = trained("plain")
    with pytest.raises(KeyboardInterrupt):
        trained("cut", behind=2)
    assert json.dumps(trained("cut")) == json.dumps(report)
    assert Stumbling.made == [3]
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (tmp_path / "plain" / "model.safetensors").read_bytes()


def test_what_took_no_time_is_not_kept_and_of_what_took_long_the_last_epoch_is(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    epochs = Epochs(tmp_path, "anything", 4, CPU, seconds=60)
    assert epochs.found() is None
    for number, now in ((1, 50.0), (2, 70.0), (3, 80.0), (4, 90.0)):
        clock[0] = now
        epochs.done(number, number=number)
        found = Epochs(tmp_path, "anything", 4, CPU).found()
        assert found == {1: None, 2: {"number": 2}, 3: {"number": 2}, 4: {"number": 4}}[number]


@pytest.mark.parametrize("what", ["a bit flipped", "of another version", "with another part"])
def test_what_was_kept_and_is_of_no_use_is_named_and_removed(tmp_path, caplog, what):
    linear = torch.nn.Linear(2, 2)
    epochs = Epochs(tmp_path, "anything", 2, CPU, seconds=0)
    epochs.found(linear=linear)
    epochs.done(1)
    if what == "a bit flipped":
        raw = epochs.path.read_bytes()
        epochs.path.write_bytes(raw[:200] + bytes([raw[200] ^ 1]) + raw[201:])
    elif what == "of another version":
        torch.save({"model": {}, "epoch": 1}, epochs.path)
    parts = {"linear": linear} | ({"more": linear} if what == "with another part" else {})
    assert Epochs(tmp_path, "anything", 2, CPU).found(**parts) is None
    assert f"{epochs.path}: " in caplog.text and "training starts anew" in caplog.text and not epochs.path.exists()
