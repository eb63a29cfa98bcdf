"""All cells of a table, on some data sets and seeds: planned, measured one after the other, and written as a table with its summaries.

RESULTS/DATASET/table1.md .tex .csv         (two data sets: DATASET+DATASET; a protocol other than `clean`: DATASET@PROTOCOL)
RESULTS/DATASET/runs/ROW-seed0.json         all that the table was computed from
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.cells import CellPlan, cell_stages, labelled, seeded, summary
from benchmarks.facts import speed_of
from benchmarks.grid import Grid, build_grid
from benchmarks.overrides import Given, resolved
from benchmarks.progress import Bar
from benchmarks.protocol import protocol as rules_of
from benchmarks.rankings.outside import OUTSIDE
from benchmarks.record import read_summary
from benchmarks.render import csv, latex, markdown
from benchmarks.seal import UserError, write_atomically
from benchmarks.spec import Table
from benchmarks.stages import StageFailed, Store
from methods.nearest import nearest

log = logging.getLogger("vokenbench")

DEFAULT_PROTOCOL = "clean"
RESULTS = Path("results")


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
            raise ValueError(f"unknown row {key!r} of {table.name}: {nearest(key, keys)}")
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
) -> list[CellPlan]:
    """Returns the cells of a table, all rows of one seed before the next. Runs nothing.

    Args:
        seeds: how many; a row that draws nothing at random has one cell all the same.
        tiny: with every method's tiny settings.
        given: as from `overrides.parsed`; stronger than the row's own settings, which are stronger than the tiny ones, and those than the
            protocol's.

    Raises:
        ValueError: unknown data set, protocol, method or setting, or an impossible value.
    """
    rules = rules_of(protocol)
    rows = [resolved(row, tiny, given or {}, rules) for row in table.rows]
    k = max(column.k for column in table.columns)
    return [
        cell_stages(row, dataset, protocol, seed, split, k)
        for dataset in datasets
        for seed in range(seeds)
        for row in rows
        if row.applies_to(dataset) and (seed == 0 or seeded(row))
    ]


def missing(plans: Sequence[CellPlan], store: Store) -> list[Any]:
    """Returns the stages that are left to do, in order; the data are read for every summary, and so must be there."""
    return store.plan([stage for plan in plans for stage in (plan.data, plan.ranking)])


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


def measure(
    table: Table, plans: Sequence[CellPlan], store: Store, show: Callable[[str], None] | None = None, jobs: int = 1
) -> Measured:  # fmt: skip
    """Returns what came of the cells, in their order. One that fails is noted, and the others go on.

    Args:
        show: takes a line about each cell as it arrives; by default it is printed above the bar.
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
    bar = Bar(todo, store.durations, jobs)
    store.progress, show = bar, show or bar.say
    labels = {row.key: table.called(row) for row in table.rows}
    waiting = dict(enumerate(plans))

    def arrive(number: int) -> None:
        plan = waiting.pop(number)
        name = f"{labels[plan.row.key]}, seed {plan.seed}, {plan.dataset}"
        try:
            summaries[number] = cell = _measure_one(table, plan, store, result.records)
            show(f"{name}: {told(cell)}")
        except StageFailed as failed:
            if failed.of_data:
                unfit.append(failed)
                return
            result.failures[plan.dataset, plan.row.key] = where = os.path.relpath(failed.path)
            show(f"{name}: failed in {failed.stage.name}: {failed.cause} (traceback: {where})")

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


def folder_name(datasets: Sequence[str], protocol: str = DEFAULT_PROTOCOL) -> str:
    return "+".join(datasets) + ("" if protocol == DEFAULT_PROTOCOL else f"@{protocol}")


