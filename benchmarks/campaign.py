"""All cells of a table, on some data sets and seeds: planned, and measured one after the other."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.cells import CellPlan, cell_stages, seeded, summary
from benchmarks.datasets import refuse_without_training
from benchmarks.overrides import Given, resolved
from benchmarks.progress import Bar
from benchmarks.protocol import protocol as rules_of
from benchmarks.spec import Table
from benchmarks.stages import StageFailed, Store
from methods.spelling import suggestion

DEFAULT_PROTOCOL = "clean"


@dataclass(frozen=True)
class Measured:
    """What came of the cells: their plans, summaries, (data set, row key) -> traceback of what failed, stage records by key of what was
    used."""

    plans: Sequence[CellPlan] = ()
    summaries: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    records: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, dataset: str) -> Measured:
        """Returns the part about one data set."""
        plans = [plan for plan in self.plans if plan.dataset == dataset]
        summaries = [summary for summary in self.summaries if summary["dataset"] == dataset]
        return replace(
            self, plans=plans, summaries=summaries, failures={key: path for key, path in self.failures.items() if key[0] == dataset}
        )


def chosen(table: Table, rows: Sequence[str]) -> Table:
    """Returns the table with these rows only, and the claims that they can test; all of it if none is named.

    Raises:
        ValueError: if the table has no such row; lists those it has.
    """
    keys = [row.key for row in table.rows]
    for key in rows:
        if key not in keys:
            raise ValueError(f"unknown row {key!r} of {table.name}: {suggestion(key, keys)}")
    if not rows:
        return table
    claims = tuple(claim for claim in table.claims if {claim.better, *claim.worse} <= set(rows))
    return replace(table, rows=tuple(row for row in table.rows if row.key in rows), claims=claims)


def plan_cells(
    table: Table,
    datasets: Sequence[str],
    protocol: str = DEFAULT_PROTOCOL,
    seeds: int = 1,
    tiny: bool = False,
    given: Given | None = None,
    split: str = "test",
    base: Given | None = None,
) -> list[CellPlan]:
    """Returns the cells of a table, all rows of one seed before the next. Runs nothing.

    Args:
        seeds: how many; a row that draws nothing at random has one cell all the same.
        tiny: with every method's tiny settings.
        given: as from `overrides.parsed`; stronger than the row's own settings, which are stronger than the tiny ones, and those than the
            protocol's.
        base: as from `settings_file.read`; weaker than the protocol's.

    Raises:
        ValueError: unknown data set, protocol, method or setting, or an impossible value.
    """
    rules = rules_of(protocol)
    rows = [resolved(row, tiny, given or {}, rules, base) for row in table.rows]
    k = max(column.k for column in table.columns)
    return [
        cell_stages(row, dataset, protocol, seed, split, k)
        for dataset in datasets
        for seed in range(seeds)
        for row in rows
        if row.applies_to(dataset) and (seed == 0 or seeded(row))
    ]


def refuse_untrainable(plans: Iterable[CellPlan]) -> None:
    """Raises a ValueError that names the first row that is to be trained on data that have a test split alone."""
    for plan in plans:
        if plan.learns:
            refuse_without_training(plan.data, plan.row.key)


def missing(plans: Sequence[CellPlan], store: Store) -> list[Any]:
    """Returns the stages that are left to do, in order; the data are read for every summary, and so must be there.

    Raises:
        ValueError: if a row is to be trained on data that have a test split alone.
    """
    refuse_untrainable(plans)
    return store.plan([stage for plan in plans for stage in (plan.data, plan.ranking)])


def left(plans: Sequence[CellPlan], store: Store) -> str:
    """Returns how much is left to do, as a dry run says it; what several cells share counts once."""
    todo = missing(plans, store)
    return f"{len(todo)} stages are missing, about {sum(map(store.durations.expected, todo)) / 60:.0f} min{store.durations.doubt(todo)}"


def compute(plans: Sequence[CellPlan], store: Store, jobs: int) -> None:
    """Computes what is missing of several tables' cells on several processes, as `measure` does of one's; of one process, does nothing."""
    from benchmarks import workers

    todo = missing(plans, store)
    if not todo or (jobs := jobs or workers.usual()) == 1:
        return
    store.progress = bar = Bar(todo, store.durations, jobs)
    try:
        for _ in workers.compute(todo, store, jobs):
            pass
    finally:
        bar.close()


def measure(table: Table, plans: Sequence[CellPlan], store: Store, jobs: int = 1) -> Measured:
    """Returns what came of the cells, in their order. One that fails is noted, and the others go on.

    A line about each is printed as it arrives.

    Args:
        jobs: processes that compute stages; 0: as many as `workers.usual` gives.

    Raises:
        UserError: if the disk is full.
        StageFailed: if the user's data are at fault; after all cells that could do without them.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from benchmarks import workers

    result, summaries = Measured(plans), {}
    unfit: list[StageFailed] = []
    todo = missing(plans, store)
    jobs = (jobs or workers.usual()) if todo else 1
    store.progress = bar = Bar(todo, store.durations, jobs)
    labels = {row.key: table.called(row) for row in table.rows}
    waiting = dict(enumerate(plans))

    def arrive(number: int) -> None:
        plan = waiting.pop(number)
        name = f"{labels[plan.row.key]}, seed {plan.seed}, {plan.dataset}"
        try:
            summaries[number] = cell = _measure_one(table, plan, store, result.records)
            bar.say(f"{name}: {told(cell)}")
        except StageFailed as failed:
            if failed.of_data:
                unfit.append(failed)
                return
            result.failures[plan.dataset, plan.row.key] = where = os.path.relpath(failed.path)
            bar.say(f"{name}: failed in {failed.stage.name}: {failed.cause} (traceback: {where})")

    with logging_redirect_tqdm([logging.getLogger()]):
        try:
            if jobs > 1:
                for _ in workers.compute(todo, store, jobs):
                    for number in [number for number, plan in waiting.items() if store.done(plan.ranking) and store.done(plan.data)]:
                        arrive(number)
            for number in list(waiting):
                arrive(number)
                if bar.expected:
                    bar.keep(missing(list(waiting.values()), store))
        finally:
            bar.close()
    if unfit:
        raise unfit[0]
    result.summaries.extend(summaries[number] for number in sorted(summaries))
    return result


