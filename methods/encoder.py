"""The encoder that every method shares: two towers, and their frozen features.

N images, Q captions, D joint width, H trunk width.

    by default      data ──▶ trunks ──▶ encoder ──▶ features        projections trained here on frozen towers from PyPI
    a model named   model ──▶ encoder ──▶ features, states          as it is, or tuned; an encoder of another training likewise

`trunks` of the default and `states` of the others hold the token states that generators read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from methods.needs import Need, identity
from methods.retriever import Settings
from methods.stage import Stage


class EncoderSettings(Settings):
    """The encoder and its training. By default: the towers from PyPI, and the training of their projections."""

    model: str = Field(
        "",
        description="instead of the default: an open_clip architecture, or a model of open_clip or transformers, as a folder or hub name",
    )
    pretrained: str = Field("", description="of an open_clip architecture: its checkpoint, as a tag of open_clip's, a file or a folder")
    train: Literal["", "none", "projections", "full"] = Field(
        "", description="what is trained contrastively; empty: the projections of the default encoder, nothing of a named model"
    )
    embed_dim: int = Field(256, gt=0, description="joint width D; of the default encoder, a named model has its own")
    image_size: int = Field(128, gt=0, description="pixels; of the default encoder")
    context_length: int = Field(48, gt=2, description="tokens of a caption, the rest is cut; of the default encoder")
    epochs: int = Field(20, gt=0)
    batch: int = Field(512, gt=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1, description="on what the towers hand to the projections, in training")
    tuning_epochs: int = Field(5, gt=0, description="where whole towers, or the projections of a named model, are trained")
    tuning_batch: int = Field(128, gt=1)
    tuning_rate: float = Field(1e-5, gt=0)
    seed: int = 0

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {"epochs": 3, "batch": 64, "embed_dim": 64, "tuning_epochs": 1, "tuning_batch": 32}


TUNING = {"tuning_epochs", "tuning_batch", "tuning_rate", "weight_decay", "seed"}


def encoder_stages(config: EncoderSettings, data: Stage) -> dict[str, Stage]:
    """Returns the stages `trunks` (token states), `encoder` and `features` of a data set.

    Raises:
        ValueError: if settings contradict each other, or a named model is none.
    """
    _refuse_without_effect(config)
    if not config.model:
        if config.pretrained:
            raise ValueError(f"encoder.pretrained={config.pretrained!r} is a checkpoint of an architecture: name it with encoder.model")
        if config.train == "none":
            raise ValueError("the default encoder's projections start at random: encoder.train=none needs a model named by encoder.model")
        shape = config.model_dump(include={"embed_dim", "image_size", "context_length"})
        trunks = Stage("trunks", "methods.features:extract_trunks", {**shape, "embed_dim": 8}, {"data": data}, resumes=True)
        own = config.model_dump(exclude={"model", "pretrained", "train", *TUNING} - {"weight_decay", "seed"})
        encoder = Stage("encoder", "methods.features:train_encoder", own, {"data": data, "trunks": trunks})
        if config.train in ("", "projections"):
            features = Stage("features", "methods.features:project", {}, {"data": data, "trunks": trunks, "encoder": encoder}, version=2)
            return {"trunks": trunks, "encoder": encoder, "features": features}
    else:
        named = {"model": config.model, "pretrained": config.pretrained, "identity": [identity(need) for need in encoder_needs(config)]}
        encoder = Stage("model", "methods.named_model:take", named)
    if config.train not in ("", "none"):
        tuning = {**config.model_dump(include=TUNING), "whole": config.train == "full"}
        encoder = Stage("encoder", "methods.tuning:tune", tuning, {"data": data, "start": encoder}, resumes=True)
    inputs = {"data": data, "encoder": encoder}
    states = Stage("states", "methods.extraction:extract_states", {}, inputs, resumes=True)
    features = Stage("features", "methods.extraction:extract", {}, inputs, version=2, resumes=True)
    return {"trunks": states, "encoder": encoder, "features": features}


def _refuse_without_effect(config: EncoderSettings) -> None:
    """Raises ValueError if a setting was changed that nothing reads: a variant that is none. Tiny settings may be there for nothing."""
    tuned = config.train == "full" or (bool(config.model) and config.train == "projections")
    read = {
        "model",
        "pretrained",
        "train",
        *(() if config.model else set(EncoderSettings.model_fields) - TUNING | {"weight_decay", "seed"}),
    }
    read |= TUNING if tuned else set()
    tiny = EncoderSettings.tiny()
    for name, field in EncoderSettings.model_fields.items():
        value = getattr(config, name)
        if name not in read and value != field.default and value != tiny.get(name):
            remedy = (
                "a named model is trained where encoder.train says so, by encoder.tuning_epochs and its like"
                if config.model
                else ("it counts where encoder.train=full")
            )
            raise ValueError(f"encoder.{name}={value} has no effect: {remedy}")


def encoder_needs(config: EncoderSettings) -> list[Need]:
    """Returns what must be on this machine for an encoder: nothing for the default one.

    Raises:
        ValueError: if settings contradict each other, or name what is none.
    """
    if not config.model:
        return []
    from methods.named_model import named_needs

    return named_needs(config.model, config.pretrained)


def encoder_inputs(stages: Mapping[str, Stage], reads_states: bool = True) -> dict[str, Stage]:
    """Returns those of `encoder_stages` that a generator trains on.

    Args:
        reads_states: whether the generator reads the text tower's token states; one with a text encoder of its own does not, and where
            nothing else needs them they are not extracted.
    """
    kept = ("trunks", "encoder", "features") if reads_states or stages["trunks"].name == "trunks" else ("encoder", "features")
    return {name: stages[name] for name in kept}
