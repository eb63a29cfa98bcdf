"""What a table says of a row besides its recall: paradigm, speed, cost of training, size of the index.

From run summaries, and from the record that `figure4` leaves of a data set (`benchmarks/speed/efficiency.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from benchmarks.contest import figures
from benchmarks.leakage import stage_name
from benchmarks.spec import Row, Table
from benchmarks.speed.efficiency import PAIRED, SERVED, place

IMAGES = 300_000
"""Of the gallery at which the paper compares speed."""
ENOUGH = 1.0
"""Queries a second on this machine from which on a method is called applicable to a gallery of that size."""
NO_TRAINING = ("data", "index", "ranking")
Summaries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class FactCell:
    """What is known, as printed and as a value; `reported` is the paper's."""

    state: Literal["measured", "missing", "blank"]
    value: float | str | None = None
    text: str = ""
    reported: str = ""


MISSING, BLANK = FactCell(state="missing"), FactCell(state="blank")


@dataclass(frozen=True)
class Asked:
    """A line of a table: its row, the way it is served (a series of the record; none for a row that is not timed), and what is known.

    `first` says whether the line is the row's own and not one of the further ways to serve it, which share all that is not speed; `least`
    is {stage key: the least seconds that it took for any row}.
    """

    row: Row
    series: str | None
    first: bool
    summaries: Summaries
    speed: Mapping[str, Any] | None
    least: Mapping[str, float]

    def point(self) -> Mapping[str, Any] | None:
        """Returns what was timed of this way, one query at a time over the gallery at which methods are compared."""
        wanted = (self.series, "random", IMAGES, 1)
        points = self.speed["points"] if self.speed else []
        return next((p for p in points if (p["series"], p["gallery"], p["images"], p["batch"]) == wanted), None)


def paradigm(asked: Asked) -> FactCell:
    from methods.registry import method_class

    return _told(method_class(asked.row.method)[0].paradigm) if asked.first else BLANK


def large_sets(asked: Asked) -> FactCell:
    point = asked.point()
    return MISSING if point is None else _told("yes" if point["queries_per_second"] >= ENOUGH else "no")


def rate(asked: Asked) -> FactCell:
    point = asked.point()
    return MISSING if point is None else _number(point["queries_per_second"])


def training(asked: Asked) -> FactCell:
    """Returns the minutes of all stages before a gallery is indexed, a mean over seeds."""
    if not asked.first:
        return BLANK
    spent = []
    for summary in asked.summaries:
        keys = summary.get("stages", {})
        spent.append(sum(asked.least.get(keys.get(label), seconds) for label, seconds in summary["seconds"].items() if _trains(label)))
    return _number(fmean(spent) / 60) if spent else MISSING


def _trains(label: str) -> bool:
    """Says whether a stage counts as training, from how a summary calls it: its name, and a number where there are several."""
    return stage_name(label) not in NO_TRAINING


def index_size(asked: Asked) -> FactCell:
    if not asked.first:
        return BLANK
    sizes = [summary["index_bytes"] for summary in asked.summaries]
    return _number(fmean(sizes) / 1e6) if sizes else MISSING


def large_index_size(asked: Asked) -> FactCell:
    point = asked.point()
    return MISSING if point is None else _number(point["index_bytes"] / 1e6)


FACTS: Mapping[str, Callable[[Asked], FactCell]] = {
    "paradigm": paradigm,
    "large-sets": large_sets,
    "queries-per-second": rate,
    "training-minutes": training,
    "index-mb": index_size,
    "index-mb-300k": large_index_size,
}


@dataclass(frozen=True, kw_only=True)
class FactLine:
    """A row of a table, or a further way to serve it, whose key is then `ROW:SERIES`; cells in the order of the facts."""

    key: str
    label: str
    row: Row
    cells: tuple[FactCell, ...]


def least_seconds(summaries: Summaries) -> dict[str, float]:
    """Returns {stage key: the least seconds} of all that rows rest on: rows that share a stage may have been measured when it had been made
    again, beside other work or not. Where it was once made without interruption, what was interrupted does not count."""
    whole, last_parts = _measured_seconds(summaries)
    return last_parts | whole


def _measured_seconds(summaries: Summaries) -> tuple[dict[str, float], dict[str, float]]:
    """Returns {stage key: the least seconds} of whole runs, and of the last parts of interrupted ones."""
    whole, last_parts = dict[str, float](), dict[str, float]()
    for summary in summaries:
        for label, seconds in summary.get("seconds", {}).items():
            if key := summary.get("stages", {}).get(label):
                found = last_parts if label in summary.get("resumed", ()) else whole
                found[key] = min(found.get(key, inf), seconds)
    return whole, last_parts


