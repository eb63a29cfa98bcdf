"""Towers of every kind give what their own library gives on the same weights, and say in one line what is wrong with a folder."""

from __future__ import annotations

import shutil

import avg.torchvision_schema  # noqa: F401

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, AutoTokenizer

from baselines.clip import CLIP, load_towers, sigmoid_loss, wordpieces
from baselines.towers import read_weights
from tests import checkpoints

CAPTIONS = ["a red dog on the green ground", "The SUN!!! under, a cat.", "two", "a " * 100]
PICTURES = [Image.fromarray(np.random.default_rng(row).integers(0, 255, (40, 30 + row, 3), dtype=np.uint8)) for row in range(5)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder of each kind of towers."""
    root = tmp_path_factory.mktemp("checkpoints")
    bert = checkpoints.bert_folder(root / "bert")
    with_bert = {**checkpoints.HUGGING_FACE, "text_cfg": {**checkpoints.HUGGING_FACE["text_cfg"], "hf_model_name": str(bert)}}
    return {
        "native": checkpoints.open_clip_folder(root / "native", checkpoints.NATIVE),
        "hugging-face": checkpoints.open_clip_folder(root / "hugging-face", with_bert, bert),
        "siglip": checkpoints.open_clip_folder(root / "siglip", checkpoints.SIGLIP, checkpoints.siglip_tokenizer(root / "tokenizer")),
        "transformers-clip": checkpoints.transformers_clip(root / "transformers-clip"),
        "transformers-siglip": checkpoints.transformers_siglip(root / "transformers-siglip"),
    }


def spread(vectors):
    """How far apart features are: an encoder that says the same of all would pass every comparison."""
    return np.abs(vectors - vectors.mean(0)).max()


@pytest.mark.parametrize("kind", ["native", "hugging-face", "siglip"])
@torch.inference_mode()
def test_open_clip_features_are_open_clips(folders, kind):
    name = f"local-dir:{folders[kind]}"
    model, preprocess = open_clip.create_model_from_pretrained(name)
    pictures = model.eval().encode_image(torch.stack([preprocess(picture) for picture in PICTURES])).numpy()
    texts = model.encode_text(open_clip.get_tokenizer(name)(CAPTIONS)).numpy()
    clip = CLIP(folders[kind])
    np.testing.assert_allclose(clip.picture_feats(PICTURES, 5, batch=2), pictures, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(clip.text_states(CAPTIONS).vectors_BD, texts, rtol=1e-4, atol=1e-5)
    assert spread(pictures) > 1e-2 and spread(texts) > 1e-2


@pytest.mark.parametrize("kind", ["transformers-clip", "transformers-siglip"])
@torch.inference_mode()
def test_transformers_features_are_transformers(folders, kind):
    folder = folders[kind]
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pixels = processor(images=PICTURES, return_tensors="pt")["pixel_values"]
    whole = {"padding": "max_length", "max_length": 64} if kind == "transformers-siglip" else {"padding": True, "max_length": 77}
    tokens = tokenizer(CAPTIONS, truncation=True, return_tensors="pt", **whole)
    if kind == "transformers-siglip":
        tokens.pop("attention_mask", None)
    pictures, texts = model.get_image_features(pixels).pooler_output.numpy(), model.get_text_features(**tokens).pooler_output.numpy()
    clip = CLIP(folder)
    np.testing.assert_allclose(clip.picture_feats(PICTURES, 5), pictures, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(clip.text_states(CAPTIONS).vectors_BD, texts, rtol=1e-4, atol=1e-5)
    assert spread(pictures) > 1e-2 and spread(texts) > 1e-3


@pytest.mark.parametrize(
    ("kind", "lengths"),
    # seven words with what begins and ends them; CLIP takes marks together, BERT apart, SigLIP drops them and only ends its texts
    [("native", [9, 10, 3, 77]), ("hugging-face", [9, 12, 3, 77]), ("siglip", [8, 6, 2, 64]), ("transformers-clip", [9, 10, 3, 77])],
)
def test_token_states_stand_where_tokens_are(folders, kind, lengths):
    batch = CLIP(folders[kind]).text_states(CAPTIONS)
    assert batch.mask_BT.sum(1).tolist() == lengths
    assert batch.states_BTH.shape[:2] == batch.mask_BT.shape
    assert not batch.states_BTH[~batch.mask_BT].any()
    assert (batch.states_BTH[batch.mask_BT].abs().sum(-1) > 0).all()


def test_states_end_in_what_is_projected(folders):
    """Of open_clip's own tower, the state at the end of the text is what the projection reads."""
    clip = CLIP(folders["native"])
    batch = clip.text_states(CAPTIONS)
    ends = batch.states_BTH[torch.arange(4), batch.mask_BT.sum(1) - 1]
    np.testing.assert_allclose(ends @ clip.towers.text.text_projection.detach(), batch.vectors_BD, rtol=1e-4, atol=1e-5)


def test_a_siglip_text_is_read_with_its_padding_and_without_case(folders):
    clip = CLIP(folders["siglip"])
    one, same = clip.text_states(["The SUN, under a cat!"]).vectors_BD, clip.text_states(["the sun under a cat"]).vectors_BD
    np.testing.assert_array_equal(one, same)
    tokens, _ = clip.towers.tokens(["the sun"])
    assert tokens.shape == (1, 64) and tokens[0, 2:].unique().tolist() == [1]


@pytest.mark.parametrize("kind", ["native", "hugging-face", "siglip", "transformers-clip", "transformers-siglip"])
def test_a_saved_folder_moves(folders, kind, tmp_path):
    clip = CLIP(folders[kind])
    clip.towers.save(tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / "moved")
    moved = CLIP(tmp_path / "moved")
    np.testing.assert_array_equal(moved.picture_feats(PICTURES, 5), clip.picture_feats(PICTURES, 5))
    np.testing.assert_array_equal(moved.text_states(CAPTIONS).vectors_BD, clip.text_states(CAPTIONS).vectors_BD)
    assert wordpieces(tmp_path / "moved")("a red dog") == wordpieces(folders[kind])("a red dog") != []


@pytest.mark.parametrize("kind", ["native", "siglip", "transformers-clip"])
def test_weights_that_were_cut_short_are_named(folders, kind, tmp_path):
    shutil.copytree(folders[kind], tmp_path / "cut")
    path = next((tmp_path / "cut").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cut.*damaged or cut short, fetch it again$"):
        load_towers(tmp_path / "cut")


def test_missing_and_foreign_weights_are_named(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    for kind, message in (("native", r"another model: visual\.proj missing"), ("transformers-clip", r"lacks weights.*visual_projection")):
        shutil.copytree(folders[kind], tmp_path / kind)
        path = next((tmp_path / kind).glob("*.safetensors"))
        state = load_file(path)
        left = {name: value for name, value in state.items() if name not in ("visual.proj", "visual_projection.weight")}
        save_file(left, path, {"format": "pt"})
        with pytest.raises(ValueError, match=message):
            load_towers(tmp_path / kind)


def test_a_model_of_one_tower_is_refused(tmp_path):
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"type 'bert', which has no two towers"):
        load_towers(tmp_path)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_file_of_weights_may_be_damaged_or_something_else(tmp_path, name):
    (tmp_path / name).write_bytes(b"<!DOCTYPE html> not found")
    with pytest.raises(ValueError, match=rf"{name} cannot be read as weights.*fetch it again"):
        read_weights(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt holds no weights"):
        read_weights(tmp_path / "list.pt")


def test_sigmoid_loss_by_hand():
    def loss(image_ids):
        return float(sigmoid_loss(torch.eye(2), torch.eye(2), torch.tensor(2.0), torch.tensor(-1.0), torch.tensor(image_ids)))

    # two pairs: logit 2 * 1 - 1 = 1 where they belong together, 2 * 0 - 1 = -1 where not; both cost ln(1 + e^-1)
    assert loss([0, 1]) == pytest.approx(2 * np.log(1 + np.exp(-1.0)), rel=1e-5)
    # the captions of one image are pairs with both its copies: -1 is now wrong where it was right
    assert loss([0, 0]) == pytest.approx(np.log(1 + np.exp(-1.0)) + np.log(1 + np.exp(1.0)), rel=1e-5)
