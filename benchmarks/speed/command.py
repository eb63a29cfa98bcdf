"""Commands that measure speed. Imports are inside functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from benchmarks.options import (
    chosen_datasets,
    chosen_jobs,
    data_options,
    jobs_option,
    names,
    store_option,
    tiny_option,
)
from benchmarks.speed.decoding import PARTS


def _results(unless: str) -> Callable[..., Any]:
    help = f"Folder of tables and their numbers.  [default: results; {unless}]"
    return click.option("--results", type=click.Path(path_type=Path), help=help)


@click.command()
@click.option("--size", default="t5-base", show_default=True, help="Shape of the generator: t5-base, t5-small or tiny.")
@click.option("--parts", callback=names, help=f"What to vary, comma-separated.  [default: {','.join(PARTS)}]")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Rounds in which all take turns.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True, help="Of weights and products.")
@click.option("--tiny", is_flag=True, help="Seconds instead of minutes: a tiny model and small galleries.")
@_results("none with --tiny; --parts are written beside the whole")
def decoding(size: str, parts: tuple[str, ...], rounds: int, dtype: str, tiny: bool, results: Path | None) -> None:
    """Time constrained decoding and vector search beside what others run, and draw it."""
    from benchmarks import results_folder
    from benchmarks.environment import environment
    from benchmarks.speed import decoding_report
    from benchmarks.speed.decoding import cases, measured, shape

    # a mistake is answered before torch is imported
    if tiny and size != "tiny" and click.get_current_context().get_parameter_source("size") is not ParameterSource.DEFAULT:
        raise ValueError("--tiny has a shape of its own: leave out --size or --tiny")
    shape(size)
    cases(chosen := parts or PARTS, tiny)
    kept = results or (None if tiny else Path("results"))
    folder = results_folder.writable(kept / "decoding") if kept else None
    size = "tiny" if tiny else size
    import torch

    records = measured(chosen, size, rounds, dtype, tiny, click.echo)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    settings = {"size": size, "rounds": rounds, "dtype": dtype, "threads": torch.get_num_threads(), "gpu": gpu, "parts": list(chosen)}
    stored = {"format": 1, "settings": settings, "environment": environment(), "records": records}
    click.echo("\n" + decoding_report.markdown(stored))
    if folder is None:
        click.echo("written: nowhere: a tiny run (see --results)")
        return
    name = decoding_report.write(stored, folder)
    click.echo(f"written: {folder / name}.md .csv .json .png .pdf")


@click.command("search-error")
@data_options
@click.option("--rows", callback=names, help="Generative rows of Table 1, comma-separated.  [default: avg]")
@click.option("--split", default="test", show_default=True, help="Whose queries.")
@click.option("--queries", type=click.IntRange(min=1), default=500, show_default=True, help="How many of them, from the first on.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Rounds in which all take turns.")
@jobs_option
@tiny_option
@_results("none with --tiny, or another --split than test")
@store_option
def search_error(
    datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, rows: tuple[str, ...], split: str, queries: int, rounds: int,
    jobs: int | None, tiny: bool, results: Path | None, store: Path,
) -> None:  # fmt: skip
    """Measure what a beam misses of a trained model's best identifiers, and what the exact answer costs."""
    from benchmarks import campaign, results_folder, tables
    from benchmarks.prefetch import refuse_missing
    from benchmarks.speed import search_error
    from benchmarks.stages import Store
    from methods.registry import METHODS, method_class

    datasets = chosen_datasets(datasets, tiny, data_root, five_captions)
    table = campaign.chosen(tables.table("table1"), rows or ("avg",))
    for row in table.rows:
        if row.method not in METHODS or method_class(row.method)[0].paradigm != "generative":
            raise ValueError(f"row {row.key} is not generative, it searches without a beam: choose others with --rows")
    plans = campaign.plan_cells(table, datasets, tiny=tiny, split=split)
    if split != "test" and results:
        raise ValueError(f"--split {split} is to look at and --results keeps what was measured on test: give one of the two")
    kept = results or (None if tiny or split != "test" else Path("results"))
    stages = Store(store)
    refuse_missing(plans, stages)
    if kept:
        for dataset in datasets:
            results_folder.writable(kept / dataset)
    campaign.compute(plans, stages, chosen_jobs(jobs, tiny))
    search_error.run(plans, stages, queries, rounds, kept, click.echo)


COMMANDS = (decoding, search_error)
