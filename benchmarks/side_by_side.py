"""Table 1 under every protocol side by side, and what exposure, selection and the tie rule each move by themselves.

RESULTS/DATASET/protocols.md .tex .csv      computed from the summaries in RESULTS/DATASET/runs and RESULTS/DATASET@PROTOCOL/runs

Q queries. The differences are paired by query: all protocols rank the same images for the same captions.
"""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import campaign, one_training, results_folder
from benchmarks.estimates import Estimate, SeedHits, estimated, in_percent, seed_of
from benchmarks.grid import printed
from benchmarks.metrics import Outcomes, Rule, hits, same_queries
from benchmarks.paired import ALPHA, Comparison, compare
from benchmarks.protocol import CLEAN, FACTORS, protocol, protocol_line
from benchmarks.render import LATEX, MARKDOWN, Style
from benchmarks.side_tables import Address, TextTable, change_cell, csv_numbers, tables_as_latex, tables_as_markdown, value_cell
from benchmarks.spec import Row, Table
from methods.files.durable import write_atomically

NAME = "protocols"
BASE = "clean"
WHOLE = (BASE, "paper", "official")
ONE_FACTOR = tuple(each.name for each in FACTORS)
SHOWN = (*WHOLE, *ONE_FACTOR)
TIES_ONLY = tuple(each.name for each in FACTORS if replace(CLEAN, name=each.name, text=each.text, ties=each.ties) == each)
"""Protocols that are another tie rule over the very rankings of `clean`: they are computed from its outcomes, and not measured."""
MEASURED = tuple(name for name in SHOWN if name not in TIES_ONLY)
RULES: tuple[Rule, ...] = ("codes", "optimistic", "expected", "index", "pessimistic")
PRINTED_RULES = {"optimistic": "codes, optimistic", "expected": "expected", "index": "index", "pessimistic": "pessimistic"}
"""At R@1 the first two are one rule: an image counts where no other code stands before its own."""
CSV_HEADERS = (
    "dataset",
    "row",
    "protocol",
    "seeds",
    "value",
    "low",
    "high",
    "seed_sd",
    "change",
    "change_low",
    "change_high",
    "p",
    "change_seed_sd",
)
FACTOR_LABELS = {"clean+exposure": "exposure", "clean+test-selection": "selection on test", "clean+codes": "tie rule codes"}


@dataclass(frozen=True, kw_only=True)
class Side:
    """The whole table of one data set.

    Args:
        entries: by (row key, protocol); what was not measured is not there.
        by_rule: {(row key, protocol): {tie rule: R@1}}.
    """

    dataset: str
    rows: Sequence[Row]
    values: Mapping[Address, Estimate]
    changes: Mapping[Address, Comparison]
    by_rule: Mapping[tuple[str, str], Mapping[Rule, float]]
    notes: Sequence[str]


def side_by_side(table: Table, dataset: str, summaries: Sequence[Mapping[str, Any]], k: int = 1) -> Side:
    """Returns R@k of a table's rows under every protocol.

    Args:
        summaries: of this data set, under any of `MEASURED`; only seeds that a row has under `clean` too are compared with it.

    Raises:
        ValueError: if two protocols were measured on different queries.
    """
    rows = [row for row in table.rows if row.applies_to(dataset)]
    outcomes: dict[Address, dict[int, Outcomes]] = {}
    for summary in summaries:
        outcomes.setdefault((summary["row"], summary["protocol"]), {})[seed_of(summary)] = Outcomes.unpack(summary["outcomes"])
    for row, name in list(outcomes):
        if name == BASE:
            outcomes |= {(row, other): outcomes[row, name] for other in TIES_ONLY}
    clusters_Q = same_queries(dataset, ((f"{summary['row']} under {summary['protocol']}", summary) for summary in summaries))

    hits_of: dict[Address, SeedHits] = {
        (row, name): {seed: hits(one, k, protocol(name).ties) for seed, one in seeds.items() if k <= one.depth}
        for (row, name), seeds in outcomes.items()
    }
    hits_of = {address: seeds for address, seeds in hits_of.items() if seeds}
    pairs = [((row, name), (row, BASE)) for row, name in hits_of if name != BASE and (row, BASE) in hits_of]
    compared = compare([pair for pair in pairs if not same_by_rule(*pair, summaries)], hits_of, clusters_Q)
    changes = {one: compared.get((one, other)) or _unchanged(one, other, hits_of) for one, other in pairs}
    by_rule = {
        address: {rule: in_percent(np.mean([hits(one, k, rule).mean() for one in seeds.values()])) for rule in RULES}
        for address, seeds in outcomes.items()
        if address in hits_of and address[1] in WHOLE
    }
    labels = {row.key: row.label for row in table.rows}
    notes = [protocol_line(of, labels) for name in MEASURED if (of := [s for s in summaries if s["protocol"] == name])]
    notes += one_training.notes([(f"{labels[summary['row']]} ({summary['protocol']})", summary) for summary in summaries], NAME)
    return Side(dataset=dataset, rows=rows, values=estimated(hits_of, clusters_Q), changes=changes, by_rule=by_rule, notes=notes)


