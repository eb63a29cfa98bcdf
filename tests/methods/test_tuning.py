"""Contrastive training of named models: what is trained, what is chosen, and that an interruption changes nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from baselines.clip import CLIP
from benchmarks.datasets import data_stage
from methods import tuning
from methods.data import Dataset
from methods.encoder import EncoderSettings, encoder_stages
from methods.reads import recording
from methods.stage import UNFINISHED, run_in
from methods.tuning import recall, tune
from tests import checkpoints

CONFIG = {"tuning_epochs": 3, "tuning_batch": 50, "tuning_rate": 1e-3, "weight_decay": 0.01, "seed": 0, "whole": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("data"))(data_stage("openmoji-scenes-tiny", train=60, val=20, test=24))


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    return checkpoints.open_clip_folder(tmp_path_factory.mktemp("native") / "model", checkpoints.NATIVE)


def tuned(start, data, out, **config):
    out.mkdir(exist_ok=True)
    (out / UNFINISHED).mkdir(exist_ok=True)
    report = tune({**CONFIG, **config}, {"start": start, "data": data}, out)
    return report, CLIP(out)


def changed(before: CLIP, after: CLIP) -> set[str]:
    new = after.model.state_dict()
    return {name for name, value in before.model.state_dict().items() if not torch.equal(value, new[name])}


@pytest.mark.slow
def test_whole_towers_learn_the_training_pairs(native, data, tmp_path):
    report, after = tuned(native, data, tmp_path / "out", tuning_epochs=6)
    before, train = CLIP(native), Dataset(data).split("train")
    assert recall(after, train) > 3 * recall(before, train)
    names = changed(before, after)
    assert {"visual.conv1.weight", "text.token_embedding.weight", "visual.proj", "text.text_projection", "logit_scale"} <= names
    curve = report["val R@1 by epoch, before training first"]
    assert len(curve) == 7 and report["val R@1"] == max(curve)
    assert recall(after, Dataset(data).split("val")) == max(curve), "the epoch that was best is the one that is kept"


def test_pictures_of_equal_vectors_share_a_hit():
    """All captions describe the first of two copies."""
    vectors_ND = np.random.default_rng(0).normal(size=(40, 256)).astype(np.float32)
    vectors_ND[17] = vectors_ND[3]
    clip = SimpleNamespace(
        picture_feats=lambda pictures, count: vectors_ND,
        text_states=lambda captions: SimpleNamespace(vectors_BD=torch.from_numpy(vectors_ND[[3] * len(captions)])),
    )
    split = SimpleNamespace(pictures=[None] * 40, captions=["a copy"] * 7, caption_rows_Q=np.full(7, 3))
    assert recall(clip, split) == 50


def test_projections_alone_are_trained_where_so_set(native, data, tmp_path, monkeypatch):
    # a validation that always rises keeps the last epoch
    values = iter(range(10))
    monkeypatch.setattr(tuning, "recall", lambda clip, split: next(values))
    report, after = tuned(native, data, tmp_path / "out", whole=False, tuning_epochs=1)
    assert changed(CLIP(native), after) == {"visual.proj", "text.text_projection", "logit_scale"}
    assert report["trained parameters"] == 64 * 32 * 2 + 1


def test_val_is_read_to_choose_and_train_to_learn(native, data, tmp_path):
    with recording({"start": native, "data": data}) as reads:
        tuned(native, data, tmp_path / "out", tuning_epochs=1)
    assert reads.as_dict() == {
        "own": {"pictures": ["train"], "captions": ["train"]},
        "selection": {"pictures": ["val"], "captions": ["val"]},
    }


def test_training_that_only_harms_gives_back_the_start(native, data, tmp_path, monkeypatch):
    values = iter(range(10, 0, -1))
    monkeypatch.setattr(tuning, "recall", lambda clip, split: next(values))
    report, after = tuned(native, data, tmp_path / "out", tuning_epochs=1)
    assert report["val R@1"] == 10 and changed(CLIP(native), after) == set()


@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_uninterrupted_one(native, data, tmp_path, monkeypatch):
    whole_report, whole = tuned(native, data, tmp_path / "whole")
    epoch, calls = tuning._epoch, []

    def stumbling(*arguments):
        calls.append(arguments[-1])
        if len(calls) == 3:
            raise KeyboardInterrupt
        epoch(*arguments)

    monkeypatch.setattr(tuning, "_epoch", stumbling)
    with pytest.raises(KeyboardInterrupt):
        tuned(native, data, tmp_path / "cut")
    report, cut = tuned(native, data, tmp_path / "cut")
    assert calls == ["tuning 1/3", "tuning 2/3", "tuning 3/3", "tuning 3/3"]
    assert report == whole_report
    assert changed(whole, cut) == set()


def test_resumed_after_its_last_epoch_it_has_read_the_training_split(native, data, tmp_path, monkeypatch):
    report, whole = tuned(native, data, tmp_path / "out", tuning_epochs=1)
    monkeypatch.setattr(tuning, "_epoch", None)
    with recording({"start": native, "data": data}) as reads:
        again, resumed = tuned(native, data, tmp_path / "out", tuning_epochs=1)
    assert again == report and changed(whole, resumed) == set()
    assert reads.as_dict()["own"] == {"pictures": ["train"], "captions": ["train"]}


@pytest.mark.parametrize("how", ["empty", "cut short", "a bit flipped"])
def test_a_damaged_epoch_is_named_and_training_starts_anew(how, native, data, tmp_path, caplog):
    whole_report, whole = tuned(native, data, tmp_path / "out", tuning_epochs=1)
    kept = tmp_path / "out" / UNFINISHED / "epoch.pt"
    stored, middle = kept.read_bytes(), kept.stat().st_size // 2
    flipped = stored[:middle] + bytes([stored[middle] ^ 1]) + stored[middle + 1 :]
    kept.write_bytes({"empty": b"", "cut short": stored[:-100], "a bit flipped": flipped}[how])
    report, after = tuned(native, data, tmp_path / "out", tuning_epochs=1)
    assert f"{kept}: " in caplog.text and "training starts anew" in caplog.text
    assert report == whole_report and changed(whole, after) == set()


def test_siglip_is_trained_by_its_own_loss(data, tmp_path, monkeypatch):
    folder = checkpoints.open_clip_folder(tmp_path / "model", checkpoints.SIGLIP, checkpoints.siglip_tokenizer(tmp_path / "tokenizer"))
    values = iter(range(10))
    monkeypatch.setattr(tuning, "recall", lambda clip, split: next(values))
    monkeypatch.setattr(tuning, "contrastive_loss", None)
    _, after = tuned(folder, data, tmp_path / "out", tuning_epochs=1)
    assert {"logit_bias", "logit_scale"} <= changed(CLIP(folder), after)


def test_a_model_without_projections_says_so(data, tmp_path):
    folder = checkpoints.transformers_siglip(tmp_path / "model")
    with pytest.raises(ValueError, match=r"no projections to train.*encoder\.train=full"):
        tuned(folder, data, tmp_path / "out", whole=False)


def test_what_is_trained_decides_the_stages(native, data):
    stage = data_stage("openmoji-scenes-tiny")
    default = encoder_stages(EncoderSettings(), stage)
    assert encoder_stages(EncoderSettings(train="projections"), stage)["encoder"].key == default["encoder"].key
    full = encoder_stages(EncoderSettings(train="full"), stage)["encoder"]
    assert full.inputs["start"].key == default["encoder"].key and full.config["whole"]
    named = encoder_stages(EncoderSettings(model=str(native)), stage)["encoder"]
    assert encoder_stages(EncoderSettings(model=str(native), train="none"), stage)["encoder"].key == named.key
    assert encoder_stages(EncoderSettings(model=str(native), train="full"), stage)["encoder"].inputs["start"].key == named.key
    # tiny settings of the default encoder's training are no part of a named model
    tiny = encoder_stages(EncoderSettings(model=str(native), **EncoderSettings.tiny()), stage)["features"]
    assert tiny.key == encoder_stages(EncoderSettings(model=str(native)), stage)["features"].key
    with pytest.raises(ValueError, match=r"encoder\.train=none needs a model"):
        encoder_stages(EncoderSettings(train="none"), stage)
    with pytest.raises(ValueError, match=r"name it with encoder\.model"):
        encoder_stages(EncoderSettings(pretrained="openai"), stage)
