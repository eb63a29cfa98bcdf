"""Whether measurements that stand together rest on one training of what they share.

Stages are named by their settings, so that a stage that was made again, on another machine perhaps, has the same name and other weights.
What the summaries report of its fitting (losses, recall on val by epoch) tells two trainings apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def notes(measured: Iterable[tuple[str, Mapping[str, Any]]], command: str) -> list[str]:
    """Returns what must be said of summaries that rest on several trainings of one stage; nothing if none do.

    Of a chain of stages the first that was trained more than once is named: what follows was fitted to it.

    Args:
        measured: how each summary's row is printed, and the summary.
        command: of `benchmarks.run`, that measures them together.
    """
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
