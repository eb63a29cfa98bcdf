"""`make env` and `make lavis`: an environment is believed only where its interpreter runs and pip came to its end."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PINS = {
    "env": (".venv", ("pyproject.toml", "constraints.txt")),
    "lavis": (".venv-lavis", ("baselines/lavis/requirements.txt", "baselines/lavis/without-dependencies.txt")),
}
PYTHON = """#!/bin/sh
case "$*" in
"-m venv --clear "*) rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; echo venv >>"$NOTED" ;;
"-m pip install "*) echo pip >>"$NOTED"; [ -z "$CUT" ] || exit 1 ;;
esac
"""
"""Stands for any Python: says what it is asked for, and installs nothing."""


@pytest.fixture(params=["env", "lavis"])
def made(request, tmp_path):
    """Runs one of the targets, and returns what it asked of Python; and where its environment is."""
    folder, pins = PINS[request.param]
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in pins:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)

    def make(cut: str = "") -> list[str]:
        (tmp_path / "noted").write_text("")
        given = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        given |= {"NOTED": str(tmp_path / "noted"), "CUT": cut}
        done = subprocess.run(["make", f"PYTHON={tmp_path}/python", request.param], cwd=tmp_path, env=given, capture_output=True, text=True)
        assert bool(done.returncode) == bool(cut), done.stderr
        return (tmp_path / "noted").read_text().split()

    return make, tmp_path / folder, tmp_path / pins[0]


def test_what_is_there_is_not_made_again(made):
    make, _, _ = made
    assert make()[:2] == ["venv", "pip"]
    assert make() == []


def test_an_interpreter_that_is_gone_is_made_again(made):
    """As after an upgrade of the system, to which `.venv/bin/python` was a link."""
    make, folder, _ = made
    make()
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to("/nowhere/python3.11")
    assert make()[:2] == ["venv", "pip"]
    assert make() == []


def test_an_upgrade_that_was_cut_short_is_begun_again(made):
    """Pins are raised, pip is cut short, and the pins are what they were: the environment is neither the one nor the other."""
    make, _, pins = made
    make()
    before = pins.read_text()
    pins.write_text("raised\n")
    make(cut="yes")
    pins.write_text(before)
    assert "pip" in make()
