"""How a transformers folder is opened: with all of its weights, or not at all; and what settings reach its model."""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM, LlamaModel

from avg.generators import create, load
from avg.settings import GeneratorSettings
from tests.methods.made_up import llama, t5

TOKENS = 6


def _generator(folder, **given):
    return create(GeneratorSettings(backbone=str(folder), **given), tokens=TOKENS, state_width=1, vector_width=5)


def _rewritten(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("write", [t5, llama])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda weights: {f"module.{name}": value for name, value in weights.items()}, r"\d+ weights are missing"),
        (lambda weights: {name: value for name, value in weights.items() if "block.1." not in name and "layers.1." not in name},
         r"(block|layers)\.1\."),
        (lambda weights: {name: value[:-1] if "layers.0.mlp" in name or "DenseReluDense" in name else value
                          for name, value in weights.items()}, r"(DenseReluDense|mlp)\."),
        (lambda weights: {name: value for name, value in weights.items() if "shared" not in name and "embed" not in name}, "shared|embed"),
    ],
    ids=["keys of a wrapper", "a block is missing", "another shape", "no embeddings"],
)  # fmt: skip
def test_weights_that_do_not_load_are_refused(write, change, named, tmp_path):
    _rewritten(write(tmp_path, **({"tie_word_embeddings": True} if write is llama else {})), change)
    with pytest.raises(ValueError, match=named) as raised:
        _generator(tmp_path)
    assert "weights are missing or of another shape" in str(raised.value) and "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_plain_decoder_without_a_head_is_a_backbone(tmp_path):
    """The same of a model whose head is tied and one whose head is its own."""
    for tied in (True, False):
        (folder := tmp_path / str(tied)).mkdir()
        llama(folder, tie_word_embeddings=tied)
        plain = LlamaForCausalLM.from_pretrained(folder).model
        plain.save_pretrained(folder)
        assert isinstance(plain, LlamaModel)
        found = _generator(folder).decoder.state_dict()
        assert torch.equal(found["layers.1.mlp.up_proj.weight"], plain.layers[1].mlp.up_proj.weight)


@pytest.mark.parametrize("name", ["consolidated.00.pth", "original/consolidated.00.pth", "weights.npz"])
def test_weights_in_a_format_that_is_not_read_are_no_new_model(name, tmp_path):
    llama(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert _generator(tmp_path), "no weights at all: a new model"
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(ValueError, match=f"{name} is not read: save it there as model.safetensors"):
        _generator(tmp_path)


def test_dropout_reaches_the_backbone_where_it_is_set(tmp_path):
    for kind, write in (("t5", t5), ("llama", llama)):
        (folder := tmp_path / kind).mkdir()
        write(folder)
        assert _generator(folder).model.config.to_dict() == _generator(folder, dropout=0.0).model.config.to_dict(), "its own"
        generator = _generator(folder, dropout=0.3)
        rates = {part.p for part in generator.modules() if isinstance(part, torch.nn.Dropout)}
        attention = {part.attention_dropout for part in generator.modules() if isinstance(getattr(part, "attention_dropout", None), float)}
        assert rates | attention == {0.3}
        (saved := tmp_path / f"{kind}-saved").mkdir()
        generator.save(saved)
        assert load(saved).settings.dropout == 0.3


def test_the_dropouts_of_other_decoders_are_known(tmp_path):
    llama(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    words = LlamaConfig.from_pretrained(tmp_path).vocab_size
    GPT2Config(vocab_size=words, n_embd=16, n_layer=1, n_head=2, n_positions=64).save_pretrained(tmp_path)
    config = _generator(tmp_path, dropout=0.3).model.config
    assert (config.resid_pdrop, config.attn_pdrop) == (0.3, 0.3)


@pytest.mark.parametrize("name", ["width", "layers", "heads", "feed_forward", "source_dropout", "caption_vector"])
def test_settings_that_a_backbone_does_not_use_are_refused(name):
    value = {"source_dropout": 0.1, "caption_vector": False}.get(name, 48)
    with pytest.raises(ValueError, match=f"{name} = {value}: a backbone does not use it: leave it out"):
        GeneratorSettings(backbone="x", **{name: value})
    GeneratorSettings(**{name: value})


def test_a_language_model_has_a_shape_and_no_frozen_states():
    assert GeneratorSettings(language_model="llama", width=48, layers=1, heads=2, feed_forward=96, dropout=0.1).width == 48
    with pytest.raises(ValueError, match=r"source_dropout = 0\.1: a language_model does not use it"):
        GeneratorSettings(language_model="llama", source_dropout=0.1)


def test_what_tiny_sets_and_what_is_dumped_counts_as_not_set():
    settings = GeneratorSettings(**{**GeneratorSettings().model_dump(), **GeneratorSettings.tiny(), "backbone": "x"})
    assert GeneratorSettings(**settings.model_dump()) == settings


def test_a_generator_of_a_shaped_language_model_is_loaded(tmp_path):
    (folder := tmp_path / "llama").mkdir()
    settings = GeneratorSettings(language_model="llama", width=16, heads=2)
    as_trained = settings.model_copy(update={"backbone": str(llama(folder)), "language_model": ""})
    generator = create(as_trained, tokens=TOKENS, state_width=1, vector_width=5)
    (saved := tmp_path / "saved").mkdir()
    generator.save(saved)
    assert load(saved).decoder.config.hidden_size == 16
