"""A results folder: asked for before the work, then summaries and the table that they give; rendered again from those alone.

RESULTS/DATASET/table1.md .tex .csv         (two data sets: DATASET+DATASET; a protocol other than `clean`: DATASET@PROTOCOL)
RESULTS/DATASET/runs/ROW-seed0.json         all that the table was computed from; other names there are not looked at

Rows are added to a table that lies there, and nothing of it is lost or mixed up: a variant goes to a folder of its own.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.campaign import DEFAULT_PROTOCOL, Measured, plan_cells
from benchmarks.cells import CellPlan, cell_stages, seeded
from benchmarks.facts import speed_of
from benchmarks.grid import Grid, build_grid
from benchmarks.options import TINY_DATASET
from benchmarks.overrides import Given
from benchmarks.record import OUTSIDE, read_summary
from benchmarks.render import csv, latex, markdown
from benchmarks.spec import Table
from benchmarks.user_error import UserError
from methods.files.durable import write_atomically

log = logging.getLogger("vokenbench")

RESULTS = Path("results")
SUMMARY = re.compile(r"(?P<row>.+)-seed(?P<seed>\d+)\.json")


def kept_in(results: Path | None, datasets: Sequence[str], tiny: bool, split: str = "test", part: bool = False) -> Path | None:
    """Returns the results folder that a command writes to, or None for what is only to look at.

    Args:
        results: that the user named, if any.
        part: whether it is a part or a variant that is measured.

    Raises:
        ValueError: if a folder is named for another split than test.
    """
    if split != "test" and results:
        raise ValueError(f"--split {split} is to look at and --results keeps what was measured on test: give one of the two")
    aside = part or split != "test" or (tiny and tuple(datasets) != (TINY_DATASET,))
    return results or (None if aside else RESULTS)


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


def refuse_mixing(
    table: Table, plans: Sequence[CellPlan], results: Path, tiny: bool = False, varied: bool = False, base: Given | None = None
) -> None:
    """Does nothing if cells may be written to a results folder: beside rows of their table that these options would give as well.

    Rows of an older version are no variant, whatever their settings; nor is a summary from before a variant's settings were recorded.

    Args:
        tiny, base: as the cells were planned.
        varied: whether settings were given one by one: such cells stand beside no others.

    Raises:
        ValueError: naming the folder and the first summary that would be overwritten, or stand beside others as if it were alike; or if
            a summary there is damaged.
    """
    all_of_it = whole(table)
    for dataset, protocol in dict.fromkeys((plan.dataset, plan.protocol) for plan in plans):
        beside = [] if varied else plan_cells(all_of_it, [dataset], protocol, tiny=tiny, base=base)
        here = [plan for plan in plans if (plan.dataset, plan.protocol) == (dataset, protocol)]
        expected = {plan.row.key: plan for plan in (*beside, *here)}
        of_table = {row.key for row in all_of_it.rows if row.applies_to(dataset)}
        for row, _, path in _summaries(results, [dataset], protocol):
            if row not in of_table:
                continue
            stated = read_summary(path).get("variant", {})
            if row not in expected or stated != variant(table, expected[row]):
                raise ValueError(
                    f"{path.parent.parent} holds {table.name} with other settings than these ({path.name}): "
                    "name another folder with --results"
                )


def variant(table: Table, plan: CellPlan) -> dict[str, Any]:
    """Returns {`setting`, `part.setting` or search knob: value} of what a cell has otherwise than its row of the whole table would.

    That is what --set gave, and the tiny settings on other data. What changes no result is not counted.
    """
    row = next((row for row in whole(table).rows if row.key == plan.row.key), plan.row)
    own = replace(table, rows=(row,))
    (usual,) = plan_cells(own, [plan.dataset], plan.protocol, tiny=plan.dataset.startswith(TINY_DATASET))
    before = _told(usual)
    return {name: value for name, value in _told(plan).items() if name not in before or before[name] != value}


def whole(table: Table) -> Table:
    """Returns the table that this one may be a part of."""
    return tables.table(table.name) if table.name in tables.TABLES else table


def write(table: Table, datasets: Sequence[str], protocol: str, measured: Measured, results: Path) -> Grid:
    """Returns the grid of the whole table, after writing summaries and the table.

    Rows that the table leaves out, and those of outside systems, are shown as they lie there; what was never measured is missing.
    """
    kept = write_summaries(table, datasets, protocol, measured, results)
    left_out = {row.key for row in whole(table).rows} - {row.key for row in table.rows}
    for row, _, path in _summaries(results, datasets, protocol):
        if row in left_out or row.startswith(OUTSIDE):
            kept.append(read_summary(path))
    complete = grid(whole(table), datasets, replace(measured, summaries=[*measured.summaries, *kept]), results)
    write_grid(complete, writable(results / folder_name(datasets, protocol)))
    return complete


def write_summaries(table: Table, datasets: Sequence[str], protocol: str, measured: Measured, results: Path) -> list[dict[str, Any]]:
    """Returns the summaries of further seeds that lie there and are what these cells would give today, after writing what was measured.

    Other summaries of the rows that were measured are removed. Those of rows that failed or are missing stay.
    """
    kept: list[dict[str, Any]] = []
    k = max(column.k for column in table.columns)
    for dataset in datasets:
        runs = writable(results / folder_name([dataset], protocol) / "runs")
        here = measured.of(dataset)
        told = {row: variant(table, plan) for row, plan in {plan.row.key: plan for plan in here.plans}.items()}
        ended, failed = {s["row"] for s in here.summaries}, {row for _, row in here.failures}
        lay = list(_summaries(results, [dataset], protocol))
        for each in here.summaries:
            recorded = {**each, **({"variant": told[each["row"]]} if told.get(each["row"]) else {})}
            write_atomically(runs / f"{each['row']}-seed{each['seed']}.json", json.dumps(recorded, indent=1) + "\n")
        written = {(each["row"], each["seed"]) for each in here.summaries}
        for row, seed, path in lay:
            if (row, seed) in written or row not in ended | failed:
                continue
            if row in ended and (found := _still_valid(path, seed, [plan for plan in here.plans if plan.row.key == row], k)):
                kept.append(found)
            elif row in failed:
                log.warning("%s failed; what an earlier run measured stays in %s, and `render` shows it", table.row(row).label, path)
            else:
                path.unlink()
    return kept


def grid(table: Table, datasets: Sequence[str], measured: Measured, results: Path = RESULTS) -> Grid:
    """Returns what the cells give as a table.

    Args:
        results: where the record of speed lies, of a table that shows it.
    """
    return build_grid(table, datasets, measured.summaries, measured.failures, speed_of(table, datasets, results))


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


def committed(results: Path, datasets: Sequence[str], protocol: str = DEFAULT_PROTOCOL) -> list[dict[str, Any]]:
    """Returns the summaries under a results folder, in the order of their names.

    Raises:
        ValueError: if a file is no summary that this version reads.
    """
    return [read_summary(path) for _, _, path in _summaries(results, datasets, protocol)]


def summaries_in(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """Yields (row key, seed, path) of the summaries of one data set; a backup copy or the like is none."""
    for path in sorted((folder / "runs").glob("*.json")):
        if found := SUMMARY.fullmatch(path.name):
            yield found["row"], int(found["seed"]), path


def _summaries(results: Path, datasets: Sequence[str], protocol: str) -> Iterator[tuple[str, int, Path]]:
    """Yields what `summaries_in` does of several data sets."""
    for dataset in datasets:
        yield from summaries_in(results / folder_name([dataset], protocol))


def _still_valid(path: Path, seed: int, of_row: Sequence[CellPlan], k: int) -> dict[str, Any] | None:
    """Returns the summary at a path if its row, with the seed that it had, would be ranked by the very same stage today."""
    if not of_row or seed in {plan.seed for plan in of_row} or not seeded(of_row[0].row):
        return None
    try:
        found = read_summary(path)
    except ValueError:
        return None  # damaged, or of another version: no part of the table
    plan = cell_stages(of_row[0].row, of_row[0].dataset, of_row[0].protocol, seed, of_row[0].split, k)
    return found if found.get("stages", {}).get("ranking") == plan.ranking.key else None


def _told(plan: CellPlan) -> dict[str, Any]:
    """Returns {`setting`, `part.setting` or search knob: value} of what a cell's ranking depends on, its seed apart."""

    def flat(settings: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
        for name, value in settings.items():
            if isinstance(value, Mapping):
                yield from flat(value, f"{before}{name}.")
            elif name != "seed":
                yield before + name, value

    return dict(flat({**plan.ranking.config.get("settings", {}), **plan.knobs}, ""))
