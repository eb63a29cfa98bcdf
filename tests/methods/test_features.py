"""Features of the shared encoder: what is cached equals what the model says when asked directly."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from baselines.clip import CLIP, contrastive_loss
from benchmarks.datasets import data_stage
from methods.data import Dataset, Gallery
from methods.encoder import EncoderSettings, encoder_stages
from methods.features import train_encoder
from methods.split_features import PackedStates, image_features, load_split
from methods.stage import run_in

CLOSE = {"rtol": 0.05, "atol": 0.05}
"""The towers run in bfloat16, whose rounding depends on how captions are batched."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    run = run_in(tmp_path_factory.mktemp("stages"))
    stages = encoder_stages(EncoderSettings(**EncoderSettings.tiny()), data_stage("openmoji-scenes-tiny", train=60, val=20, test=24))
    return {name: run(stage) for name, stage in stages.items()} | {"data": run(stages["trunks"].inputs["data"])}


def _cosine(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_cached_features_are_the_whole_models(folders, tmp_path):
    shutil.copytree(folders["encoder"], tmp_path / "moved")
    clip, split = CLIP(tmp_path / "moved"), Dataset(folders["data"]).split("test")
    cached = load_split(folders["trunks"], folders["features"], "test")
    assert (_cosine(clip.picture_feats(split.pictures, 24), cached.images_ND) > 0.999).all()
    assert (_cosine(clip.text_states(split.captions).vectors_BD.numpy(), cached.texts_QD) > 0.999).all()
    np.testing.assert_array_equal(cached.caption_rows_Q, np.repeat(np.arange(24), 5))


def test_token_states_are_the_text_towers(folders):
    clip, split = CLIP(folders["encoder"]), Dataset(folders["data"]).split("val")
    states = load_split(folders["trunks"], folders["features"], "val").states
    rows = torch.tensor([7, 0, 99])
    found, mask = states.take(rows)
    for row, states_TH, mask_T in zip(rows.tolist(), found, mask, strict=True):
        direct = clip.text_states([split.captions[row]])
        assert int(mask_T.sum()) == direct.states_BTH.shape[1]
        assert (_cosine(states_TH[mask_T].float().numpy(), direct.states_BTH[0].numpy()) > 0.99).all()
        assert not states_TH[~mask_T].any()


def test_a_gallery_is_looked_up_by_image_id_or_encoded(folders):
    split = Dataset(folders["data"]).split("test")
    gallery = split.gallery()
    rows = [5, 2, 9]
    shuffled = Gallery(gallery.image_ids_N[rows], split.pictures[rows[0] : rows[0] + 3], source=gallery.source)
    cached = image_features(folders["features"], folders["encoder"], gallery)
    np.testing.assert_array_equal(image_features(folders["features"], folders["encoder"], shuffled), cached[rows])
    unknown = Gallery(np.arange(3), split.pictures[:3])
    assert (_cosine(image_features(folders["features"], folders["encoder"], unknown), cached[:3]) > 0.999).all()


def test_an_image_that_is_not_in_the_cached_split_is_refused(folders):
    gallery = Dataset(folders["data"]).split("test").gallery()
    other = Gallery(np.r_[gallery.image_ids_N[:2], 2**31 + 7], gallery.pictures[:3], source=gallery.source)
    with pytest.raises(ValueError, match=r"test\.npz has no image 2147483655, and 0 more"):
        image_features(folders["features"], folders["encoder"], other)


def test_the_encoders_seed_is_that_of_its_projections_alone(folders, tmp_path):
    shape = EncoderSettings.tiny()
    found = []
    for seed in (0, 1):
        out = tmp_path / str(seed)
        train_encoder({**shape, "seed": seed}, folders, out)
        found.append(CLIP(out).model.state_dict())
    differing = {name for name, value in found[0].items() if not torch.equal(value, found[1][name])}
    assert {name.split(".")[0] for name in differing} >= {"visual", "text"}
    assert all(name.startswith(("visual.head.", "text.proj.", "logit_scale")) for name in differing)
    same = CLIP(folders["encoder"]).model.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in found[0].items()), "0 is the default"


def test_encoder_folder_is_an_ordinary_open_clip_checkpoint(folders):
    names = {path.name for path in folders["encoder"].iterdir()}
    assert {"open_clip_config.json", "open_clip_model.safetensors", "config.json", "tokenizer.json"} <= names


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"open_clip_config\.json"):
        CLIP(tmp_path)


def test_packed_states_pad_to_the_longest_taken():
    packed = PackedStates(torch.arange(1, 7)[:, None].bfloat16(), torch.tensor([0, 2, 3, 6]))
    states, mask = packed.take(torch.tensor([1, 0]))
    assert states[..., 0].tolist() == [[3, 0], [1, 2]] and mask.tolist() == [[True, False], [True, True]]


def test_contrastive_loss_by_hand_and_without_false_negatives():
    images, texts = torch.eye(2), torch.eye(2)
    expected = np.log(1 + np.exp(-2.0))
    assert float(contrastive_loss(images, texts, torch.tensor(2.0), torch.tensor([0, 1]))) == pytest.approx(expected, rel=1e-5)
    # two captions of one image: neither is the other's negative, so nothing is left to tell apart
    assert float(contrastive_loss(images, texts, torch.tensor(2.0), torch.tensor([0, 0]))) == pytest.approx(0.0, abs=1e-6)
