"""The one grid that a table's Markdown, LaTeX and CSV are printed from, computed from run summaries.

Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

import numpy as np

from benchmarks import facts, leakage, one_training
from benchmarks.datasets import is_papers, paper_dataset
from benchmarks.estimates import SeedHits, estimated, seed_of
from benchmarks.metrics import Outcomes, Rule, hits, same_queries
from benchmarks.paired import ALPHA, compare
from benchmarks.protocol import protocol, protocol_line
from benchmarks.rankings import outside
from benchmarks.spec import Column, Row, Table
from benchmarks.statistics import BOOTSTRAP_RESAMPLES, RANDOMISATION_RESAMPLES
from benchmarks.verdicts import MATCH, NEAR, Closeness, Verdict, closeness, verdict

PAPER_NAMES = {"flickr30k": "Flickr30K", "mscoco-5k": "MS-COCO (5k)"}
PAPERS_PROTOCOLS = ("paper", "official")
SMALL_MODELS = "this suite's small models (--settings paper-size has the paper's)"
MODEL_SETTINGS = ("model", "backbone")
"""Settings that name a model; where one is empty, a small one of this suite is in its place."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A measurement in percent, or why there is none. `where` tells the place of a failed cell's traceback.

    `closeness` compares it with the paper's number, where that was measured on the same data.
    """

    state: Literal["measured", "inapplicable", "missing", "failed"]
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    spread: float | None = None
    reported: float | None = None
    closeness: Closeness | None = None
    bold: bool = False
    star: bool = False
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of the printed table: cells in the order of the columns."""

    row: Row
    exposure: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The rows of one data set, what must be said of it, its verdicts, and what is known besides, with notes of its own."""

    dataset: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    facts: tuple[facts.FactLine, ...] = ()
    fact_notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Grid:
    table: Table
    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def build_grid(
    table: Table,
    datasets: Sequence[str],
    summaries: Sequence[Mapping[str, Any]],
    failures: Mapping[tuple[str, str], str] | None = None,
    speed: Mapping[str, Mapping[str, Any]] | None = None,
) -> Grid:
    """Returns the grid of a table: a group of rows for each data set.

    Args:
        summaries: of finished cells, any order; several seeds of a row are averaged.
        failures: (data set, row key) -> where the traceback is, of cells that failed.
        speed: data set -> record of `figure4`, as from `facts.speed_of`.

    Raises:
        ValueError: if the rows of a data set were measured on different queries or under different protocols.
    """
    groups = tuple(
        _group(table, dataset, [s for s in summaries if s["dataset"] == dataset], failures or {}, (speed or {}).get(dataset))
        for dataset in datasets
    )
    cut = " / ".join(str(column.k) for column in table.columns)
    chosen_on_test = any(protocol(summary["protocol"]).selection == "test" for summary in summaries)
    captions = "their true captions chose the checkpoints, and trained nothing" if chosen_on_test else "nobody sees their true captions"
    return Grid(
        table=table,
        groups=groups,
        notes=(
            f"R@K: percent of queries whose image is among the first K ({cut}), with its 95 % interval (percentile bootstrap over images, "
            f"{BOOTSTRAP_RESAMPLES:,} resamples); where ± is given, the standard deviation over seeds, and two rows "
            "are compared over the seeds that both have. Bold: best of the compared rows as "
            f"printed. *: above the second best with p < {ALPHA} (paired randomisation test over images, {RANDOMISATION_RESAMPLES:,} "
            "resamples, Holm over the table's comparisons of a metric). -: inapplicable. Rows in italics are references.",
            "Sees test images: training saw their pictures to learn their identifiers (image-to-id), or made-up captions for them, and the "
            "pictures with these (pseudo-queries); "
            f"{captions}. A claim is supported if every difference is above zero at the star's level, not supported if one is below zero "
            "at that level, else inconclusive.",
        ),
    )


def printed(value: float) -> str:
    """Returns a percentage as printed; what is equal here is equal in bold."""
    return f"{value:.1f}"


def _group(
    table: Table,
    dataset: str,
    summaries: Sequence[Mapping[str, Any]],
    failures: Mapping[tuple[str, str], str],
    speed: Mapping[str, Any] | None,
) -> Group:
    own = [row for row in table.rows if row.applies_to(dataset)]
    rows = own + outside.rows(table.name, summaries)
    of_row = {row.key: sorted((s for s in summaries if s["row"] == row.key), key=lambda s: s["seed"]) for row in rows}
    known = [summary for row in own for summary in of_row[row.key]]
    everything = [summary for row in rows for summary in of_row[row.key]]
    if len({summary["protocol"] for summary in everything}) > 1:
        raise ValueError(f"{table.name} on {dataset}: summaries of several protocols cannot stand in one table")
    outcomes = {row.key: {seed_of(s): Outcomes.unpack(s["outcomes"]) for s in of_row[row.key]} for row in rows if of_row[row.key]}
    clusters_Q = same_queries(dataset, ((f"row {summary['row']}", summary) for summary in everything))
    cells, hits_of = _measure(table.columns, outcomes, clusters_Q, protocol(everything[0]["protocol"]).ties if everything else "expected")

    verdicts: list[Verdict] = []
    compared = [row.key for row in rows if row.kind == "compared"]
    for column in table.columns:
        values = {key: cells[key, column.key].value for key in compared if (key, column.key) in hits_of}
        ranked = sorted(values, key=lambda key: -values[key])
        claims = [claim for claim in table.claims if claim.column == column.key]
        pairs = [(claim.better, worse) for claim in claims for worse in claim.worse]
        if len(ranked) > 1:
            pairs.append((ranked[0], ranked[1]))
        in_column = {key: hits for (key, of_column), hits in hits_of.items() if of_column == column.key}
        comparisons = compare(pairs, in_column, clusters_Q)
        for key in ranked:
            bold = printed(values[key]) == printed(values[ranked[0]])
            star = key == ranked[0] and len(ranked) > 1 and comparisons[key, ranked[1]].direction > 0
            cells[key, column.key] = replace(cells[key, column.key], bold=bold, star=star)
        verdicts += [verdict(claim, comparisons) for claim in claims]

    order, least = [claim.key for claim in table.claims], facts.least_seconds(known)
    return Group(
        dataset=dataset,
        lines=tuple(_line(table, row, dataset, of_row[row.key], cells, failures.get((dataset, row.key))) for row in rows),
        notes=(*_notes(table, own, dataset, known, failures), *outside.notes(table.name, summaries)),
        verdicts=tuple(sorted(verdicts, key=lambda verdict: order.index(verdict.claim.key))),
        facts=tuple(line for row in own for line in facts.fact_lines(table, row, of_row[row.key], speed, paper_dataset(dataset), least)),
        fact_notes=tuple(facts.notes(table, dataset, known, speed)),
    )


def _measure(
    columns: Sequence[Column], outcomes: Mapping[str, Mapping[int, Outcomes]], clusters_Q: np.ndarray, rule: Rule
) -> tuple[dict[tuple[str, str], Cell], dict[tuple[str, str], SeedHits]]:
    """Returns cells and hits by (row key, column key); inapplicable cells have no hits."""
    cells: dict[tuple[str, str], Cell] = {}
    hits_of: dict[tuple[str, str], SeedHits] = {}
    for key, seeds in outcomes.items():
        for column in columns:
            if any(column.k > one.depth for one in seeds.values()):
                cells[key, column.key] = Cell(state="inapplicable")
            else:
                hits_of[key, column.key] = {seed: hits(one, column.k, rule) for seed, one in seeds.items()}
    for address, found in estimated(hits_of, clusters_Q).items():
        cells[address] = Cell(state="measured", value=found.value, low=found.low, high=found.high, spread=found.spread)
    return cells, hits_of


def _line(
    table: Table, row: Row, dataset: str, of_row: Sequence[Mapping[str, Any]], cells: Mapping[tuple[str, str], Cell], where: str | None
) -> Line:
    comparable = is_comparable(table, dataset, of_row)
    nothing = Cell(state="missing") if where is None else Cell(state="failed", where=where)
    reported = table.reported.get(paper_dataset(dataset), {}).get(row.key)
    return Line(
        row=row,
        exposure=of_row[0]["exposure"] if of_row else "",
        cells=tuple(
            _beside(cells.get((row.key, column.key), nothing), reported[place] if reported else None, comparable)
            for place, column in enumerate(table.columns)
        ),
    )


def is_comparable(table: Table, dataset: str, summaries: Sequence[Mapping[str, Any]]) -> bool:
    """Says whether cells were measured on the very images and captions of the reported numbers, not on some of that name, and with models
    of that size."""
    found = [
        summary["split"] == "test" and summary.get("data", {}).get("as_published", False) and not has_stand_in(summary)
        for summary in summaries
    ]
    return table.reports(dataset) and bool(found) and all(found)


def has_stand_in(summary: Mapping[str, Any]) -> bool:
    """Says whether a part of a cell is one of this suite's small models: what its settings name no model for."""

    def unnamed(settings: Mapping[str, Any]) -> bool:
        return any(
            unnamed(value) if isinstance(value, Mapping) else name in MODEL_SETTINGS and value == "" for name, value in settings.items()
        )

    return unnamed(summary.get("settings", {}))