def gathered(table: Table, plans: Sequence[CellPlan], store: Store, failed: Mapping[str, str]) -> Measured:
    """Returns what there is of some cells without computing any; the others are missing, or failed if a stage behind them is in `failed`.

    Args:
        failed: stage key -> where its traceback is.
    """
    result = Measured(plans)
    for plan in plans:
        if store.done(plan.ranking) and store.done(plan.data):
            result.summaries.append(_measure_one(table, plan, store, result.records))
        elif where := next((failed[stage.key] for stage in plan.ranking.ancestors() if stage.key in failed), None):
            result.failures[plan.dataset, plan.row.key] = os.path.relpath(where)
    return result


def spent(records: Mapping[str, Mapping[str, Any]], made: set[str]) -> list[tuple[str, int, float, str]]:
    """Returns (stage, how many, seconds, `fresh`, `cached` or both) by falling seconds; what several cells share counts once."""
    by_name: dict[str, list[str]] = {}
    for key, record in records.items():
        by_name.setdefault(record["name"], []).append(key)
    lines = []
    for name, keys in by_name.items():
        fresh = sum(key in made for key in keys)
        state = "fresh" if fresh == len(keys) else "cached" if not fresh else f"{fresh} fresh, {len(keys) - fresh} cached"
        lines.append((name, len(keys), sum(records[key]["seconds"] for key in keys), state))
    return sorted(lines, key=lambda line: -line[2])


def _measure_one(table: Table, plan: CellPlan, store: Store, records: dict[str, Mapping[str, Any]]) -> dict[str, Any]:
    data_folder, folder = store.run(plan.data), store.run(plan.ranking)
    record = store.report(plan.ranking)
    records |= {stage["key"]: stage for stage in (*record["lineage"].values(), record)}
    return summary(plan, folder, data_folder, record, table.columns)


def told(cell: Mapping[str, Any]) -> str:
    """Returns a summary's metrics as one line says them."""
    parts = [f"{key} {'-' if value is None else format(value['value'], '.1f')}" for key, value in cell["metrics"].items()]
    return "  ".join(parts)
