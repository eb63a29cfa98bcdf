"""Training of generators on made-up features in which captions name their picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from avg.generator import create, load
from avg.settings import GeneratorSettings
from methods.features import PackedStates, SplitFeatures
from methods.reads import recording
from methods.training import Identified, Trainer, train, validation_recall

IMAGES, CAPTIONS, WIDTH, STATE = 24, 2, 8, 6
SETTINGS = GeneratorSettings(
    width=32, layers=1, heads=2, feed_forward=32, dropout=0.0, source_dropout=0.0, prefix=2, epochs=12, patience=12, batch=8,
    learning_rate=5e-3, discriminative="none", candidates=4, discriminative_steps=4, discriminative_batch=8,
)  # fmt: skip


def _features(first_id, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(IMAGES, WIDTH)).astype(np.float32)
    rows = np.repeat(np.arange(IMAGES), CAPTIONS)
    states = torch.from_numpy(images[rows].repeat(2, 0)[:, :STATE]).bfloat16()
    return SplitFeatures(
        images, images[rows], np.arange(first_id, first_id + IMAGES), rows, PackedStates(states, torch.arange(0, 2 * len(rows) + 1, 2))
    )


def _codes(seed=1):
    return np.random.default_rng(seed).integers(0, 5, size=(IMAGES, 3))


def _identified(features, codes, ids):
    return Identified.join(features, ["a caption"] * (IMAGES * CAPTIONS), codes, ids)


def _splits():
    features = _features(100)
    same = _identified(features, _codes(), features.image_ids_N)
    return {"train": same, "val": same}


def _trainer(settings, pictures_of=()):
    torch.manual_seed(0)
    model = create(settings, tokens=5, state_width=STATE, vector_width=WIDTH)
    return Trainer(settings, _splits(), list(pictures_of), model)


def test_identifiers_go_with_their_images_in_any_order():
    features, ids = _features(100), np.r_[np.arange(100, 100 + IMAGES), 101, 999]
    codes = np.r_[_codes(), [[9, 9, 9]], [[7, 7, 7]]]
    shuffle = np.random.default_rng(3).permutation(len(ids))
    split = _identified(features, codes[shuffle], ids[shuffle])
    assert split.count_N.tolist() == [1, 2] + [1] * (IMAGES - 2)
    drawn = {tuple(split.draw(torch.tensor([1]), torch.Generator().manual_seed(seed))[0].tolist()) for seed in range(20)}
    assert drawn == {tuple(codes[1]), (9, 9, 9)}
    np.testing.assert_array_equal(split.draw(torch.tensor([0, 5]), torch.Generator()), codes[[0, 5]])


def test_captions_are_learned_and_the_best_checkpoint_is_kept():
    trainer = _trainer(SETTINGS)
    before = validation_recall(trainer.model, trainer.splits["val"])
    trainer.generative()
    recalls = [record["val R@1"] for record in trainer.curve]
    assert trainer.best == max(recalls) > before + 30
    trainer.model.load_state_dict(trainer.kept)
    assert validation_recall(trainer.model, trainer.splits["val"]) == trainer.best


def test_training_stops_when_validation_does_not_improve():
    trainer = _trainer(SETTINGS.model_copy(update={"learning_rate": 1e-12, "patience": 2}))
    trainer.generative()
    assert len(trainer.curve) == 3


def test_pictures_are_learned_where_asked_for():
    """Only then does the projection of pictures move."""
    for pictures_of, moves in ((["train"], True), ([], False)):
        trainer = _trainer(SETTINGS.model_copy(update={"epochs": 1}), pictures_of)
        before = trainer.model.from_picture.weight.detach().clone()
        trainer.generative()
        # weight decay alone only shrinks
        cosine = torch.nn.functional.cosine_similarity(before.flatten(), trainer.model.from_picture.weight.detach().flatten(), dim=0)
        assert (float(cosine) < 0.9999) == moves


@pytest.mark.parametrize("when", ["joint", "second-stage"])
def test_discriminative_training_raises_the_positive_over_the_candidates(when):
    settings = SETTINGS.model_copy(update={"discriminative": when, "epochs": 4, "discriminative_steps": 40, "discriminative_rate": 3e-3})
    trainer = _trainer(settings)
    rows = torch.arange(IMAGES * CAPTIONS)
    codes = trainer.train_split.draw(trainer.train_split.caption_images(rows), torch.Generator())
    before = float(trainer._ranking_loss(rows, codes).detach())
    trainer.generative()
    if when == "second-stage":
        trainer.second_stage()
        assert "discriminative_loss" in trainer.curve[-1]
    assert float(trainer._ranking_loss(rows, codes).detach()) < before / 2


def test_recall_shares_a_tied_identifier():
    features = _features(100)
    split = _identified(features, np.zeros((IMAGES, 2), int), features.image_ids_N)
    model = create(SETTINGS, tokens=5, state_width=STATE, vector_width=WIDTH)
    assert validation_recall(model, split) == pytest.approx(100 / IMAGES, abs=0.01)


def test_the_temperature_is_of_the_loss_in_training_alone():
    trainer = _trainer(SETTINGS)
    rows = torch.arange(4)
    codes = trainer.train_split.draw(rows, torch.Generator())
    source = trainer.train_split.text_source(trainer.model, rows)
    logits_BLV = trainer.model(source, codes)
    expected = torch.nn.functional.cross_entropy((logits_BLV / 0.5).flatten(0, 1), codes.flatten())
    trainer.settings = SETTINGS.model_copy(update={"temperature": 0.5})
    assert float(trainer._generative_loss(source, codes).detach()) == pytest.approx(float(expected.detach()))


def test_the_stage_writes_a_generator_and_says_what_it_read(tmp_path):
    inputs = {name: tmp_path / name for name in ("data", "trunks", "features", "codes")}
    for folder in inputs.values():
        folder.mkdir()
    table = {"image_ids": [], "files": [], "captions": [], "caption_image_ids": []}
    for split, first in (("train", 100), ("val", 200)):
        features = _features(first, seed=first)
        save_file(
            {"states_TH": features.states.states_TH, "start_Q1": features.states.start_Q1}, inputs["trunks"] / f"{split}-states.safetensors"
        )
        arrays = {name: getattr(features, name) for name in ("images_ND", "texts_QD", "image_ids_N", "caption_rows_Q")}
        np.savez(inputs["features"] / f"{split}.npz", **arrays)
        (inputs["data"] / f"{split}.json").write_text(json.dumps({**table, "captions": ["a caption"] * IMAGES * CAPTIONS}))
    (inputs["data"] / "dataset.json").write_text(json.dumps({"name": "made-up", "pictures": ".", "splits": {"train": {}, "val": {}}}))
    ids = np.r_[np.arange(100, 100 + IMAGES), np.arange(200, 200 + IMAGES)]
    np.savez(inputs["codes"] / "codes.npz", codes_XL=np.r_[_codes(), _codes(2)], image_ids_X=ids, tokens=5)
    out = tmp_path / "out"
    out.mkdir()
    settings = SETTINGS.model_copy(update={"epochs": 1, "discriminative": "second-stage"})
    with recording(inputs) as reads:
        report = train({"generator": settings.model_dump(), "pictures_of": ["train", "val"]}, inputs, out)
    assert reads.as_dict() == {
        "own": {"captions": ["train"], "pictures": ["train", "val"]},
        "selection": {"captions": ["val"], "pictures": ["val"]},
    }
    assert report["val R@1"] == max(record["val R@1"] for record in report["curve"])
    assert sum(p.numel() for p in load(out).parameters()) == report["parameters"]
