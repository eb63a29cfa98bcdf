"""`all`: every table of the paper on one plan, then figures, claims and report. Imports are inside functions.

Stages that several tables share are computed once.
"""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.options import (
    check_profile,
    chosen_datasets,
    chosen_jobs,
    data_options,
    executor_options,
    jobs_option,
    names,
    results_option,
    settings_option,
    store_option,
    tiny_option,
)

if TYPE_CHECKING:
    from benchmarks.cells import CellPlan
    from benchmarks.stages import Store

SEEDED = ("table1", "table3")
"""Tables that `--seeds` is for: the paper's main claims rest on them. Others show a row's further seeds where these made them."""
OF_OTHERS = ("references",)
"""Tables that are not the paper's."""


@click.command("all")
@data_options
@click.option("--tables", "wanted", callback=names, help="These alone, comma-separated.  [default: all of the paper's, figures, report]")
@click.option("--protocol", default="clean", show_default=True, help="Rules of the comparison: clean, paper or official.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help=f"Of {' and '.join(SEEDED)}; others have one.")
@settings_option
@click.option("--dry-run", is_flag=True, help="Print the plan, and run nothing.")
@executor_options
@jobs_option
@tiny_option
@results_option
@store_option
def everything(
    datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, wanted: tuple[str, ...], protocol: str, seeds: int,
    settings: str | None, dry_run: bool, jobs: int | None, tiny: bool, results: Path | None, store: Path, executor: str,
    profile: str | None,
) -> int:  # fmt: skip
    """Measure every table of the paper, draw its figures, judge its claims; the plan, with what tables share, is printed first."""
    from benchmarks import campaign, results_folder, settings_file, tables
    from benchmarks.prefetch import refuse_missing
    from benchmarks.render import markdown
    from benchmarks.stages import Store

    check_profile(executor, profile)
    datasets = chosen_datasets(datasets, tiny, data_root, five_captions)
    chosen = {name: tables.table(name) for name in wanted or [name for name in tables.TABLES if name not in OF_OTHERS]}
    base = settings_file.read(settings)
    plans = {
        name: campaign.plan_cells(table, datasets, protocol, seeds if name in SEEDED else 1, tiny, base=base)
        for name, table in chosen.items()
    }
    kept = results_folder.kept_in(results, datasets, tiny, part=bool(base))
    stages = Store(store)
    processes = chosen_jobs(jobs, tiny)
    drawn = [] if wanted or kept is None else further(datasets, protocol, tiny, kept, store, settings)
    for line in plan_lines(plans, stages, processes):
        click.echo(line)
    for arguments in drawn:
        click.echo(f"then: python -m benchmarks.run {shlex.join(arguments)}")
    if dry_run and executor == "inline":
        return 0
    if kept and not dry_run:
        results_folder.writable(kept / results_folder.folder_name(datasets, protocol))
        for name, table in chosen.items():
            results_folder.refuse_mixing(table, plans[name], kept, tiny, base=base)
    if executor != "inline":
        from benchmarks.batch.batch import Request
        from benchmarks.batch.submission import offer

        where = kept.resolve() if kept else None
        requests = [
            Request(table=table, datasets=datasets, protocol=protocol, plans=tuple(plans[name]), results=where, tiny=tiny, base=base)
            for name, table in chosen.items()
        ]
        offer(requests, stages, executor, profile, jobs or 0, dry_run, click.echo)
        if drawn:
            click.echo("what follows the tables is not submitted: give the commands above when the tables are collected")
        return 0
    every = [plan for of_table in plans.values() for plan in of_table]
    refuse_missing(every, stages)
    campaign.compute(every, stages, processes)
    failed: list[str] = []
    for name, table in chosen.items():
        measured = campaign.measure(table, plans[name], stages, jobs=1)
        if kept:
            grid = results_folder.write(table, datasets, protocol, measured, kept)
        else:
            grid = results_folder.grid(table, datasets, measured)
        click.echo(markdown(grid))
        failed += [f"{name}: {row} on {dataset}, see {where}" for (dataset, row), where in measured.failures.items()]
    click.echo(f"written: {kept / results_folder.folder_name(datasets, protocol)}" if kept else "written: nowhere (see --results)")
    for arguments in drawn:
        told = f"python -m benchmarks.run {shlex.join(arguments)}"
        click.echo(f"\n+ {told}")
        if code := followed(arguments):
            failed.append(f"{told} (exit code {code})")
    for line in failed:
        click.echo(f"failed: {line}", err=True)
    return int(bool(failed))


def followed(arguments: list[str]) -> int:
    """Returns the exit code of a command that follows the tables, after saying what failed: those behind it need nothing of it.

    Raises:
        Abort: if the user interrupted it.
    """
    from benchmarks.run import INTERRUPTED, main

    try:
        code = main(arguments)
    except Exception:
        traceback.print_exc()
        return 1
    if code == INTERRUPTED:
        raise click.Abort
    return code


def further(datasets: Sequence[str], protocol: str, tiny: bool, results: Path, store: Path, settings: str | None = None) -> list[list[str]]:
    """Returns the commands that follow the tables, as arguments: identifier report, figures, claims, report.

    Figure 4 takes ten minutes that no stage keeps, so what is timed already is not timed again; nor are models of a settings file, since
    `figure4 --full-size` times their shapes.
    """
    from benchmarks import campaign

    size, kept, stages = ["--tiny"] * tiny, ["--results", str(results)], ["--store", str(store)]
    models = ["--settings", settings] if settings else []
    commands = []
    for dataset in datasets:
        of, under = ["--dataset", dataset], ["--protocol", protocol]
        commands += [[command, *of, *under, *models, *size, *kept, *stages] for command in ("codes", "figure5")]
        if not models and not (results / dataset / "efficiency.json").exists() and protocol == campaign.DEFAULT_PROTOCOL:
            commands.append(["figure4", *of, *size, *kept, *stages])
        commands.append(["claims", *of, "--protocol", protocol, *kept])
        commands.append(["report", *of, *under, *models, *size, *kept, *stages])
    return commands


def plan_lines(plans: Mapping[str, Sequence[CellPlan]], store: Store, jobs: int) -> list[str]:
    """Returns what is to be done, table by table, what tables share, and how long it may take.

    Args:
        plans: {table: its cells}.
        jobs: processes; 0: as many as are begun unasked.
    """
    from tabulate import tabulate

    from benchmarks import campaign, workers

    missing = {name: {stage.key: stage for stage in campaign.missing(of_table, store)} for name, of_table in plans.items()}
    every = {key: stage for of_table in missing.values() for key, stage in of_table.items()}
    wanted_by = {key: [name for name, of_table in missing.items() if key in of_table] for key in every}
    body = []
    for name, of_table in missing.items():
        own = [stage for key, stage in of_table.items() if wanted_by[key] == [name]]
        minutes = sum(map(store.durations.expected, own)) / 60
        body.append([name, len(plans[name]), len(of_table), len(of_table) - len(own), f"{minutes:.0f}"])
    shared = [stage for key, stage in every.items() if len(wanted_by[key]) > 1]
    total = sum(map(store.durations.expected, every.values())) / 60
    count = jobs or workers.usual()
    return [
        tabulate(body, ["table", "cells", "missing stages", "shared with others", "minutes of its own"], colalign=["left"] + ["right"] * 4),
        f"{len(every)} stages are missing, {len(shared)} of them for several tables: about {total:.0f} min of work, "
        f"{total / count:.0f} min on {count} process{'es' * (count > 1)}{store.durations.doubt(every.values())}.",
        "",
    ]


COMMANDS = (everything,)
