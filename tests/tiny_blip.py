"""Small random BLIP checkpoints in the hub's real format, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401

import numpy as np
import torch
from PIL import Image
from transformers import BlipConfig, BlipForImageTextRetrieval
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from baselines.blip_checkpoint import bert_tokenizer

TINY_VISION = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}  # 64 a head, as in BLIP
VIT_B = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
TINY_TEXT = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 12}
CAPTIONS = (
    "a cat",
    "Two dogs on a red ground, running!",
    "one small (green) hat; and a boat ~ on blue",
    "a " * 20 + "very long caption, that no limit of words or tokens would let pass as it is " + "and on " * 10,
)


def write_blip(folder: Path, cls: Any = BlipForImageTextRetrieval, size: int = 32, seed: int = 0, **vision: int) -> Path:
    """Writes weights, configuration, tokenizer and preprocessing, and returns the folder. Every weight is drawn, none is zero or one."""
    config = BlipConfig(
        image_text_hidden_size=256,
        vision_config={**TINY_VISION, **vision, "image_size": size, "patch_size": 16, "layer_norm_eps": 1e-6},
        text_config={**TINY_TEXT, "vocab_size": 30524, "max_position_embeddings": 64},
    )
    model = cls(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            is_norm = "norm" in name.lower() and name.endswith("weight")
            weight.copy_(is_norm + torch.randn(weight.shape, generator=generator) * min(0.1, weight.shape[-1] ** -0.5))
    model.save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    BlipImageProcessorPil(size={"height": size, "width": size}).save_pretrained(folder)
    return folder


def noise(count: int, seed: int = 0) -> list[Image.Image]:
    """Returns pictures of differing sizes."""
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (*rng.integers(20, 90, 2), 3), dtype=np.uint8)) for _ in range(count)]
