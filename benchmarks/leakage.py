"""Who saw what: for every stage behind a row, whose pictures and captions it read, and whether the row's protocol allows that.

Nothing here is declared by the methods: it was noted while the stages ran (`methods/reads.py`) and stands in their records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.cells import CellPlan

USE = {
    # Fits nothing: makes what later stages take of a split, each of which is noted again when it is taken.
    "data": "preparation",
    "trunks": "preparation",
    "model": "preparation",
    "states": "preparation",
    "features": "preparation",
    "maps": "preparation",
    "index": "indexing",
    "ranking": "evaluation",
}
"""What a stage's own reading serves, by the stage's name; all others train."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one stage read for one purpose.

    Args:
        use: `preparation`, `training`, `selection`, `indexing` or `evaluation`.
        splits: {`pictures`, `captions` or `pseudo-queries`: splits}.
        forbidden: those of `splits` that the protocol does not allow, as words.
    """

    row: str
    seed: int
    stage: str
    use: str
    splits: Mapping[str, Sequence[str]]
    forbidden: tuple[str, ...]


def stage_name(label: str) -> str:
    """Returns the name of a stage from its label in a summary: `features` of `features 2`."""
    return label.rstrip("0123456789").rstrip()


def of_plan(plan: CellPlan, record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `readings` needs of a summary, from the record of a finished cell's ranking."""
    from benchmarks.cells import reads_behind

    return {"row": plan.row.key, "seed": plan.seed, "protocol": plan.protocol, "split": plan.split, **reads_behind(plan, record)}


def readings(summary: Mapping[str, Any]) -> list[Reading]:
    """Returns what the stages behind a cell read, in the order in which they ran.

    Raises:
        ValueError: if a stage was made by a version that did not record it.
    """
    found = []
    reads = summary.get("reads") or {}
    unknown = [label for label, of_stage in reads.items() if of_stage is None]
    if not reads or unknown:
        which = f"stage {unknown[0]} ({summary['stages'][unknown[0]]})" if unknown else "its stages"
        raise ValueError(f"{summary['row']}: {which} ran before reads were recorded; delete it from the store and run the row again")
    for label, of_stage in reads.items():
        name = stage_name(label)
        for purpose, splits in of_stage.items():
            use = "selection" if purpose == "selection" else USE.get(name, "training")
            allowed = _allowed(use, summary)
            forbidden = tuple(
                f"{kind} of {split}"
                for kind, names in splits.items()
                for split in names
                if allowed is not None and split not in allowed[kind]
            )
            found.append(Reading(row=summary["row"], seed=summary["seed"], stage=label, use=use, splits=splits, forbidden=forbidden))
    return found


def notes(summaries: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> list[str]:
    """Returns a line for each reading that its protocol does not allow, as printed under a table; nothing is said of older summaries."""
    lines: dict[str, None] = {}
    for summary in summaries:
        if summary.get("reads") and None not in summary["reads"].values():
            for reading in readings(summary):
                if reading.forbidden:
                    lines[f"LEAK: {labels[reading.row]}: {told(reading)}, which protocol {summary['protocol']} does not allow."] = None
    return list(lines)


def told(reading: Reading) -> str:
    return f"stage {reading.stage} read {' and '.join(reading.forbidden)} in {reading.use}"


def _allowed(use: str, summary: Mapping[str, Any]) -> dict[str, set[str]] | None:
    """Returns the splits that a purpose may read of each kind; None where it may read all."""
    exposed, tested = summary["exposed"], {summary["split"]}
    if use == "preparation":
        return None
    if use == "selection":
        chosen_on = {"val", exposed["selection"]}
        return {"pictures": chosen_on, "captions": chosen_on, "pseudo-queries": set()}
    if use == "indexing":
        return {"pictures": tested, "captions": set(), "pseudo-queries": set()}
    if use == "evaluation":
        return {"pictures": tested, "captions": tested, "pseudo-queries": set()}
    made_up = {*exposed["pseudo_queries"], *exposed["learned"]}
    return {"pictures": {"train", *exposed["images"], *made_up}, "captions": {"train"}, "pseudo-queries": made_up}


def report(summaries: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Returns a table of all readings, and the lines about those that are not allowed or not known."""
    from tabulate import tabulate

    body, faults = [], []
    for summary in summaries:
        try:
            found = readings(summary)
        except ValueError as error:
            faults.append(f"unknown: {error}")
            continue
        for reading in found:
            columns = [", ".join(reading.splits.get(kind, ())) for kind in ("pictures", "captions", "pseudo-queries")]
            row = f"{reading.row} seed {reading.seed}" if any(each["seed"] for each in summaries) else reading.row
            body.append([row, reading.stage, reading.use, *columns, "NOT ALLOWED" if reading.forbidden else "ok"])
            if reading.forbidden:
                faults.append(f"LEAK: {reading.row}: {told(reading)}, which protocol {summary['protocol']} does not allow")
    headers = ["row", "stage", "use", "images of", "captions of", "pseudo-queries of", "protocol"]
    return tabulate(body, headers, disable_numparse=True), faults