def _known_in_part(summaries: Summaries) -> dict[str, list[str]]:
    """Returns {row key: those of its stages of training that were interrupted whenever they were made}, of rows that have any."""
    whole, _ = _measured_seconds(summaries)
    found: dict[str, list[str]] = {}
    for summary in summaries:
        for label in summary.get("resumed", ()):
            if _trains(label) and summary.get("stages", {}).get(label) not in whole:
                found.setdefault(summary["row"], []).append(label)
    return found


def fact_lines(
    table: Table, row: Row, summaries: Summaries, speed: Mapping[str, Any] | None, paper: str, least: Mapping[str, float]
) -> list[FactLine]:
    """Returns a row's lines: one, or where it is served in several ways one of each; none in a table without facts.

    Args:
        summaries: of the row.
        speed: the record of `figure4`.
        paper: the paper's data set whose numbers stand beside these.
        least: as from `least_seconds`, of all rows of the data set.
    """
    if not table.facts:
        return []
    found: list[FactLine] = []
    for way in row.series or (None,):
        asked = Asked(row, way, not found, summaries, speed, least)
        label = row.label + (f", {row.series[way]}" if way and len(row.series) > 1 else "")
        key = row.key if asked.first else f"{row.key}:{way}"
        found.append(FactLine(key=key, label=label, row=row, cells=_cells(table, asked, paper)))
    return found


def _cells(table: Table, asked: Asked, paper: str) -> tuple[FactCell, ...]:
    """Returns the cells of one line, with what the paper reports beside them."""
    reported = table.reported_facts.get(paper, {}).get(asked.row.key, {}) if asked.first else {}
    found = []
    for fact in table.facts:
        value = reported.get(fact.key)
        beside = "" if value is None else figures(value) if isinstance(value, float) else value
        found.append(replace(FACTS[fact.key](asked), reported=beside))
    return tuple(found)


def notes(table: Table, dataset: str, summaries: Summaries, speed: Mapping[str, Any] | None) -> list[str]:
    """Returns what must be said of a data set's facts: how they were measured, or how to measure them."""
    if not table.facts:
        return []
    said = []
    if in_part := _known_in_part(summaries):
        told = "; ".join(f"{row.label} ({', '.join(dict.fromkeys(in_part[row.key]))})" for row in table.rows if row.key in in_part)
        said.append(f"More minutes of training than the table says, since stages that were interrupted count their last run alone: {told}.")
    if speed is None:
        asked = f"`python -m benchmarks.run figure4 --dataset {dataset}`"
        return [*said, f"Speed is missing: measure it with {asked}, then give this command again."]
    said.append(
        f"Queries per second: one query at a time, text encoding included, {IMAGES:,} images of which all but the real ones are random, on "
        f"{place(speed['machine'])} (Figure 4). Large sets: yes where that is at least {ENOUGH:g}. Training: minutes of all "
        "stages that precede an index, extraction of features among them, each with the least that it took for any row, without "
        "interruption where it ever was. Index: of the pictures that recall is of, and of so many."
    )
    if others := _other_models(table, summaries, speed):
        said.append(
            "Speed was timed with models of other settings or of an older version than these rows have, or the record does not say with "
            f"which: {'; '.join(others)}."
        )
    if blip := speed["blip"]:
        extrapolated = dict.fromkeys(row.label for row in table.rows if row.applies_to(dataset) and set(row.series) & set(PAIRED))
        said.append(
            f"Extrapolated from {figures(blip['pairs_per_second'])} pairs a second, timed on {blip['pairs']} pairs at once with "
            f"{blip['model']}: the speed of {'; '.join(extrapolated)}. Their index at {IMAGES:,} images is that model's too."
        )
    return said


def _other_models(table: Table, summaries: Summaries, speed: Mapping[str, Any]) -> list[str]:
    """Returns the labels of rows whose weights are not of the stages that were timed, or of which the record does not say it."""
    timed = {**dict.fromkeys(SERVED), **speed.get("models", {})}
    if own := speed["blip"].get("stage"):
        timed |= {row.key: own for row in table.rows if set(row.series) & set(PAIRED)}
    behind = {s["row"]: set(s["stages"].values()) for s in summaries if s["seed"] == 0 and s["row"] in timed and "stages" in s}
    return [row.label for row in table.rows if row.key in behind and timed[row.key] not in behind[row.key]]


def speed_of(table: Table, datasets: Sequence[str], results: Path) -> dict[str, Mapping[str, Any]]:
    """Returns the records of speed under a results folder by data set, of those that have one; none for a table that shows no speed."""
    from benchmarks.speed.efficiency_report import RECORD, read

    paths = {dataset: results / dataset / RECORD for dataset in datasets} if table.facts else {}
    return {dataset: read(path) for dataset, path in paths.items() if path.is_file()}


def _told(text: str) -> FactCell:
    return FactCell(state="measured", value=text, text=text)


def _number(value: float) -> FactCell:
    return FactCell(state="measured", value=value, text=figures(value))
