"""Commands about batches, submitted with `--executor slurm` or `local`. Imports are inside functions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.options import profile_option, store_option

if TYPE_CHECKING:
    from benchmarks.batch.batch import Batch
    from benchmarks.stages import Store

_batch = click.option("--batch", "name", metavar="ID", help="Which batch.  [default: the newest of the store]")


def _opened(store: Path, name: str | None) -> tuple[Batch, Store]:
    from benchmarks.batch.batch import named
    from benchmarks.stages import Store

    stages = Store(store)
    return named(stages, name), stages


@click.command()
@_batch
@click.option("--watch", is_flag=True, help="Look again and again, until nothing runs or waits.")
@click.option("--every", type=click.FloatRange(min=0.2), default=10.0, show_default=True, help="Seconds between two looks.")
@store_option
def status(name: str | None, watch: bool, every: float, store: Path) -> int:
    """Say of each stage of a batch how it stands. The exit code is 1 if one failed, was cancelled or got lost."""
    from benchmarks.batch import status as batch_status

    batch, stages = _opened(store, name)
    while True:
        found = batch_status.status(batch, stages)
        if watch:
            click.clear()
        click.echo(batch_status.text(batch, found))
        if not watch or not found.active:
            return 1 if found.bad else 0
        time.sleep(every)


@click.command()
@_batch
@store_option
def collect(name: str | None, store: Path) -> int:
    """Print and write the tables of a batch from what is there; missing and failed cells are marked. Computes nothing."""
    from benchmarks import campaign, results_folder
    from benchmarks.batch import status as batch_status
    from benchmarks.render import markdown

    batch, stages = _opened(store, name)
    found = batch_status.status(batch, stages)
    requests = batch.requests()
    for request in requests:  # before the first is written: another batch may have been collected since this one was submitted
        if request.results is not None:
            results_folder.refuse_mixing(request.table, request.plans, request.results, request.tiny, request.varied, request.base)
    for request in requests:
        measured = campaign.gathered(request.table, request.plans, stages, found.failures())
        if request.results is None:
            grid, where = results_folder.grid(request.table, request.datasets, measured), "nowhere: a part or variant"
        else:
            grid = results_folder.write(request.table, request.datasets, request.protocol, measured, request.results)
            where = f"{request.results / results_folder.folder_name(request.datasets, request.protocol)}/{request.table.name}.md .tex .csv"
        click.echo(markdown(grid))
        click.echo(f"written: {where}")
    for complaint in found.complaints:
        click.echo(complaint)
    left = sum(state.state != "done" for state in found.states)
    if left:
        click.echo(f"{left} stages of {batch.id} are not done: see `status`")
    return 1 if found.bad else 0


@click.command()
@_batch
@store_option
def cancel(name: str | None, store: Path) -> None:
    """Cancel what waits or runs of a batch. What is finished is kept, and trainings keep their checkpoints."""
    from benchmarks.batch import status as batch_status
    from benchmarks.batch.cancellation import cancel

    batch, stages = _opened(store, name)
    before = batch_status.status(batch, stages)
    cancelled, others = cancel(batch, stages, before)
    click.echo(f"{cancelled} stages of {batch.id} cancelled")
    if others:
        click.echo(f"{others} that other batches wait for as well go on; cancel those batches too")


@click.command()
@_batch
@click.option("--failed", is_flag=True, required=True, help="What failed, was cancelled or got lost, and what that held up.")
@profile_option
@store_option
def resubmit(name: str | None, failed: bool, profile: str | None, store: Path) -> None:
    """Submit again what failed of a batch, with the code and the profile as they are now."""
    from benchmarks.batch import status as batch_status
    from benchmarks.batch import submission
    from benchmarks.batch.batch import submitting
    from slurm.profile import read_profile

    batch, stages = _opened(store, name)
    if profile and batch.record()["executor"] != "slurm":
        raise ValueError(f"--profile is for batches of --executor slurm, and {batch.id} is of the local queue: leave it out")
    found = batch_status.status(batch, stages)
    if any(state.state == "unknown" for state in found.states):
        raise ValueError(f"{found.complaints[0]}: try again when it does")
    keys = {state.key for state in found.bad}
    todo = stages.plan(batch.stages()[key] for key in keys)
    if not todo:
        click.echo(f"nothing of {batch.id} failed")
        return
    with submitting(stages):  # what a stage needs may be missing although it was done when the batch was submitted
        batch.add(todo)
    if batch.record()["executor"] == "local":
        submission.requeue(batch, todo, stages)
    else:
        submission.again(batch, todo, stages, read_profile(Path(profile) if profile else None))
    click.echo(f"{len(todo)} stages of {batch.id} submitted again: {', '.join(sorted({stage.name for stage in todo}))}")


@click.command()
@click.argument("cell")
@_batch
@click.option("--lines", type=click.IntRange(min=1), default=40, show_default=True, help="Of each log, the last so many.")
@store_option
def logs(cell: str, name: str | None, lines: int, store: Path) -> None:
    """Print what the jobs behind a cell wrote: CELL as `status` names it, or a stage's key."""
    from benchmarks.batch import status as batch_status
    from slurm import launch

    batch, stages = _opened(store, name)
    found = batch_status.status(batch, stages).states
    chosen = [state for state in found if cell in state.cells or state.key.startswith(cell)]
    if not chosen:
        from methods.spelling import suggestion

        raise ValueError(f"no cell {cell!r} in {batch.id}: {suggestion(cell, sorted({each for state in found for each in state.cells}))}")
    for state in chosen:
        click.echo(f"--- {state.name} {state.key}: {state.state} {state.detail}".rstrip())
        files = [batch.jobs / f"{state.key}.log", *(launch.logs(batch.logs, state.job) if state.job else ()), Path(state.where or "/")]
        for path in dict.fromkeys(path for path in files if path.is_file() and path.stat().st_size):
            click.echo(f"{path}:")
            for line in path.read_text(errors="replace").splitlines()[-lines:]:
                click.echo(f"    {line}")


COMMANDS = (status, collect, cancel, resubmit, logs)
