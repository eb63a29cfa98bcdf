"""Settings of a table's rows, from the weakest to the strongest: the method's own, a settings file's, the protocol's, the tiny ones, the
row's, those of the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from benchmarks.cells import SCENE_FACTS
from benchmarks.protocol import CLEAN, Protocol, fixed
from benchmarks.spec import Row, Table
from methods.registry import create, method_class
from methods.retriever import SearchKnobs
from methods.spelling import suggestion

TINY_SHORTLIST = 10
"""Pairs that a tiny cross-encoder reads for a query: each costs a pass."""

Given = Mapping[str, Mapping[str, Any]]
"""{method or family: {`setting`, or `part.setting`: value}}"""


def parsed(assignments: Iterable[str], table: Table) -> dict[str, dict[str, Any]]:
    """Returns what assignments like `avg.codebook_size=256` give; values are JSON, or else words.

    Raises:
        ValueError: if one is not of this form, or no row of the table is of that method. Settings are looked up by `resolved`.
    """
    valid = sorted({name for row in table.rows if row.method != SCENE_FACTS for name in names_of(row.method)})
    given: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        address, equals, text = assignment.partition("=")
        method, dot, setting = address.partition(".")
        if not (equals and dot and setting):
            raise ValueError(f"cannot read --set {assignment!r}: write METHOD.SETTING=VALUE, e.g. avg.codebook_size=256")
        if method not in valid:
            raise ValueError(f"--set {assignment!r}: no row of the table has the method {method!r}: {suggestion(method, valid)}")
        if setting.rpartition(".")[2] == "seed":
            raise ValueError(f"--set {assignment!r}: seeds are set for all rows together, with --seeds")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        given.setdefault(method, {})[setting] = value
    return given


def resolved(row: Row, tiny: bool, given: Given, rules: Protocol = CLEAN, base: Given | None = None) -> Row:
    """Returns the row with its settings and search knobs overridden.

    A setting of a part, e.g. `tokenizer.codebook_size`, may be given by its last name where only one part has such a setting.

    Args:
        base: as from `settings_file.read`; what a member of a family does not have is none of its, nor a model where the row has its own.

    Raises:
        ValueError: unknown setting, or one that several parts have; lists the valid ones.
    """
    if row.method == SCENE_FACTS:
        return row
    cls, variant = method_class(row.method)
    default = create(row.method).config
    settings, knobs = dict(variant), dict(row.knobs)
    if tiny and create(row.method).shortlists:
        knobs.setdefault("shortlist", TINY_SHORTLIST)
    for address, value in of_method(base or {}, row.method).items():
        if _has_its_own(row, address):
            continue
        settings = _merged(settings, _layer(address, value, type(default), row.method), default)
    for address, value in fixed(rules, row.method).items():
        settings = _merged(settings, _layer(address, value, type(default), row.method), default)
    for layer in (cls.Config.tiny() if tiny else {}, row.tiny or row.settings if tiny else row.settings):
        settings = _merged(settings, layer, default)
    # The family first: what is given for `grace-numeric` is stronger than what is given for all of `grace`.
    for name in dict.fromkeys(reversed(names_of(row.method))):
        for address, value in given.get(name, {}).items():
            if address in SearchKnobs.model_fields:
                knobs[address] = value
                continue
            settings = _merged(settings, _layer(address, value, type(default), row.method), default)
    return replace(row, settings=settings, knobs=knobs)


def _has_its_own(row: Row, address: str) -> bool:
    """Says whether a setting is of a model that the row does not have: it names another encoder, or a new decoder by its shape."""
    encoder, generator = row.settings.get("encoder", {}), row.settings.get("generator", {})
    other_encoder = address.startswith("encoder.") and encoder.get("model")
    return bool(other_encoder) or (address == "generator.backbone" and not {"language_model", "width"}.isdisjoint(generator))


def described(method: str) -> list[tuple[str, Any, str]]:
    """Returns (`setting` or `part.setting`, default, description) of all that can be set of a method.

    Raises:
        ValueError: if there is no such method; lists those there are.
    """

    def visit(config: BaseModel, before: str) -> Iterator[tuple[str, Any, str]]:
        for name, field in type(config).model_fields.items():
            value = getattr(config, name)
            if isinstance(value, BaseModel):
                yield from visit(value, f"{before}{name}.")
            elif name != "seed":
                yield before + name, value, field.description or ""

    return list(visit(create(method).config, ""))


def names_of(method: str) -> tuple[str, str]:
    """Returns a method's own name and its family's: `grace-numeric` is set alone, or with all of `grace`."""
    return method, method.partition("-")[0]


def addresses(method: str) -> set[str]:
    """Returns `setting` or `part.setting` of all that can be set of a method."""
    return {".".join(path) for path in _paths(type(create(method).config))}


def of_method(base: Given, method: str) -> dict[str, Any]:
    """Returns {`part.setting`: value} that a settings file has for a method: its own are stronger than its family's, and of these it takes
    what it has."""
    own, family = names_of(method)
    of_family = {address: value for address, value in base.get(family, {}).items() if address in addresses(method)}
    return {**of_family, **(base.get(own, {}) if own != family else {})}


def _merged(settings: Mapping[str, Any], layer: Mapping[str, Any], default: BaseModel) -> dict[str, Any]:
    """A part of which one setting is given keeps this method's defaults for the others, not those of the part's class."""
    result = dict(settings)
    for key, value in layer.items():
        part = getattr(default, key, None)
        if isinstance(part, BaseModel) and isinstance(value, Mapping):
            value = _merged(result.get(key, part.model_dump(mode="json")), value, part)
        result[key] = value
    return result


def _layer(address: str, value: Any, config: type[BaseModel], method: str) -> dict[str, Any]:
    layer = value
    for part in reversed(_located(address, config, method)):
        layer = {part: layer}
    return layer


def _located(address: str, config: type[BaseModel], method: str) -> Sequence[str]:
    paths = list(_paths(config))
    wanted = tuple(address.split("."))
    for matches in ([path for path in paths if path == wanted], [path for path in paths if path[-1:] == wanted]):
        if len(matches) == 1:
            return matches[0]
    valid = [".".join(path) for path in paths]
    if matches:
        raise ValueError(f"setting {address!r} of {method} is not one but several: {', '.join('.'.join(path) for path in matches)}")
    raise ValueError(f"unknown setting {address!r} of {method}: {suggestion(address, valid)}")


def _paths(config: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in config.model_fields.items():
        yield (name,)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ((name, *path) for path in _paths(field.annotation))
