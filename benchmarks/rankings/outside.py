"""Systems of others in our tables: scored from a run file, shown as added references, summarised like a cell of our own.

RESULTS/DATASET/runs/outside-NAME-seed0.json    delete it and render again, and the row is gone

A row of ours is planned, trained and watched; of these only a ranking is known. So they take no part in bold type, stars or claims, and the
table says whose they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.record import OUTSIDE
from benchmarks.spec import Column, Row

if TYPE_CHECKING:
    from benchmarks.protocol import Protocol
    from methods.data import Split
    from methods.retriever import Ranking


def row_key(name: str) -> str:
    """Returns the row key of an outside system.

    Raises:
        ValueError: if the name would make no good file name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise ValueError(f"{name!r} cannot name a row: use small letters, digits, dots and hyphens with --name")
    return OUTSIDE + name


def summary(
    key: str, label: str, into: Sequence[str], exposure: str, ranking: Ranking, path: Path, dataset: str, split: Split, rules: Protocol,
    data: Mapping[str, Any], columns: Sequence[Column],
) -> dict[str, Any]:  # fmt: skip
    """Returns what is committed of an outside system: what a table needs, and which file it came from.

    Args:
        into: names of the tables that show it.
        exposure: what is known of its having seen test images.
        ranking: as read from the file at `path`.
        data: the record of the data set's stage.
    """
    from benchmarks.metrics import metrics_of, outcomes
    from benchmarks.statistics import SEED
    from methods.retriever import PAD

    found = outcomes(ranking, split.caption_image_ids_Q)
    if ranking.k == len(split.image_ids_N):  # nothing is left out, however few images there are
        found = replace(found, depth=max(found.depth, *(column.k for column in columns)))
    facts = data["report"].get(split.name, {})
    return {
        "format": 1,
        "row": key,
        "method": "outside",
        "outside": {"label": label, "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "tables": list(into)},
        "dataset": dataset,
        "split": split.name,
        "protocol": rules.name,
        "seed": 0,
        "seeded": False,
        "settings": {},
        "knobs": {},
        "exposure": exposure,
        "images": len(split.image_ids_N),
        "queries": len(split.caption_image_ids_Q),
        "metrics": metrics_of(found, columns, np.random.default_rng(SEED), rules.ties),
        "stages": {"data": data["key"]},
        "unanswered": int((ranking.ids_QW[:, 0] == PAD).sum()),
        "data": {fact: facts[fact] for fact in ("duplicates", "as_published") if fact in facts},
        "outcomes": found.pack(),
    }


def rows(table: str, summaries: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Returns the rows of outside systems that a table shows, by key."""
    labels = {summary["row"]: summary["outside"]["label"] for summary in _shown(table, summaries)}
    return [Row(key=key, label=label, method="outside", kind="reference") for key, label in sorted(labels.items())]


def notes(table: str, summaries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns a line about each outside system of a table: what it was scored from."""
    lines = []
    for summary in sorted(_shown(table, summaries), key=lambda summary: summary["row"]):
        of, count = summary["outside"], summary["unanswered"]
        misses = f"; {count:,} queries without an answer, counted as misses" if count else ""
        source = f"scored from {of['file']} (sha256 {of['sha256'][:12]}){misses}"
        lines.append(f"{of['label']}: not of this suite, {source}. How it was made was not seen.")
    return lines


def _shown(table: str, summaries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [summary for summary in summaries if table in summary.get("outside", {}).get("tables", ())]
