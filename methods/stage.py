"""What a stage of work is: a named function of a configuration and of earlier stages' folders, with a key of its whole meaning.

The harness runs, caches and locks stages (`benchmarks/stages.py`); a job system may run one anywhere, since a stage holds only names
and values.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

UNFINISHED = "unfinished"
"""Folder in a stage's own where it keeps what it needs to go on after an interruption."""


@dataclass(frozen=True)
class Stage:
    """One step of work whose result is a folder.

    Args:
        name: what the step makes, e.g. `tokenizer`.
        function: `module:function`, called as `function(config, inputs, out)` with the configuration, the folders of the inputs by name,
            and an empty folder to write to. It returns a JSON-able report of what it measured, or None.
        config: everything the result depends on besides the inputs, resolved, JSON-able.
        inputs: earlier stages by the name under which the function asks for them.
        version: raised by hand when the meaning of the result changes.
        resumes: whether the function goes on where an interrupted run of it stopped: what it keeps under `out / UNFINISHED` is there
            again next time, and is removed once the result is kept. No part of the key.
        how: what the function finds under `how` in its configuration, and what only says how to compute: on how many processes, with how
            much memory. No part of the key.
    """

    name: str
    function: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Stage] = field(default_factory=dict)
    version: int = 1
    resumes: bool = False
    how: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Content hash: equal keys mean equal results, and two cells never compute the same thing twice."""
        meaning = {
            "name": self.name,
            "function": self.function,
            "version": self.version,
            "config": self.config,
            "inputs": {name: stage.key for name, stage in self.inputs.items()},
        }
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:24]

    def ancestors(self) -> Iterator[Stage]:
        """Yields every stage that this one needs, each once, inputs before what uses them, itself last."""
        seen: set[str] = set()

        def visit(stage: Stage) -> Iterator[Stage]:
            if stage.key not in seen:
                seen.add(stage.key)
                for needed in stage.inputs.values():
                    yield from visit(needed)
                yield stage

        yield from visit(self)

    def __call__(self, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
        """Runs the function on finished inputs and returns its report. What a stage that resumes kept is left for the caller to remove."""
        module, _, name = self.function.partition(":")
        if self.resumes:
            (out / UNFINISHED).mkdir(exist_ok=True)
        report = getattr(importlib.import_module(module), name)(
            {**self.config, "how": dict(self.how)} if self.how else dict(self.config), dict(inputs), out
        )
        return report or {}


Runner = Callable[[Stage], Path]
"""Makes sure that a stage and what it needs are done, and returns its folder."""


def run_in(folder: Path) -> Runner:
    """Returns a runner without a cache to speak of: each stage into `folder/NAME-KEY`, unless that stands there already."""

    def run(stage: Stage) -> Path:
        inputs = {name: run(needed) for name, needed in stage.inputs.items()}
        out = Path(folder) / f"{stage.name}-{stage.key}"
        if not out.is_dir():
            out.mkdir(parents=True)
            stage(inputs, out)
            shutil.rmtree(out / UNFINISHED, ignore_errors=True)
        return out

    return run
