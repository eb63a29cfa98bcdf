"""BLIP through transformers: parity with its own forward pass, `[ENC]`, batches, and checkpoints that are another model's."""

from __future__ import annotations

import json
import shutil

import avg.torchvision_schema  # noqa: F401

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BlipForConditionalGeneration

from baselines.blip import BLIP, pixel_batch
from baselines.blip_checkpoint import bert_tokenizer, enc_token_id, save_for_transformers, to_original, to_transformers
from baselines.blip_text import prepared
from tests.tiny_blip import CAPTIONS, noise, write_blip

PICTURES = noise(5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def blip(folder):
    return BLIP(folder, "float32")


def theirs(blip, caption, **how):
    """transformers' own forward pass of one caption with all pictures."""
    tokens = blip.tokenizer([prepared(caption)] * len(PICTURES), truncation=True, max_length=35, return_tensors="pt")
    with torch.inference_mode():
        inputs = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        return blip.model(pixel_values=pixel_batch(blip.process, PICTURES), **inputs, **how).itm_score.numpy()


def logits(blip, captions=CAPTIONS):
    ((_, states_BPH),) = blip.picture_batches(PICTURES, len(PICTURES))
    blip.use_states(states_BPH)
    return np.stack([blip.match_logits(caption, np.arange(len(PICTURES))) for caption in captions])


def test_similarities_are_those_of_transformers(blip):
    ((vectors_BD, _),) = blip.picture_batches(PICTURES, len(PICTURES))
    ours = blip.caption_vectors(CAPTIONS) @ vectors_BD.T
    assert vectors_BD.shape == (5, 256) and np.ptp(ours) > 0.01
    for row, caption in enumerate(CAPTIONS):
        np.testing.assert_allclose(ours[row], theirs(blip, caption, use_itm_head=False)[:, 0], atol=1e-6)


def test_without_enc_the_logits_are_those_of_transformers_and_with_it_they_are_not(blip, folder):
    plain = logits(BLIP(folder, "float32", enc_token=False))
    # states are stored in float16
    np.testing.assert_allclose(plain, np.stack([theirs(blip, caption)[:, 1] for caption in CAPTIONS]), atol=1e-3)
    assert np.ptp(plain) > 0.1
    assert np.abs(logits(blip) - plain).max() > 0.1


def test_enc_is_the_word_that_it_is_in_lavis_even_where_the_tokenizer_does_not_know_it(blip, folder, tmp_path):
    assert blip.enc_token == 30523
    shutil.copytree(folder, tmp_path / "hub")
    plain = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    written = json.loads(plain.to_str())
    written["added_tokens"] = [token for token in written["added_tokens"] if token["id"] < 30522]
    (tmp_path / "hub" / "tokenizer.json").write_text(json.dumps(written))
    settings = json.loads((tmp_path / "hub" / "tokenizer_config.json").read_text())
    settings = {key: value for key, value in settings.items() if "[DEC]" not in str(value) and "[ENC]" not in str(value)}
    (tmp_path / "hub" / "tokenizer_config.json").write_text(json.dumps(settings))
    known = BLIP(tmp_path / "hub", "float32")
    assert "[ENC]" not in known.tokenizer.get_vocab()
    assert known.enc_token == 30523
    np.testing.assert_array_equal(logits(known), logits(blip))


def test_a_text_tower_without_a_row_for_enc_is_refused(blip):
    model = type(blip.model.config)(text_config={"vocab_size": 30522})
    with pytest.raises(ValueError, match=r"none of them is \[ENC\]"):
        enc_token_id(bert_tokenizer(), model)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_batches_change_nothing_but_rounding(blip, batch):
    ((vectors, states),) = blip.picture_batches(PICTURES, 5, batch=32)
    batches = list(blip.picture_batches(PICTURES, 5, batch=batch))
    assert [len(part) for part, _ in batches] == {1: [1] * 5, 2: [2, 2, 1], 5: [5]}[batch]
    np.testing.assert_allclose(np.concatenate([part for part, _ in batches]), vectors, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([part for _, part in batches]), states, atol=2e-3)
    whole = blip.caption_vectors(CAPTIONS)
    np.testing.assert_allclose(np.concatenate([blip.caption_vectors([caption]) for caption in CAPTIONS]), whole, atol=1e-6)


def test_pairs_are_matched_alike_in_any_order_and_number(blip, monkeypatch):
    whole = logits(blip, CAPTIONS[:1])[0]
    order = np.array([3, 0, 3, 4])
    np.testing.assert_allclose(blip.match_logits(CAPTIONS[0], order), whole[order], atol=1e-5)
    monkeypatch.setattr("baselines.blip.PAIRS", 2)
    np.testing.assert_allclose(blip.match_logits(CAPTIONS[0], np.arange(5)), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("caption", "read"),
    [
        ("Two dogs, one (small)!", "two dogs, one small"),
        ('a  "red"\n~boat; #1', "a red boat 1"),
        ("word " * 40, ("word " * 30).strip()),
        ("...", ""),
    ],
)
def test_a_caption_is_read_as_blip_reads_it(caption, read):
    assert prepared(caption) == read


def test_an_empty_caption_is_matched_too(blip):
    assert np.isfinite(blip.caption_vectors(["..."])).all() and np.isfinite(logits(blip, [""])).all()


def test_another_model_of_the_family_is_refused_and_not_filled_at_random(tmp_path):
    write_blip(tmp_path, BlipForConditionalGeneration)
    with pytest.raises(ValueError, match=r"is no BlipForImageTextRetrieval: it lacks \d+ weights, itm_head"):
        BLIP(tmp_path)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no checkpoint in transformers' format"):
        BLIP(tmp_path)


def test_eight_heads_in_the_text_tower_are_refused(tmp_path, monkeypatch):
    """As a released configuration had them; any number of heads fits the weights, and only one scores rightly."""
    monkeypatch.setattr("tests.tiny_blip.TINY_TEXT", {"hidden_size": 768, "intermediate_size": 8, "num_hidden_layers": 1})
    with pytest.raises(ValueError, match="num_attention_heads is 8, and BLIP's is 12"):
        BLIP(write_blip(tmp_path))


def test_names_of_weights_go_both_ways(folder):
    weights = load_file(folder / "model.safetensors")
    original = to_original(weights)
    assert {"visual_encoder.pos_embed", "visual_encoder.blocks.1.attn.proj.bias", "visual_encoder.norm.weight", "itm_head.bias"} <= set(
        original
    )
    assert not any("vision_model" in name or "layer_norm" in name for name in original)
    assert to_transformers(original).keys() == weights.keys()


@pytest.mark.parametrize("name", ["blip.pth", "blip.safetensors"])
def test_a_file_of_the_original_code_scores_like_the_folder(blip, folder, tmp_path, name):
    """Momentum towers, queue and temperature, which training leaves in a checkpoint, are passed over."""
    original = to_original(load_file(folder / "model.safetensors"))
    extra = {"temp": torch.tensor(0.07), "image_queue": torch.zeros(2, 2), "vision_proj_m.weight": torch.zeros(2, 2)}
    original = {**original, **extra, "text_encoder.embeddings.position_ids": torch.arange(64)[None]}
    file = tmp_path / name
    if name.endswith(".pth"):
        torch.save({"model": original, "epoch": 5}, file)
    else:
        save_file({key: value.contiguous() for key, value in original.items()}, file)
    (tmp_path / "out").mkdir()
    save_for_transformers(file, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["vision_config"]["image_size"], config["vision_config"]["layer_norm_eps"]) == (32, 1e-6)
    np.testing.assert_array_equal(logits(BLIP(tmp_path / "out", "float32")), logits(blip))


@pytest.mark.parametrize("content", [b"no weights", None])
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / "blip.pth"
    torch.save({"model": {"visual_encoder.norm.weight": torch.zeros(2)}}, file) if content is None else file.write_bytes(content)
    with pytest.raises(ValueError, match="is no checkpoint of BLIP's retrieval model"):
        save_for_transformers(file, tmp_path)
