"""Whether measurements that stand together rest on one training of what they share.

Stages are named by their settings and versions. What is asked for alike and has two names was made by two versions. A stage that was made
again, on another machine perhaps, has the same name and other weights: what the summaries report of its fitting (losses, recall on val by
epoch) tells the two apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OF_SEARCH = ("index", "ranking")
"""Stages that differ between rows which share all that is trained: by what the row is searched with."""
OF_A_PART = ("encoder", "blip")
"""Stages that follow from the data and the settings of that part alone."""


def notes(measured: Sequence[tuple[str, Mapping[str, Any]]], command: str) -> list[str]:
    """Returns what must be said of summaries that rest on several versions, or trainings, of one stage; nothing if none do.

    Of a chain of stages the first that was made more than once is named: what follows was fitted to it.

    Args:
        measured: how each summary's row is printed, and the summary.
        command: of `benchmarks.run`, that measures them together.
    """
    versions = _made_twice(
        (stage, _asked(stage, summary), key, label)
        for label, summary in measured
        for stage, key in summary.get("stages", {}).items()
        if stage not in OF_SEARCH
    )
    trainings = _made_twice(
        (stage, summary["stages"][stage], json.dumps(report, sort_keys=True), label)
        for label, summary in measured
        for stage, report in summary.get("fitted", {}).items()
    )
    found = []
    for stage, rows in versions:
        found.append(
            f"NOT ONE VERSION: a stage {stage} of equal settings was made by more than one version of this suite, or from other files, "
            f"for {rows}. Measure them anew: `python -m benchmarks.run {command}`."
        )
    for stage, rows in trainings:
        found.append(
            f"NOT ONE TRAINING: a stage {stage} of equal settings was trained more than once, for {rows}: a difference between these is "
            f"also one of two trainings. Measure them from one store: `python -m benchmarks.run {command}`."
        )
    return found


def _asked(stage: str, summary: Mapping[str, Any]) -> str:
    """Returns all that a stage's key may depend on but versions."""
    settings = summary.get("settings", {})
    asked = {} if stage == "data" else settings.get(stage, settings) if stage in OF_A_PART else [summary["protocol"], settings]
    return json.dumps([summary["dataset"], asked], sort_keys=True)


def _made_twice(seen: Iterable[tuple[str, str, str, str]]) -> list[tuple[str, str]]:
    """Returns the first stage of which one thing was asked and several were made, and the rows that rest on each; nothing if none is.

    Args:
        seen: (stage, what was asked for, what was made, how the row is printed that rests on it), stages in the order of their chain.
    """
    made: dict[str, dict[str, dict[str, list[str]]]] = {}
    for stage, asked, what, label in seen:
        made.setdefault(stage, {}).setdefault(asked, {}).setdefault(what, []).append(label)
    for stage, of_stage in made.items():
        if several := [labels for of_asked in of_stage.values() if len(of_asked) > 1 for labels in of_asked.values()]:
            return [(stage, " | ".join(", ".join(dict.fromkeys(labels)) for labels in several))]
    return []
