"""Which generator a transformers folder becomes, and how its model and tokenizer are opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch

if TYPE_CHECKING:
    from avg.decoder_only import DecoderOnlyGenerator
    from avg.seq2seq import Seq2SeqGenerator

TEXT_TOKENS = 128
"""Tokens of a caption that are read, as AVG's release does; the rest is cut."""


def generator_class(folder: Path) -> type[Seq2SeqGenerator] | type[DecoderOnlyGenerator]:
    """Returns the class that makes a generator of this folder's model: an encoder-decoder, an image-text model or a decoder.

    Raises:
        ValueError: if the folder holds no configuration, or that of a model that writes nothing.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    config = read_config(folder)
    if config.is_encoder_decoder:
        from avg.seq2seq import Seq2SeqGenerator

        return Seq2SeqGenerator
    if config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        from avg.image_text import ImageTextGenerator

        return ImageTextGenerator
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        from avg.decoder_only import DecoderOnlyGenerator

        return DecoderOnlyGenerator
    raise ValueError(f"backbone {folder} writes nothing: {config.model_type} is neither an encoder-decoder nor a causal language model")


def read_config(folder: Path) -> Any:
    """Returns a folder's transformers configuration.

    Raises:
        ValueError: if it has none, or one that transformers does not know.
    """
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise ValueError(f"backbone {folder} is no transformers folder: config.json is missing")
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"backbone {folder} cannot be loaded: {str(error).splitlines()[0]}") from error


def open_backbone(folder: Path, auto_class: Any, what: str) -> tuple[Any, Any]:
    """Returns (model, tokenizer) of a folder, weights in float32: pretrained where it holds weights, else new ones of its configuration.

    Args:
        auto_class: transformers' `AutoModelFor...`.
        what: kind of model, for the error.

    Raises:
        ValueError: if the folder holds no such model, or no tokenizer that transformers reads.
    """
    from transformers import AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of shards read and written; a training's own bar says how far it is
    config = read_config(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
            # a checkpoint in bfloat16 would be trained in it: the products are in the fast format anyway, the weights must not be
            model = auto_class.from_pretrained(folder, dtype=torch.float32)
            for parameter in model.parameters():
                # sums over memory that lies as the file has it, unaligned, differ in the last bit from a copy's
                parameter.data = parameter.data.clone()
            return model, tokenizer
        return auto_class.from_config(config, dtype=torch.float32), tokenizer
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"backbone {folder} cannot be loaded as {what}: {str(error).splitlines()[0]}") from error
