"""Where data sets lie on this machine: a small file of the user's, so that a root is named once.

[roots]
"flickr30k" = "/data/flickr30k"
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.datasets import DATASETS, FIVE, ON_DISK, on_disk_name
from benchmarks.user_error import UserError
from methods.files.durable import write_atomically

VARIABLE = "VOKENBENCH_CONFIG"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
ALIKE = 0.9  # `flikr30k` and `flickr30k`: .94; `flickr8k`, which is another data set: .82


def config_file() -> Path:
    """Returns the file: $VOKENBENCH_CONFIG, or `roots.toml` where this system keeps a user's settings."""
    given = os.environ.get(VARIABLE)
    return Path(given).expanduser() if given else Path(click.get_app_dir("vokenbench")) / "roots.toml"


def roots() -> dict[str, Path]:
    """Returns the remembered roots by data set; none where there is no file.

    Raises:
        UserError: if the file is damaged.
    """
    path = config_file()
    try:
        stated = tomllib.loads(path.read_text()).get("roots", {})
        return {name: Path(root) for name, root in stated.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}): put it right, or delete it and name roots again with --data-root") from error


def root_of(name: str) -> Path | None:
    """Returns the remembered root of a data set (that of MS-COCO serves its cut to five captions too), or None."""
    return roots().get(name.removesuffix(FIVE))


def check_root(name: str, root: Path) -> None:
    """Raises a ValueError if the name cannot be a data set's, or the root does not hold it in a form that can be read: what is wrong need
    not be remembered."""
    from benchmarks.datasets.on_disk import located

    check_own_name(name)
    if not Path(root).expanduser().is_dir():
        raise UserError(f"--data-root {root} is no folder")
    root = Path(root).expanduser().resolve()
    found = located(name, root)
    if roots().get(name) != root:
        try:
            found.annotations()
        except ValueError as error:
            raise UserError(f"{name} in {root}: {error}") from error


def remember(name: str, root: Path) -> str | None:
    """Keeps a data set's root in the user's file; returns a line that says so, or None where the file says it already.

    Raises:
        UserError: if the name cannot be a data set's, or the file cannot be written.
    """
    check_own_name(name)
    root = Path(root).expanduser().resolve()
    known, path = roots(), config_file()
    if known.get(name) == root:
        return None
    lines = [f"{json.dumps(key)} = {json.dumps(str(value), ensure_ascii=False)}" for key, value in sorted({**known, name: root}.items())]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, "\n".join(["[roots]", *lines, ""]))
    except OSError as error:
        raise UserError(f"cannot remember the root in {path} ({error.strerror}): name another file with {VARIABLE}") from error
    return f"remembered in {path}: {name} lies in {root}"


def check_own_name(name: str) -> None:
    """Raises a UserError if a data set on disk cannot have this name: of other letters, or so like a known one that it may be meant."""
    if name in ON_DISK:
        return
    if name in DATASETS or name.startswith("openmoji-scenes"):
        raise UserError(f"{name} is made here and has no root: leave --data-root out, or give data of your own another name")
    if not NAME.fullmatch(name):
        raise UserError(f"data set {name!r}: a name is of small letters, digits, dots, dashes and underscores, a letter or digit first")
    for known in (*ON_DISK, *DATASETS):
        if difflib.SequenceMatcher(None, name, known).ratio() >= ALIKE:
            raise UserError(f"unknown data set {name!r}: did you mean {known}? Data of your own need a name less like it")


def named(datasets: Sequence[str], data_root: Path | None, five_captions: bool) -> tuple[str, ...]:
    """Returns the data sets that a command's options name, after remembering a root that is given and holds its data; says so on stderr.

    Raises:
        ValueError: if a root is given for none or several data sets on disk or does not hold its own, or five captions for none.
    """
    on_disk = [name for name in datasets if name not in DATASETS]
    if data_root is not None:
        if len(on_disk) != 1:
            raise UserError(f"--data-root is the root of one data set, named with --dataset; here are {len(on_disk)} that lie on disk")
        name = on_disk[0].removesuffix(FIVE)
        check_root(name, data_root)
        if line := remember(name, data_root):
            click.echo(line, err=True)
    if five_captions and not on_disk:
        raise UserError("--five-captions cuts the captions of data sets on disk: name one with --dataset")
    return tuple(dict.fromkeys(on_disk_name(name, five_captions) if name in on_disk else name for name in datasets))