def writable(folder: Path, option: str = "--results") -> Path:
    """Returns the folder, made if need be; asked before hours of work, not after them.

    Args:
        option: by which the user names the folder.

    Raises:
        UserError: if nothing can be written there.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): name another folder with {option}") from error
    return folder


def write(
    table: Table, datasets: Sequence[str], protocol: str, measured: Measured, results: Path, others: Sequence[dict[str, Any]] = ()
) -> Grid:  # fmt: skip
    """Returns the grid, after writing summaries and the table.

    Rows of outside systems that were scored into the table stay in it.

    Args:
        others: summaries of further rows of the table, as they lie there.
    """
    kept = write_summaries(table, datasets, protocol, measured, results)
    kept += committed(results, datasets, protocol, f"{OUTSIDE}*.json")
    complete = grid(table, datasets, replace(measured, summaries=[*measured.summaries, *kept, *others]), results)
    write_grid(complete, writable(results / folder_name(datasets, protocol)))
    return complete


def write_summaries(table: Table, datasets: Sequence[str], protocol: str, measured: Measured, results: Path) -> list[dict[str, Any]]:
    """Returns the summaries of further seeds that lie there and are what these cells would give today, after writing what was measured.

    Other summaries of the rows that were measured are removed. Those of rows that failed or are missing stay.
    """
    kept: list[dict[str, Any]] = []
    for dataset in datasets:
        runs = writable(results / folder_name([dataset], protocol) / "runs")
        here = measured.of(dataset)
        texts = {f"{s['row']}-seed{s['seed']}.json": json.dumps(s, indent=1) + "\n" for s in here.summaries}
        k = max(column.k for column in table.columns)
        ended, failed = {s["row"] for s in here.summaries}, {row for _, row in here.failures}
        for row in table.rows:
            for path in runs.glob(f"{row.key}-seed*.json"):
                if path.name in texts or row.key not in ended | failed:
                    continue
                if row.key in ended and (found := _still_valid(path, here.plans, k)):
                    kept.append(found)
                elif row.key in failed:
                    log.warning("%s failed; what an earlier run measured stays in %s, and `render` shows it", row.label, path)
                else:
                    path.unlink()
        for name, text in texts.items():
            write_atomically(runs / name, text)
    return kept


def grid(table: Table, datasets: Sequence[str], measured: Measured, results: Path = RESULTS) -> Grid:
    """Returns what the cells give as a table.

    Args:
        results: where the record of speed lies, of a table that shows it.
    """
    return build_grid(table, datasets, measured.summaries, measured.failures, speed_of(table, datasets, results))


def _still_valid(path: Path, plans: Sequence[CellPlan], k: int) -> dict[str, Any] | None:
    """Returns the summary at a path if the same row, with the seed that it had, would be ranked by the very same stage today."""
    row, _, seed = path.stem.rpartition("-seed")
    of_row = [plan for plan in plans if plan.row.key == row]
    if not of_row or int(seed) in {plan.seed for plan in of_row} or not seeded(of_row[0].row):
        return None
    try:
        found = read_summary(path)
    except ValueError:
        return None  # damaged, or of another version: no part of the table
    plan = cell_stages(of_row[0].row, of_row[0].dataset, of_row[0].protocol, int(seed), of_row[0].split, k)
    return found if found.get("stages", {}).get("ranking") == plan.ranking.key else None


def write_grid(grid: Grid, folder: Path) -> None:
    for ending, text in (("md", markdown(grid)), ("tex", latex(grid)), ("csv", csv(grid))):
        write_atomically(folder / f"{grid.table.name}.{ending}", text)


def rendered_again(table: Table, results: Path, dataset: str = "", protocol: str = "") -> Iterator[tuple[Path, int]]:
    """Yields each place where a table stands under a results folder, without its ending, and how many summaries it was rendered from.

    Args:
        dataset, protocol: only where the table shows this data set under this protocol; all of it if they are empty.
    """
    for path in sorted(results.glob(f"*/{table.name}.md")):
        name, _, rules = path.parent.name.partition("@")
        datasets, rules = name.split("+"), rules or DEFAULT_PROTOCOL
        if (dataset and dataset not in datasets) or (protocol and protocol != rules):
            continue
        summaries = committed(results, datasets, rules)
        write_grid(grid(table, datasets, Measured(summaries=summaries), results), writable(path.parent))
        yield path.with_suffix(""), len(summaries)


def committed(
    results: Path, datasets: Sequence[str], protocol: str = DEFAULT_PROTOCOL, pattern: str = "*.json"
) -> list[dict[str, Any]]:  # fmt: skip
    """Returns the summaries under a results folder, in the order of their names.

    Args:
        pattern: of file names.

    Raises:
        ValueError: if a file is no summary that this version reads.
    """
    folders = [results / folder_name([dataset], protocol) / "runs" for dataset in datasets]
    return [read_summary(path) for folder in folders for path in sorted(folder.glob(pattern))]


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
    records |= {stage["key"]: stage for stage in labelled([*record["lineage"].values(), record]).values()}
    return summary(plan, folder, data_folder, record, table.columns)


def told(cell: Mapping[str, Any]) -> str:
    """Returns a summary's metrics as one line says them."""
    parts = [f"{key} {'-' if value is None else format(value['value'], '.1f')}" for key, value in cell["metrics"].items()]
    return "  ".join(parts)
