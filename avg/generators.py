"""Every generator by its settings or its folder: which class it is, made new or loaded."""

from __future__ import annotations

import json
from pathlib import Path

import avg.torchvision_schema  # noqa: F401  (before transformers)

from safetensors.torch import load_file
from torch import Tensor
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from avg.backbone import read_config
from avg.decoder_only import DecoderOnlyGenerator
from avg.frozen_text import FrozenTextGenerator
from avg.generator import BACKBONE, Generator
from avg.image_text import ImageTextGenerator
from avg.seq2seq import Seq2SeqGenerator
from avg.settings import OF_FROZEN_STATES, SHAPE, GeneratorSettings


def create(
    settings: GeneratorSettings, *, tokens: int, state_width: int, vector_width: int, codebook_VE: Tensor | None = None
) -> Generator:
    """Returns a new generator: over frozen text states, or on the transformers model in the folder `settings.backbone`."""
    if settings.backbone:
        cls = generator_class(Path(settings.backbone))
        return cls(settings, tokens=tokens, vector_width=vector_width, codebook_VE=codebook_VE)
    return FrozenTextGenerator(settings, tokens=tokens, state_width=state_width, vector_width=vector_width, codebook_VE=codebook_VE)


def load(folder: Path) -> Generator:
    """Returns a saved generator, in inference mode, on the CPU."""
    stored = json.loads((folder / "generator.json").read_text())
    given = stored["settings"]
    if given["backbone"]:  # a language model that was pretrained here brings the shape that it was given
        given = {name: value for name, value in given.items() if name not in SHAPE | OF_FROZEN_STATES}
    settings = GeneratorSettings(**given)
    if settings.backbone:
        here = settings.model_copy(update={"backbone": str(folder / BACKBONE)})
        cls = generator_class(folder / BACKBONE)
        generator: Generator = cls(here, tokens=stored["tokens"], vector_width=stored["vector_width"], saved=True)
    else:
        shape = {name: stored[name] for name in ("tokens", "state_width", "vector_width")}
        generator = FrozenTextGenerator(settings, **shape)
    weights = load_file(folder / "generator.safetensors")
    expected = set(generator.own_weights())
    if set(weights) != expected:
        raise ValueError(f"{folder} holds no weights of this generator: {sorted(expected ^ set(weights))[:3]} differ")
    generator.load_state_dict(weights, strict=False)
    return generator.eval()


def generator_class(folder: Path) -> type[Seq2SeqGenerator] | type[DecoderOnlyGenerator]:
    """Returns the class that makes a generator of this folder's model: an encoder-decoder, an image-text model or a decoder.

    Raises:
        ValueError: if the folder holds no configuration, or that of a model that writes nothing.
    """
    config = read_config(folder)
    if config.is_encoder_decoder:
        return Seq2SeqGenerator
    if config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return ImageTextGenerator
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return DecoderOnlyGenerator
    raise ValueError(f"backbone {folder} writes nothing: {config.model_type} is neither an encoder-decoder nor a causal language model")
