"""The command `training-size`. Imports are inside functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.options import DEFAULT_DATASET, TINY_DATASET, chosen_jobs, jobs_option, names, results_option, store_option, tiny_option

ROWS = ("irgen", "avg", "clip")


@click.command("training-size")
@click.option("--sizes", "datasets", callback=names, help="Data sets, comma-separated; by default all with the same test scenes.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many seeds each row is trained with.")
@click.option("--rows", callback=names, help=f"Rows of Table 1, comma-separated.  [default: {','.join(ROWS)}]")
@click.option("--dry-run", is_flag=True, help="Say how much is missing, and run none.")
@jobs_option
@tiny_option
@results_option
@store_option
def training_size(
    datasets: tuple[str, ...], seeds: int, rows: tuple[str, ...], dry_run: bool, jobs: int | None, tiny: bool, results: Path | None,
    store: Path,
) -> int:  # fmt: skip
    """Measure rows of Table 1 on ever more training scenes, and draw R@1 against their number. The test scenes are the same."""
    from benchmarks import campaign, results_folder, tables
    from benchmarks.datasets import BY_TRAINING_SIZE, BY_TRAINING_SIZE_TINY
    from benchmarks.growth import training_size as growth
    from benchmarks.prefetch import refuse_missing
    from benchmarks.stages import Store

    sizes = BY_TRAINING_SIZE_TINY if tiny else BY_TRAINING_SIZE
    for name in datasets:
        if name not in sizes:
            from methods.spelling import suggestion

            raise ValueError(f"{name} is not among the data sets with the same test scenes: {suggestion(name, list(sizes))}")
    chosen = [name for name in sizes if not datasets or name in datasets]
    table, stages = campaign.chosen(tables.table("table1"), rows or ROWS), Store(store)
    plans = campaign.plan_cells(table, chosen, seeds=seeds, tiny=tiny)
    if dry_run:
        click.echo(campaign.left(plans, stages))
        return 0
    kept = results or results_folder.RESULTS
    results_folder.writable(kept / (TINY_DATASET if tiny else DEFAULT_DATASET))
    results_folder.refuse_mixing(table, plans, kept, tiny)
    refuse_missing(plans, stages)
    measured = campaign.measure(table, plans, stages, jobs=chosen_jobs(jobs, tiny))
    for name in chosen:
        results_folder.write_summaries(table, [name], campaign.DEFAULT_PROTOCOL, measured.of(name), kept)
        for _ in results_folder.rendered_again(tables.table("table1"), kept, name, campaign.DEFAULT_PROTOCOL):
            pass  # a Table 1 that lies there shows these cells too
    curves = growth.committed(kept, sizes)
    click.echo(growth.markdown(curves))
    click.echo(f"written: {growth.write(curves, kept)}.md .tex .csv .png .pdf")
    return int(bool(measured.failures))


COMMANDS: tuple[Any, ...] = (training_size,)
