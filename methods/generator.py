"""The stage that trains a generator, and those that it needs of its own, planned without torch.

data ──▶ encoder's stages ──▶ generator ◀── codes
     └─▶ language-model ────────┘                  only where `language_model` asks for the stand-in
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avg.settings import SHAPE, GeneratorSettings
from avg.tokenizer_files import refuse_none
from methods.encoder import encoder_inputs
from methods.needs import Need, identity, is_met, resolve
from methods.stage import Stage


def generator_needs(settings: GeneratorSettings) -> list[Need]:
    """Returns what must be on this machine for a generator: the backbone that is named, a folder or a model of the hub.

    Raises:
        ValueError: if what is named is here and no model that writes, or has no tokenizer, or LoRA is asked of an encoder-decoder.
    """
    if not settings.backbone:
        return []
    need = Need.of_model(settings.backbone)
    if is_met(need):
        _check(resolve(need), settings)
    return [need]


def _check(folder: Path, settings: GeneratorSettings) -> None:
    path = folder / "config.json"
    try:
        stated = json.loads(path.read_text())
        kind = stated["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"backbone {folder} is no transformers folder: config.json is missing or states no model_type") from error
    if settings.lora_rank and stated.get("is_encoder_decoder", False):
        raise ValueError(f"lora_rank: backbone {folder} is an encoder-decoder ({kind}), LoRA is for decoders: leave it out")
    refuse_none(folder)
    from avg.generators import generator_class

    generator_class(folder)  # refuses a model that writes nothing


def generator_stage(
    settings: GeneratorSettings,
    data: Stage,
    encoder: Mapping[str, Stage],
    codes: Stage,
    *,
    pictures_of: Sequence[str] = (),
    learned: Sequence[str] = (),
    queries: Mapping[str, Stage] | None = None,
    selection: str = "val",
    seed: int = 0,
) -> Stage:
    """Returns the stage that trains a generator on identifiers.

    Args:
        encoder: the stages of `encoder_stages`.
        pictures_of: splits whose pictures are learned besides the training captions.
        learned, queries: splits that are learned with pseudo-queries, and the stages that make these.
        selection: the split by which a checkpoint is chosen.
    """
    config: dict[str, Any] = {
        "generator": {**settings.meaning(), "seed": seed},
        "pictures_of": list(pictures_of),
        "learned": list(learned),
        "selection": selection,
    }
    if settings.backbone:
        config["identity"] = [identity(need) for need in generator_needs(settings)]
    own_words = bool(settings.backbone or settings.language_model)
    inputs = {"data": data, **encoder_inputs(encoder, reads_states=not own_words), "codes": codes, **(queries or {})}
    if settings.language_model:
        inputs["language_model"] = _language_model(settings, data, seed)
    version = 4 if pictures_of else 3  # the fourth draws pictures in other ways; without any it is the third
    how = settings.model_dump(include=set(settings.HOW))
    return Stage("generator", "methods.training:train", config, inputs, version=version, resumes=True, how=how)


def _language_model(settings: GeneratorSettings, data: Stage, seed: int) -> Stage:
    config = {
        **settings.model_dump(include=set(SHAPE)),
        "kind": settings.language_model,
        "epochs": settings.language_model_epochs,
        "seed": seed,
    }
    return Stage("language-model", "methods.language_model:pretrain", config, {"data": data}, version=3)
