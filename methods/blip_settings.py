"""Settings of the small BLIP that is trained here, readable without torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from avg.settings import Settings


class TrainingSettings(Settings):
    """Shape and training of a BLIP on MiniLM and EfficientNet-Lite0."""

    layers: int = Field(3, gt=0, le=6, description="of MiniLM's six, from the first; each gets a new cross-attention")
    vision_layers: int = Field(1, ge=0, description="of BLIP's vision encoder, over the frozen feature map")
    image_size: int = Field(128, gt=0, multiple_of=32, description="pixels; a cell of the feature map is 32 wide")
    embed_dim: int = Field(256, gt=0, description="width of the space in which vectors are compared")
    contrastive_epochs: int = Field(8, ge=0, description="passes over the pictures, a caption of each, with the contrastive loss alone")
    epochs: int = Field(2, gt=0, description="passes with both losses")
    batch: int = Field(128, gt=1)
    negatives: int = Field(1, gt=0, description="hard negatives of each caption, and of each picture, in matching")
    learning_rate: float = Field(5e-4, gt=0, description="of what is new")
    text_rate: float = Field(1e-4, gt=0, description="of MiniLM's layers; its embeddings are frozen")
    weight_decay: float = Field(0.01, ge=0)
    temperature: float = Field(0.05, gt=0, description="of the contrastive loss at the start; it is learned")
    shortlist: int = Field(8, gt=0, description="of a validation caption, when the epoch is chosen")
    seed: int = 0

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {"layers": 1, "contrastive_epochs": 1, "epochs": 1, "batch": 32, "embed_dim": 64}