def same_by_rule(one: Address, other: Address, summaries: Sequence[Mapping[str, Any]]) -> bool:
    """Says whether a row's recall under two protocols is one number by their rules, whatever it is: the very same rankings, by stage and
    seed, under one tie rule. There is nothing to test, and such a pair does not count among those that Holm runs over."""
    ranked: dict[Address, dict[int, str]] = {one: {}, other: {}}
    for summary in summaries:
        if (address := (summary["row"], summary["protocol"])) in ranked and (key := summary.get("stages", {}).get("ranking")):
            ranked[address][seed_of(summary)] = key
    seeds = ranked[one].keys() & ranked[other].keys()
    same = bool(seeds) and all(ranked[one][seed] == ranked[other][seed] for seed in seeds)
    return same and protocol(one[1]).ties == protocol(other[1]).ties


def _unchanged(one: Address, other: Address, hits_of: Mapping[Address, SeedHits]) -> Comparison:
    several = len(hits_of[one].keys() & hits_of[other].keys()) > 1
    return Comparison(better=one, worse=other, difference=0.0, low=0.0, high=0.0, p=1.0, spread=0.0 if several else None)


def tables_of(side: Side, style: Style) -> list[TextTable]:
    """Returns (caption, headers, body) of the three tables, their cells in a format: whole protocols, single rules, tie rules."""

    measured = [row for row in side.rows if any(key == row.key for key, _ in side.values)]
    whole_headers = ["Method", *[text for name in WHOLE for text in ([name] if name == BASE else [name, f"{name} - {BASE}"])]]
    whole = [
        [
            style.label(row),
            *[
                text
                for name in WHOLE
                for text in (
                    [value_cell(side.values.get((row.key, name)), style)]
                    + ([] if name == BASE else [change_cell(side.changes.get((row.key, name)), style)])
                )
            ],
        ]
        for row in measured
    ]
    factors = [
        [
            style.label(row),
            value_cell(side.values.get((row.key, BASE)), style),
            *[change_cell(side.changes.get((row.key, name)), style) for name in ONE_FACTOR],
        ]
        for row in measured
        if any((row.key, name) in side.values for name in ONE_FACTOR)
    ]
    rules = [
        [style.label(row), name, *[style.escape(printed(value)) for rule, value in of_rule.items() if rule in PRINTED_RULES]]
        for row in measured
        for name in WHOLE
        if (of_rule := side.by_rule.get((row.key, name))) and len({printed(value) for value in of_rule.values()}) > 1
    ]
    return [
        ("R@1 of Table 1 under three protocols", whole_headers, whole),
        (f"What one rule of official moves by itself: difference from {BASE}", ["Method", BASE, *FACTOR_LABELS.values()], factors),
        (
            "R@1 of the same rankings under each tie rule; rows that no rule changes are left out",
            ["Method", "protocol", *PRINTED_RULES.values()],
            rules,
        ),
    ]


def notes_of(side: Side) -> list[str]:
    return [
        "R@1 in percent with its 95 % interval (bootstrap over images); where ± is given, the standard deviation over seeds. Differences "
        f"are from {BASE}, paired by query, over the seeds that both have; *: p < {ALPHA} (paired randomisation test over images, Holm "
        "over all of them but those that rest on one ranking and one tie rule, and are zero by themselves).",
        *side.notes,
    ]


