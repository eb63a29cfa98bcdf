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
    return [*_versions(measured, command), *_trainings(measured, command)]


def _versions(measured: Sequence[tuple[str, Mapping[str, Any]]], command: str) -> list[str]:
    made: dict[str, dict[str, dict[str, list[str]]]] = {}  # stage -> what was asked for -> its key -> who rests on it
    for label, summary in measured:
        for stage, key in summary.get("stages", {}).items():
            if stage not in OF_SEARCH:
                made.setdefault(stage, {}).setdefault(_asked(stage, summary), {}).setdefault(key, []).append(label)
    for stage, of_stage in made.items():
        if several := [list(of_key.values()) for of_key in of_stage.values() if len(of_key) > 1]:
            return [
                f"NOT ONE VERSION: a stage {stage} of equal settings was made by more than one version of this suite, or from other files, "
                f"for {_parts(several)}. Measure them anew: `python -m benchmarks.run {command}`."
            ]
    return []


def _asked(stage: str, summary: Mapping[str, Any]) -> str:
    """Returns all that a stage's key may depend on but versions."""
    settings = summary.get("settings", {})
    asked = {} if stage == "data" else settings.get(stage, settings) if stage in OF_A_PART else [summary["protocol"], settings]
    return json.dumps([summary["dataset"], asked], sort_keys=True)


def _parts(several: Iterable[Iterable[Sequence[str]]]) -> str:
    return " | ".join(", ".join(dict.fromkeys(labels)) for made in several for labels in made)


def _trainings(measured: Sequence[tuple[str, Mapping[str, Any]]], command: str) -> list[str]:
    trainings: dict[str, dict[str, dict[str, list[str]]]] = {}  # stage -> its key -> what it reported -> who rests on it
    for label, summary in measured:
        for stage, report in summary.get("fitted", {}).items():
            of_key = trainings.setdefault(stage, {}).setdefault(summary["stages"][stage], {})
            of_key.setdefault(json.dumps(report, sort_keys=True), []).append(label)
    for stage, of_stage in trainings.items():
        several = [list(of_key.values()) for of_key in of_stage.values() if len(of_key) > 1]
        if several:
            return [
                f"NOT ONE TRAINING: a stage {stage} of equal settings was trained more than once, for {_parts(several)}: a difference "
                f"between these is also one of two trainings. Measure them from one store: `python -m benchmarks.run {command}`."
            ]
    return []
