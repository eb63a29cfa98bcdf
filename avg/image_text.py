"""GRACE's generator on an image-text model of transformers that feeds a vision tower's patches to a decoder: LLaVA and its like.

B batch, P patches of a picture, W model width, V identifier tokens.

A picture enters as the model's own vision tower and projector give it, in place of a prompt. GRACE was published on OpenFlamingo-3B, which
transformers does not have: there the patches go through a perceiver and are read by gated cross-attention between the decoder's layers;
here they stand before the identifier. As there, the vision tower is frozen, what connects it and the decoder are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from torch import Tensor, nn

from avg.backbone import open_backbone
from avg.decoder_only import DecoderOnlyGenerator
from avg.decoding import Source
from avg.generator import BACKBONE
from avg.precision import autocast
from avg.settings import GeneratorSettings


class ImageTextGenerator(DecoderOnlyGenerator):
    """An image-text checkpoint, or a new model of a configuration, with V rows more; its folder holds an image processor too.

    `picture_source` takes what `pixels` returns, (B, C, height, width), not vectors.

    Raises:
        ValueError: if the folder holds no such model, or no tokenizer or image processor.
    """

    reads_pixels = True

    def __init__(
        self,
        settings: GeneratorSettings,
        *,
        tokens: int,
        vector_width: int,
        codebook_VE: Tensor | None = None,
        saved: bool = False,
    ):
        super().__init__(settings, tokens=tokens, vector_width=vector_width, codebook_VE=codebook_VE, saved=saved)
        del self.from_picture  # the model has its own
        self._vision.requires_grad_(False)

    def _opened(self, folder: Path, dropout: float) -> tuple[Any, Any]:
        from transformers import AutoImageProcessor, AutoModelForImageTextToText

        model, tokenizer = open_backbone(folder, AutoModelForImageTextToText, "an image-text model", dropout)
        try:
            self.processor = AutoImageProcessor.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise ValueError(f"backbone {folder} has no image processor: {str(error).splitlines()[0]}") from error
        if not all(hasattr(model.model, part) for part in ("vision_tower", "language_model", "multi_modal_projector")):
            kind = model.config.model_type
            raise ValueError(f"backbone {folder}: {kind} does not put projected patches before its decoder, as LLaVA does")
        return model, tokenizer

    @property
    def decoder(self) -> nn.Module:  # type: ignore[override]
        return self.language_model.model.language_model

    @property
    def _vision(self) -> nn.Module:
        return self.language_model.model.vision_tower

    def train(self, mode: bool = True) -> ImageTextGenerator:
        super().train(mode)
        self._vision.eval()
        return self

    def pixels(self, pictures: Sequence[Any]) -> Tensor:
        return self.processor(images=[picture.convert("RGB") for picture in pictures], return_tensors="pt")["pixel_values"]

    def picture_source(self, vectors_BD: Tensor) -> Source:
        with autocast(self.device):
            found = self.language_model.model.get_image_features(pixel_values=vectors_BD.to(self.device), return_dict=True)
        states_BPW = torch.stack(list(found.pooler_output)).float()
        return Source(states_BPW, torch.ones(states_BPW.shape[:2], dtype=torch.bool, device=self.device))

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.processor.save_pretrained(folder / BACKBONE)

    def own_weights(self) -> dict[str, Tensor]:
        return {}
