"""The command line as a user types it, run in this process: one of its own spends seconds on imports before it begins."""

from __future__ import annotations

import io
import os
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from benchmarks.run import main

ROOT = Path(__file__).resolve().parents[1]


def environment(folder: Path) -> dict[str, str]:
    """Returns what a command in a folder runs under: a store and remembered roots of its own."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("VOKENBENCH_", "TQDM_"))}
    return {**own, "PYTHONPATH": str(ROOT), "VOKENBENCH_STORE": str(folder / "store"), "VOKENBENCH_CONFIG": str(folder / "roots.toml")}


def run(folder: Path, *arguments: str) -> CompletedProcess[str]:
    """Returns the exit code of a command given in a folder, and what it printed."""
    printed, told = io.StringIO(), io.StringIO()
    with chdir(folder), patch.dict(os.environ, environment(folder), clear=True), redirect_stdout(printed), redirect_stderr(told):
        code = main(list(arguments))
    return CompletedProcess(arguments, code, printed.getvalue(), told.getvalue())
