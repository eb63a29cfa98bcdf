"""The stand-in for LLaMA: it has learned the training captions, and a generator of it is a decoder with LoRA."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from avg.generators import load
from avg.settings import GeneratorSettings
from methods import language_model
from methods.data import Dataset
from methods.encoder import EncoderSettings, encoder_stages
from methods.generator import generator_needs, generator_stage
from methods.language_model import _ended, _tokenizer
from methods.stage import Stage
from tests.methods.made_up import CAPTIONS, IMAGES, SETTINGS, captions, stage_inputs, training

SHAPE = {"width": 32, "layers": 1, "heads": 2, "feed_forward": 32}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language-model")
    inputs = stage_inputs(folder)
    (out := folder / "out").mkdir()
    stage = Stage("language-model", "methods.language_model:pretrain", {**SHAPE, "kind": "llama", "epochs": 60, "seed": 0})
    return inputs, out, stage({"data": inputs["data"]}, out)


def test_it_has_learned_the_captions_of_train(pretrained):
    _, out, report = pretrained
    assert report["loss by epoch"][0] > 0.8 * math.log(report["words"])
    assert report["loss by epoch"][-1] < report["loss by epoch"][0] / 2
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out / "model"), AutoTokenizer.from_pretrained(out / "model")
    words = tokenizer("picture very", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        likely = tokenizer.decode(model(words[:, :2]).logits[0, -1].argmax())
    assert likely.strip() == "very", "two captions of three go on so"


def test_a_loss_is_that_of_all_tokens_whatever_batch_they_are_in(pretrained, tmp_path, monkeypatch):
    """One long caption in a batch of its own, and many short ones."""
    inputs, _, _ = pretrained
    (out := tmp_path / "out").mkdir()
    monkeypatch.setattr(language_model, "BATCH", 20)
    stage = Stage("language-model", "methods.language_model:pretrain", {**SHAPE, "kind": "llama", "epochs": 1, "seed": 0})
    given = Dataset(inputs["data"]).split("val").captions
    told = [*given[:40], " ".join(given)]
    monkeypatch.setattr(Dataset, "split", lambda data, name: SimpleNamespace(captions=told))
    report = stage({"data": inputs["data"]}, out)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out / "model").eval(), AutoTokenizer.from_pretrained(out / "model")
    losses, counts = [], []
    for text in told:
        words = torch.tensor(_ended(tokenizer, [text]))
        with torch.inference_mode():
            losses.append(float(model(words, labels=words).loss) * (words.shape[1] - 1))
        counts.append(words.shape[1] - 1)
    assert report["val loss"] == pytest.approx(sum(losses) / sum(counts), abs=2e-4)


def test_the_same_captions_give_the_same_words():
    """Of these, many pieces are equally frequent: a trainer that breaks ties by chance gives six tokenizers."""
    places = [
        f"A {one} and {other} near the {third}."
        for one in ("carrot", "camel", "cat")
        for other in ("corn", "cone")
        for third in ("house", "horse")
    ]
    learned = {_tokenizer(places).backend_tokenizer.to_str() for _ in range(6)}
    assert len(learned) == 1
    tokenizer = _tokenizer(places)
    words = tokenizer("A Cat near the café")["input_ids"]
    assert words[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in words, "a prompt does not end: the first voken follows its last word"
    assert _ended(tokenizer, ["A Cat near the café"]) == [[*words, tokenizer.eos_token_id]]
    assert tokenizer.decode(words, skip_special_tokens=True).strip() == "a cat near the café", "nothing is unknown"


def test_a_generator_is_made_of_it_and_needs_it_no_more(pretrained, tmp_path):
    inputs, model, _ = pretrained
    (out := tmp_path / "out").mkdir()
    settings = SETTINGS.model_copy(update={"language_model": "llama", "lora_rank": 2, "epochs": 1})
    report = training(settings)({**inputs, "language_model": model}, out)
    assert report["model"].startswith("LlamaForCausalLM of transformers, ")
    assert report["model"].endswith(", LoRA of rank 2")
    assert json.loads((out / "generator.json").read_text())["settings"]["backbone"] == "backbone"
    generator = load(out)
    base = AutoModelForCausalLM.from_pretrained(model / "model")
    attention = "model.layers.0.self_attn.q_proj.weight"
    adapted = dict(generator.language_model.named_parameters())["model.layers.0.self_attn.q_proj.base_layer.weight"]
    assert torch.equal(dict(base.named_parameters())[attention], adapted), "LoRA leaves it as it was"
    assert len(captions()) == IMAGES * CAPTIONS


def test_the_stages_are_planned_without_it():
    data = Stage("data", "nowhere:build", {})
    encoder, codes = encoder_stages(EncoderSettings(), data), Stage("codes", "nowhere:codes", {})

    def planned(**given):
        settings = GeneratorSettings(**given)
        return generator_stage(settings, data, encoder, codes, pictures_of=[], seed=3), generator_needs(settings)

    stage, needs = planned()
    assert "language_model" not in stage.inputs
    assert needs == []
    assert stage.resumes
    stage, needs = planned(language_model="llama", width=64)
    assert stage.inputs["language_model"].config["width"] == 64
    assert stage.inputs["language_model"].config["seed"] == 3
    stage, needs = planned(backbone="google-t5/t5-base")
    assert [str(need) for need in needs] == ["model google-t5/t5-base"]
    assert stage.config["identity"] == ["hub:google-t5/t5-base@"]