def markdown(side: Side) -> str:
    lead = f"**Protocols.** Table 1 on {MARKDOWN.escape(side.dataset)} under each protocol: what the rules of the comparison decide."
    return tables_as_markdown(lead, tables_of(side, MARKDOWN), notes_of(side))


def latex(side: Side) -> str:
    captioned = [(f"{caption} ({side.dataset}).", headers, body) for caption, headers, body in tables_of(side, LATEX)]
    return tables_as_latex(NAME, captioned, notes_of(side))


def csv(side: Side) -> str:
    """Returns one line for each row under each protocol: R@1, its difference from `clean`, and R@1 under each tie rule."""
    stream = io.StringIO()
    writer = csv_format.writer(stream, lineterminator="\n")
    writer.writerow([*CSV_HEADERS, *RULES])
    for row in side.rows:
        for name in SHOWN:
            if found := side.values.get((row.key, name)):
                rules = side.by_rule.get((row.key, name))
                texts = [*csv_numbers(found, side.changes.get((row.key, name))), *(f"{rules[rule]:.4f}" if rules else "" for rule in RULES)]
                writer.writerow([side.dataset, row.key, name, found.seeds, *texts])
    return stream.getvalue()


def write(side: Side, results: Path) -> Path:
    """Returns the folder, after writing the table to it in all formats."""
    folder = results_folder.writable(results / side.dataset)
    for ending, text in (("md", markdown(side)), ("tex", latex(side)), ("csv", csv(side))):
        write_atomically(folder / f"{NAME}.{ending}", text)
    return folder


def run(
    datasets: Sequence[str], *, seeds: int, rows: Sequence[str], chosen: Sequence[str], settings: str | None, dry_run: bool, tiny: bool,
    results: Path | None, store: Path, jobs: int, say: Callable[[str], None],
) -> int:  # fmt: skip
    """Returns the exit code, 1 if a cell failed, after measuring Table 1 under every protocol and writing all that comes of it.

    Raises:
        ValueError: unknown data set, protocol or row.
    """
    from benchmarks import settings_file, tables
    from benchmarks.prefetch import refuse_missing
    from benchmarks.stages import Store

    table, stages = campaign.chosen(tables.table("table1"), rows), Store(store)
    for name in chosen:
        if name in TIES_ONLY:
            raise ValueError(
                f"protocol {name} is computed from the rankings of {BASE}, not measured: name {BASE}, and the table shows both"
            )
    base = settings_file.read(settings)
    plans = {name: campaign.plan_cells(table, datasets, name, seeds, tiny, base=base) for name in chosen or MEASURED}
    every = [plan for of_name in plans.values() for plan in of_name]
    if dry_run:
        say(campaign.left(every, stages))
        return 0
    kept = results_folder.kept_in(results, datasets, tiny, part=bool(rows or base))
    if kept:
        for dataset in datasets:
            results_folder.writable(kept / dataset)
        results_folder.refuse_mixing(table, every, kept, tiny, base=base)
    refuse_missing(every, stages)
    campaign.compute(every, stages, jobs)
    summaries, failed = [], False
    for number, (name, of_name) in enumerate(plans.items()):
        say(f"protocol {name} ({number + 1} of {len(plans)})")
        measured = campaign.measure(table, of_name, stages, jobs=1)
        if kept:
            for dataset in datasets:
                results_folder.write(table, [dataset], name, measured.of(dataset), kept)
        summaries += measured.summaries
        failed = failed or bool(measured.failures)
    for dataset in datasets:
        # with what was measured of other protocols before
        of_dataset = [summary for summary in summaries if summary["dataset"] == dataset]
        side = committed(results_folder.whole(table), dataset, kept) if kept else side_by_side(table, dataset, of_dataset)
        say(markdown(side))
        say(f"written: {write(side, kept)}/{NAME}.md .tex .csv" if kept else "written: nowhere: a part of the table (see --results)")
    return int(failed)


def committed(table: Table, dataset: str, results: Path) -> Side:
    """Returns the table from the summaries under a results folder."""
    summaries = [summary for name in MEASURED for summary in results_folder.committed(results, [dataset], name)]
    return side_by_side(table, dataset, [summary for summary in summaries if summary["row"] in {row.key for row in table.rows}])
