"""Shapes of models that are timed with random weights: arguments of transformers' configurations. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping

T5: Mapping[str, Mapping[str, int]] = {
    "t5-base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "t5-small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "tiny": {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2},
}
VIT_L_TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768}
TEXT_TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 32}
BLIP_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
BLIP_TINY = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