def _beside(cell: Cell, reported: float | None, comparable: bool) -> Cell:
    judged = comparable and reported is not None and cell.state == "measured"
    return replace(cell, reported=reported, closeness=closeness(cell.value, reported) if judged else None)  # type: ignore[arg-type]


def _notes(
    table: Table, rows: Sequence[Row], dataset: str, known: Sequence[Mapping[str, Any]], failures: Mapping[tuple[str, str], str]
) -> list[str]:
    notes, labels = [], {row.key: table.called(row) for row in rows}
    if known:
        line = protocol_line(known, labels)
        shared = known[0].get("data", {}).get("duplicates", {}).get("captions")
        caps = "" if shared is None else f" {100 * shared:.1f} % of the captions are also another image's, word for word: they cap R@1."
        notes.append(line + caps)
        notes += _unanswered(known, rows)
        notes += _memorised(known, rows)
        notes += leakage.notes(known, labels)
        notes += one_training.notes([(labels[summary["row"]], summary) for summary in known], table.name)
    paper = paper_dataset(dataset)
    if paper in table.reported:
        notes.append(_paper_note(table, dataset, known))
    notes += [f"{table.called(row)} failed: see {failures[dataset, row.key]}" for row in rows if (dataset, row.key) in failures]
    return notes


def _paper_note(table: Table, dataset: str, known: Sequence[Mapping[str, Any]]) -> str:
    name = PAPER_NAMES[paper_dataset(dataset)]
    if not table.reports(dataset):
        other = "of which this is another split" if is_papers(dataset) else "other data"
        instead = "; its claims are tested instead" if table.claims else ""
        return f"Paper: its numbers on {name}, {other} and so not comparable{instead}."
    small = [summary for summary in known if has_stand_in(summary)]
    named = [summary for summary in known if summary not in small]
    if not is_comparable(table, dataset, named):
        why = "nothing is measured yet"
        if known:
            split = known[0]["split"]
            why = f"these are of the split {split}"
            if split == "test":
                published = all(summary.get("data", {}).get("as_published", False) for summary in known)
                why = f"these are of {SMALL_MODELS}" if published else "the test split here is not the published one (verify-data says how)"
        return f"Paper: its numbers on {name}; {why}, so that they are context only."
    rules = known[0]["protocol"]
    reservation = "" if rules in PAPERS_PROTOCOLS else f" The protocol {rules} is not the paper's: a difference may be the protocol's."
    if small:
        labels = dict.fromkeys(table.called(table.row(summary["row"])) for summary in small)
        reservation += f" Context only beside what is of {SMALL_MODELS}: {', '.join(labels)}."
    return f"Paper: its numbers on this data. Match: within {MATCH} points of them; near: within {NEAR}; else differs.{reservation}"


def _unanswered(known: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> list[str]:
    counts = {row.label: sum(s.get("unanswered") or 0 for s in known if s["row"] == row.key) for row in rows}
    some = [f"{label}: {count:,}" for label, count in counts.items() if count]
    return [f"Queries without any answer, counted as misses ({'; '.join(some)}): GRACE's release leaves such out."] if some else []


def _memorised(known: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> list[str]:
    """Returns how well rows learned picture -> identifier: of a row that did not, recall says little of its kind of identifier."""
    told = []
    for row in rows:
        reports = [(s["split"], s.get("fitted", {}).get("generator", {}).get("pictures written", {})) for s in known if s["row"] == row.key]
        shares = [report[split] for split, report in reports if split in report]
        told += [f"{row.label}: {fmean(shares):.1f} %"] if shares else []
    what = "Pictures of this split whose whole identifier is written from the picture, which training showed"
    return [f"{what}: {'; '.join(told)}."] if told else []
