"""Whether measurements that stand together rest on one training of what they share.

Stages are named by their settings, so that a stage that was made again, on another machine perhaps, has the same name and other weights.
What the summaries report of its fitting (losses, recall on val by epoch) tells two trainings apart. A stage that is made otherwise since a
version has another name: what made it tells two versions apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.leakage import stage_name

Measured = Iterable[tuple[str, Mapping[str, Any]]]
"""How each summary's row is printed, and the summary."""


def notes(measured: Measured, command: str) -> list[str]:
    """Returns what must be said of summaries that rest on several trainings of one stage, or on several versions of what made it; nothing
    if none do.

    Of a chain of stages the first is named: what follows was fitted to it. Which version made it, summaries tell since November 2026.

    Args:
        command: of `benchmarks.run`, that measures them together.
    """
    measured = list(measured)
    return [*_trained_again(measured, command), *_of_versions(measured, command)]


def _trained_again(measured: Measured, command: str) -> list[str]:
    trainings: dict[str, dict[str, dict[str, list[str]]]] = {}  # stage -> its key -> what it reported -> who rests on it
    for label, summary in measured:
        for stage, report in summary.get("fitted", {}).items():
            of_key = trainings.setdefault(stage, {}).setdefault(summary["stages"][stage], {})
            of_key.setdefault(json.dumps(report, sort_keys=True), []).append(label)
    for stage, of_stage in trainings.items():
        several = [list(of_key.values()) for of_key in of_stage.values() if len(of_key) > 1]
        if several:
            parts = " | ".join(", ".join(dict.fromkeys(labels)) for of_key in several for labels in of_key)
            return [
                f"NOT ONE TRAINING: a stage {stage} of equal settings was trained more than once, for {parts}: a difference between these "
                f"is also one of two trainings. Measure them from one store: `python -m benchmarks.run {command}`."
            ]
    return []


def _of_versions(measured: Measured, command: str) -> list[str]:
    makers: dict[str, dict[str, list[str]]] = {}  # function that makes a stage -> with its version -> who rests on it
    names: dict[str, str] = {}
    for label, summary in measured:
        for stage, made_by in summary.get("made_by", {}).items():
            function, _, _ = made_by.rpartition(" ")
            names[function] = stage_name(stage)
            makers.setdefault(function, {}).setdefault(made_by, []).append(label)
    for function, versions in makers.items():
        if len(versions) > 1:
            parts = " | ".join(", ".join(dict.fromkeys(labels)) for labels in versions.values())
            return [
                f"NOT ONE VERSION: a stage {names[function]} was made by different versions of this suite, for {parts}: a difference "
                f"between these is also one of versions. Measure them anew: `python -m benchmarks.run {command}`."
            ]
    return []
