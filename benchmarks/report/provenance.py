"""How the summaries came to be: code, versions, machine, and the time that each kind of stage took. What rows share counts once.

Of cells of our own: nobody saw how an outside system was made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.leakage import stage_name

Summary = Mapping[str, Any]


def facts(summaries: Sequence[Summary]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns (fact, [(value, rows that it holds of)]); the rows are left empty where all agree."""
    asked: dict[str, Callable[[Summary], Any]] = {
        "commit": _commit,
        "processor": lambda summary: _hardware(summary, "{cores} cores of {cpu}, {memory_gib} GiB, {platform}"),
        "GPU": lambda summary: ", ".join(summary.get("hardware", {}).get("gpus", [])) or "none",
    }
    for package in dict.fromkeys(package for summary in summaries for package in summary.get("versions", {})):
        asked[package] = partial(_version, package)
    found = []
    for fact, ask in asked.items():
        rows: dict[str, list[str]] = {}
        for summary in summaries:
            rows.setdefault(ask(summary), []).append(f"{summary['row']} seed {summary['seed']}")
        found.append((fact, [(value, ", ".join(of) if len(rows) > 1 else "") for value, of in rows.items()]))
    return found


def stages(summaries: Sequence[Summary]) -> list[tuple[str, int, float]]:
    """Returns (kind of stage, how many, seconds) by falling seconds."""
    seconds: dict[str, tuple[str, float]] = {}
    for summary in summaries:
        for label, key in summary.get("stages", {}).items():
            seconds[key] = (stage_name(label), summary["seconds"][label])
    totals: dict[str, tuple[int, float]] = {}
    for name, took in seconds.values():
        count, total = totals.get(name, (0, 0.0))
        totals[name] = (count + 1, total + took)
    return sorted(((name, count, total) for name, (count, total) in totals.items()), key=lambda line: -line[2])


def costs(summaries: Sequence[Summary], labels: Mapping[str, str]) -> list[tuple[str, int, str, str, str, str, str]]:
    """Returns (row, seed, seconds of all stages behind it, of encoding and of searching all queries, index size, settings as JSON)."""

    def seconds(value: float | None) -> str:
        return "" if value is None else f"{value:,.1f}"

    return [
        (
            labels.get(summary["row"], summary["row"]),
            summary["seed"],
            seconds(sum(summary.get("seconds", {}).values())),
            seconds(summary.get("encode_seconds")),
            seconds(summary.get("search_seconds")),
            f"{summary.get('index_bytes', 0) / 1000:,.1f}",
            json.dumps({**summary.get("settings", {}), **summary.get("knobs", {})}, indent=1),
        )
        for summary in summaries
    ]


def _version(package: str, summary: Summary) -> str:
    return summary.get("versions", {}).get(package, "not installed")


def _commit(summary: Summary) -> str:
    git = summary.get("git") or {}
    commit = git.get("commit") or "no git checkout"
    return f"{commit} with uncommitted changes" if git.get("dirty") else commit


def _hardware(summary: Summary, form: str) -> str:
    hardware = {"cores": "?", "cpu": "unknown", "memory_gib": "?", "platform": "unknown", **summary.get("hardware", {})}
    return form.format(**hardware)
