"""The encoder that every method shares: an open_clip model whose projections are trained here on frozen towers, and its features.

N images, Q captions, D joint width, H trunk width.

    data ──▶ trunks ──▶ encoder ──▶ features        (`trunks` also holds the token states that generators read)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from methods.retriever import Settings
from methods.stage import Stage


class EncoderSettings(Settings):
    """The default encoder and the training of its projections."""

    embed_dim: int = Field(256, gt=0, description="joint width D")
    image_size: int = Field(128, gt=0, description="pixels")
    context_length: int = Field(48, gt=2, description="tokens of a caption, the rest is cut")
    epochs: int = Field(20, gt=0)
    batch: int = Field(512, gt=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1, description="on what the towers hand to the projections, in training")
    seed: int = 0

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {"epochs": 3, "batch": 64, "embed_dim": 64}


def encoder_stages(config: EncoderSettings, data: Stage) -> dict[str, Stage]:
    """Returns the stages `trunks`, `encoder` and `features` of a data set."""
    shape = config.model_dump(include={"embed_dim", "image_size", "context_length"})
    trunks = Stage("trunks", "methods.features:extract_trunks", {**shape, "embed_dim": 8}, {"data": data})
    encoder = Stage("encoder", "methods.features:train_encoder", config.model_dump(), {"data": data, "trunks": trunks})
    features = Stage("features", "methods.features:project", {}, {"data": data, "trunks": trunks, "encoder": encoder})
    return {"trunks": trunks, "encoder": encoder, "features": features}


def encoder_inputs(stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """Returns those of `encoder_stages` that a generator trains on."""
    return {name: stages[name] for name in ("trunks", "encoder", "features")}


Folders = Mapping[str, Path]
