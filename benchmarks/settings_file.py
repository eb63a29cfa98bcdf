"""Settings files: models and trainings of all methods under one name, so that every table is made with the same.

A TOML table a method or family, `[avg]`, with settings as --set takes them or a table a part, `[avg.encoder]`. Those in `settings/` go by
their names.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.overrides import Given, addresses, names_of, resolved
from benchmarks.spec import Row
from methods.registry import METHODS, create
from methods.spelling import suggestion

NAMED = Path(__file__).parent / "settings"


def read(given: str | None) -> Given:
    """Returns {method or family: {`part.setting`: value}} of a settings file; nothing of none.

    Args:
        given: a path, or the name of one in `settings/`.

    Raises:
        ValueError: if there is no such file, or it is no TOML, or names a method or setting that is none, or an impossible value.
    """
    if not given:
        return {}
    path = Path(given)
    if not path.is_file():
        names = sorted(path.stem for path in NAMED.glob("*.toml"))
        if given not in names:
            raise ValueError(f"--settings {given}: there is no such file, and none of that name: {suggestion(given, names)}")
        path = NAMED / f"{given}.toml"
    try:
        stated = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read settings {path}: {error}") from error
    loose = [name for name, part in stated.items() if not isinstance(part, dict)]
    if loose:
        raise ValueError(f"settings {path}: {loose[0]} is of no method: write it under one, e.g. [avg]")
    base = {name: dict(_flat(part)) for name, part in stated.items()}
    for name, settings in base.items():
        _refuse_unknown(path, name, settings)
    for method in METHODS:
        row = resolved(Row(key=method, label=method, method=method), False, {}, base=base)
        try:
            create(method, row.settings)
        except ValueError as error:
            raise ValueError(f"settings {path}: {error}") from error
    return base


def _flat(part: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _refuse_unknown(path: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Raises a ValueError unless each setting is one of the method of this name, or of some method of this family."""
    members = [method for method in METHODS if name in names_of(method)]
    if not members:
        known = sorted({each for method in METHODS for each in names_of(method)})
        raise ValueError(f"settings {path}: there is no method {name!r}: {suggestion(name, known)}")
    valid = sorted({address for method in members for address in addresses(method)})
    for setting in settings:
        if setting.rpartition(".")[2] == "seed":
            raise ValueError(f"settings {path}: {name}.{setting}: seeds are set for all rows together, with --seeds")
        if setting not in valid:
            raise ValueError(f"settings {path}: {name} has no setting {setting!r}: {suggestion(setting, valid)}")
