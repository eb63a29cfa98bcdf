"""Two results folders, or two rows, against each other: the same queries, paired tests.

Q queries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.estimates import SeedHits, in_percent, mean_hits, seed_of
from benchmarks.metrics import Outcomes, Rule, hits, same_queries
from benchmarks.paired import ALPHA, Comparison, compare, printed_difference, printed_p
from benchmarks.record import read_summary
from benchmarks.results_folder import summaries_in
from benchmarks.spec import RECALL
from methods.spelling import suggestion

KEYS = ("row", "seed", "dataset", "split", "protocol", "outcomes")
"""What is read of a summary."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side: summaries by row key, each row's seeds in order. `row` is the only one that was asked for, if one was."""

    name: str
    folder: Path
    row: str | None
    rows: Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One metric of one row in percent, None on a side that ranks too few images for it; `change` is B - A, None where one does."""

    row: str
    column: str
    seeds: tuple[int, int]
    a: float | None
    b: float | None
    change: Comparison | None = None


def side(text: str) -> Side:
    """Returns the summaries that `FOLDER` or `FOLDER:ROW` names.

    Raises:
        ValueError: if the folder holds no summaries, or none of that row.
    """
    name, colon, row = (text, "", "") if Path(text).is_dir() else text.rpartition(":")
    folder = Path(name or text)
    rows: dict[str, list[dict[str, Any]]] = {}
    for _, _, path in summaries_in(folder):
        found = read_summary(path, KEYS)
        rows.setdefault(found["row"], []).append(found)
    if not rows:
        raise ValueError(f"{folder} holds no run summaries (runs/*.json): name a folder such as results/openmoji-scenes")
    if colon and row not in rows:
        raise ValueError(f"{folder} has no row {row!r}: {suggestion(row, sorted(rows))}")
    return Side(name=text, folder=folder, row=row if colon else None, rows=rows)


def pairs(a: Side, b: Side) -> list[tuple[str, str]]:
    """Returns the rows to compare, of A and of B: the two that were named, or all that both have.

    Raises:
        ValueError: if there is none, or a row is named on one side only.
    """
    if a.row and b.row:
        return [(a.row, b.row)]
    if a.row or b.row:
        one = (a.row or "") + (b.row or "")
        raise ValueError(f"{one} is compared with a whole folder: name a row on both sides, FOLDER:ROW FOLDER:ROW, or on none")
    both = [(row, row) for row in a.rows if row in b.rows]
    if not both:
        raise ValueError(f"{a.name} and {b.name} have no row in common: name two, e.g. {a.name}:{next(iter(a.rows))}")
    return both


def lines(a: Side, b: Side, ties: Rule = "expected") -> list[Line]:
    """Returns what each row's recall is on both sides and how they differ; Holm runs over all rows of a metric.

    Args:
        ties: the rule by which both sides are counted, whatever their protocols say.

    Raises:
        ValueError: if they were not measured on the same queries.
    """
    wanted = pairs(a, b)
    clusters_Q = _same_queries(a, b, wanted)
    found = []
    for column in RECALL:
        series: dict[tuple[str, str], SeedHits] = {}
        for row_a, row_b in wanted:
            for key, summaries in ((("A", row_a), a.rows[row_a]), (("B", row_b), b.rows[row_b])):
                of_side = {seed_of(s): Outcomes.unpack(s["outcomes"]) for s in summaries}
                if all(column.k <= one.depth for one in of_side.values()):
                    series[key] = {seed: hits(one, column.k, ties) for seed, one in of_side.items()}
        compared = compare([(("B", row_b), ("A", row_a)) for row_a, row_b in wanted], series, clusters_Q)
        for row_a, row_b in wanted:
            label = row_a if row_a == row_b else f"{row_a} / {row_b}"
            one, other = (in_percent(mean_hits(series[of]).mean()) if of in series else None for of in (("A", row_a), ("B", row_b)))
            change = compared.get((("B", row_b), ("A", row_a)))
            seeds = (len(a.rows[row_a]), len(b.rows[row_b]))
            found.append(Line(row=label, column=column.key, seeds=seeds, a=one, b=other, change=change))
    order = [line.row for line in found]
    return sorted(found, key=lambda line: order.index(line.row))


def _same_queries(a: Side, b: Side, wanted: Sequence[tuple[str, str]]) -> np.ndarray:
    """Returns the image of each query."""
    everything = [(of, summary) for row_a, row_b in wanted for of, row in ((a, row_a), (b, row_b)) for summary in of.rows[row]]
    first_side, first = everything[0]
    for of, summary in everything:
        for what in ("dataset", "split"):
            if summary[what] != first[what]:
                told = f"{first_side.name} on {what} {first[what]}, {of.name} on {summary[what]}"
                raise ValueError(f"measured on different queries, {told}: choose folders of one data set and split")
    return same_queries(first["dataset"], ((f"{summary['row']} of {of.name}", summary) for of, summary in everything))


def text(a: Side, b: Side, found: Sequence[Line], ties: Rule) -> str:
    """Returns the comparison as a terminal shows it."""
    from tabulate import tabulate

    body = []
    for line in found:
        change, seeds = line.change, "/".join(map(str, line.seeds))
        sides = ["-" if value is None else f"{value:.1f}" for value in (line.a, line.b)]
        if change is None:
            body.append([line.row, line.column, *sides, *["-"] * 3, seeds])
            continue
        word = {1: "B is better", -1: "A is better", 0: "no difference shown"}[change.direction]
        apart = " ".join(printed_difference(change.difference, change.low, change.high, change.spread))
        body.append([line.row, line.column, *sides, apart, printed_p(change.p), word, seeds])
    headers = ["row", "metric", "A", "B", "B - A", "p (Holm)", f"at p < {ALPHA}", "seeds"]
    align = ["left", "left", "right", "right", "right", "right", "left", "right"]
    notes = [
        f"A: {a.name}; B: {b.name}. Percent; difference with its 95 % interval (bootstrap over images), paired randomisation test over "
        f"images, Holm over the rows of a metric; ties {ties} on both sides; several seeds are averaged, differences over those of both.",
    ]
    alone = [f"only in {x.name}: {', '.join(row for row in x.rows if row not in y.rows)}" for x, y in ((a, b), (b, a)) if not x.row]
    protocols = {name: sorted({s["protocol"] for of in x.rows.values() for s in of}) for name, x in (("A", a), ("B", b))}
    if protocols["A"] != protocols["B"]:
        notes.append(f"A was measured under protocol {', '.join(protocols['A'])}, B under {', '.join(protocols['B'])}.")
    notes += [line for line in alone if not line.endswith(": ")]
    notes += ["-: ranks fewer than K images."] if any(line.change is None for line in found) else []
    return tabulate(body, headers, colalign=align, disable_numparse=True) + "\n\n" + "\n".join(notes)


def as_json(a: Side, b: Side, found: Sequence[Line], ties: Rule) -> str:
    """Returns the comparison for programs."""
    listed = []
    for line in found:
        change = asdict(line.change) if line.change else {}
        numbers = {key: value for key, value in change.items() if key not in ("better", "worse")}
        sides = {name: value for name, value in (("a", line.a), ("b", line.b)) if value is not None}
        listed.append({"row": line.row, "metric": line.column, "seeds": line.seeds, **sides, **numbers})
    return json.dumps({"a": a.name, "b": b.name, "ties": ties, "lines": listed}, indent=1)
