"""Every method by name. Listing needs none of their imports."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from avg.settings import Settings
from methods.encoder import EncoderSettings
from methods.retriever import Retriever
from methods.spelling import suggestion

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    # name: ("module:class", configuration that makes the variant)
    "avg": ("methods.avg:AVG", {}),
    "irgen": ("methods.irgen:IRGen", {}),
    "grace-numeric": ("methods.grace:GRACE", {"identifier": "numeric"}),
    "grace-string": ("methods.grace:GRACE", {"identifier": "string"}),
    "grace-semantic": ("methods.grace:GRACE", {"identifier": "semantic"}),
    "grace-structured": ("methods.grace:GRACE", {"identifier": "structured"}),
    "grace-atomic": ("methods.grace_atomic:GRACEAtomic", {}),
    "clip": ("methods.clip:CLIP", {}),
    "blip": ("methods.blip:BLIP", {}),
    "blip-itc": ("methods.blip:BLIP", {"mode": "itc"}),
    "blip-exhaustive": ("methods.blip:BLIP", {"mode": "exhaustive"}),
    "clip-blip": ("methods.composed:CLIPBLIP", {}),
    "avg-clip": ("methods.composed:AVGCLIP", {}),
    "oracle": ("methods.reference:OracleRetriever", {}),
    "random": ("methods.reference:RandomRetriever", {}),
}


def method_class(name: str) -> tuple[type[Retriever], dict[str, Any]]:
    """Returns the class of a method and the settings that make the named variant of it.

    Raises:
        ValueError: if there is no such method; lists those there are.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}: {suggestion(name, list(METHODS))}")
    path, variant = METHODS[name]
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute), variant


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested settings of which the second ones win, key by key."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def create(name: str, settings: Mapping[str, Any] | None = None) -> Retriever:
    """Returns an unfitted retriever.

    Args:
        name: a registered method.
        settings: overrides of its configuration.

    Raises:
        ValueError: unknown method, unknown setting (lists the valid ones) or impossible value.
    """
    cls, variant = method_class(name)
    given = merged(variant, settings or {})
    valid = list(cls.Config.model_fields)
    for key in given:
        if key not in valid:
            raise ValueError(f"unknown setting {key!r} of {name}: {suggestion(key, valid)}")
    from pydantic import ValidationError

    try:
        # a nested setting that is given in part keeps the method's own defaults for the rest
        config = cls.Config(**merged(cls.Config().model_dump(), given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        stated = "" if isinstance(first["input"], Mapping) else f" = {first['input']!r}"  # a rule between settings: they are all of them
        raise ValueError(f"impossible setting of {name}: {where}{stated}: {first['msg']}") from error
    _refuse_seeds(name, config)
    return cls(config)


def _refuse_seeds(name: str, config: Settings, where: str = "") -> None:
    """Raises if a part is given a seed: a method's own takes its place. Not the encoder's, which methods share."""
    for part, value in config:
        if not isinstance(value, Settings) or isinstance(value, EncoderSettings):
            continue
        seed = type(value).model_fields.get("seed")
        if seed is not None and value.seed != seed.default:  # type: ignore[attr-defined]
            raise ValueError(f"{where}{part}.seed of {name} is not used: set the method's own seed, or --seeds")
        _refuse_seeds(name, value, f"{where}{part}.")
