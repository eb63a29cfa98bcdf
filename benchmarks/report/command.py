"""The command that writes the report. Imports are inside functions."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.options import chosen_datasets, data_options, names, read_option, settings_option, store_option, tiny_option


@click.command()
@data_options
@click.option("--protocol", default="clean", show_default=True, help="Rules under which it was measured.")
@settings_option
@click.option("--rows", callback=names, help="Rows of tables whose answers are shown, comma-separated; all that are finished by default.")
@click.option("--queries", type=click.IntRange(min=1), default=200, show_default=True, help="How many are drawn, from a fixed seed.")
@click.option("--failures", type=click.IntRange(min=0), default=50, show_default=True, help="The worst of each method, besides.")
@click.option("--to", type=click.Path(path_type=Path), help="Folder to write.  [default: report/DATASET]")
@tiny_option
@read_option
@store_option
def report(
    datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, protocol: str, settings: str | None, rows: tuple[str, ...],
    queries: int, failures: int, to: Path | None, tiny: bool, results: Path, store: Path,
) -> None:  # fmt: skip
    """Write what was measured, with queries and the pictures that were found for them, as a folder to open in a browser.

    Nothing is trained or ranked: tables come from the results folder, answers from the store.
    """
    from benchmarks import settings_file
    from benchmarks.report import page

    datasets = chosen_datasets(datasets, tiny, data_root, five_captions)
    if len(datasets) != 1:
        raise ValueError("report shows one data set: name it with --dataset")
    written = page.write(
        datasets[0],
        protocol,
        rows,
        to=to,
        results=results,
        store=store,
        tiny=tiny,
        queries=queries,
        failures=failures,
        base=settings_file.read(settings),
    )
    click.echo(f"{written.queries:,} queries, {written.methods} methods, {written.pictures:,} pictures, {written.size / 2**20:.1f} MB")
    if written.size > page.LARGE:
        click.echo(f"that is more than {page.LARGE / 2**20:.0f} MB: fewer --queries, --failures or --rows make it smaller")
    click.echo(f"written: {written.index}")


COMMANDS = (report,)
