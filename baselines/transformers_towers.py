"""A transformers vision-text model as towers: CLIP, SigLIP and others that give picture and text features, saved by `save_pretrained`.

B batch, D joint width, T token positions, H width of a text state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers, which may import torchvision)

from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel

from avg.tokenizer_files import opened, refuse_none
from baselines.open_clip_towers import text_mask
from baselines.towers import Towers, Wordpieces, damaged

PICTURES = ("preprocessor_config.json", "processor_config.json")
"""Where transformers finds how pictures are prepared."""
PADDED = ("siglip", "siglip2")
"""Models trained on texts padded to their full length and without an attention mask: they must be asked in the same way."""


class TransformersTowers(Towers):
    """A transformers model with its image processor and tokenizer.

    Args:
        folder: holds `config.json`, weights, `preprocessor_config.json` and a tokenizer's files.

    Raises:
        ValueError: if the folder is none, its weights are damaged or not all there, or the model has no two towers.
    """

    def __init__(self, folder: Path):
        self.model = _model(folder)
        self.image_processor, self.tokenizer = _image_processor(folder), opened(folder)
        self.padded = self.model.config.model_type in PADDED
        self.longest = self.model.config.text_config.max_position_embeddings

    def pixels(self, picture) -> Tensor:
        return self.image_processor(images=picture, return_tensors="pt")["pixel_values"][0]

    def tokens(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        padding = "max_length" if self.padded else "longest"
        encoded = self.tokenizer(list(captions), padding=padding, truncation=True, max_length=self.longest, return_tensors="pt")
        tokens_BT = encoded["input_ids"]
        if self.padded:
            return tokens_BT, text_mask(tokens_BT, self.tokenizer)
        # not by comparison with the pad token: CLIP's own is also what ends a text
        return tokens_BT, encoded["attention_mask"].bool()

    def picture_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        return self.model.get_image_features(pixel_values=pixels_BCHW).pooler_output

    def caption_vectors(self, tokens_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        mask = {} if self.padded else {"attention_mask": mask_BT.long()}
        found = self.model.get_text_features(input_ids=tokens_BT, **mask)
        return found.pooler_output, found.last_hidden_state

    def projections(self) -> list[nn.Parameter]:
        parts = (getattr(self.model, name, None) for name in ("visual_projection", "text_projection"))
        return [parameter for part in parts if part is not None for parameter in part.parameters()]

    def save(self, folder: Path) -> None:
        for part in (self.model, self.image_processor, self.tokenizer):
            part.save_pretrained(folder)


def _model(folder: Path) -> Any:
    from safetensors import SafetensorError
    from transformers.utils import logging

    config = json.loads((folder / "config.json").read_text())
    kind = config.get("model_type", "")
    logging.disable_progress_bar()
    try:
        model, loading = AutoModel.from_pretrained(folder, output_loading_info=True, dtype="float32", local_files_only=True)
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise damaged(folder, error) from error
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"{folder} is no model that transformers loads: {str(error).splitlines()[0][:200]}") from error
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features") and hasattr(model, "logit_scale")):
        raise no_towers(folder, kind)
    absent = sorted(loading["missing_keys"]) + [str(entry[0]) for entry in loading.get("mismatched_keys", ())]
    if absent:
        raise ValueError(f"{folder} lacks weights of its own model: {', '.join(absent[:2])}; {len(absent)} are missing or of another shape")
    return model


def _image_processor(folder: Path) -> Any:
    try:
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError, ImportError, TypeError, KeyError) as error:
        told = str(error).splitlines()[0][:120]
        raise ValueError(f"{folder} holds no image processor ({PICTURES[0]}): save it there with save_pretrained ({told})") from error


def refuse_incomplete(folder: Path) -> None:
    """Does nothing if a folder holds a dual encoder with all that it needs, as far as can be told without loading it.

    Raises:
        ValueError: if its configuration has no two towers, or what prepares captions or pictures is missing.
    """
    try:
        config = dict(json.loads((folder / "config.json").read_text()))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'config.json'} cannot be read ({error}): save the model there again with save_pretrained") from error
    if not {"text_config", "vision_config"} <= set(config):
        raise no_towers(folder, config.get("model_type", ""))
    refuse_none(folder)
    if not any((folder / name).is_file() for name in PICTURES):
        raise ValueError(f"{folder} holds no image processor ({PICTURES[0]}): save it there with save_pretrained")


def no_towers(folder: Path, kind: str) -> ValueError:
    return ValueError(f"{folder} is of type {kind!r}, which has no two towers: give a CLIP, SigLIP or other dual encoder")


def wordpieces(folder: Path) -> Wordpieces:
    tokenizer = opened(folder)
    return lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
