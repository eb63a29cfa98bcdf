"""Commands that look at identifiers: of any table's rows, without training a generator. Imports are inside functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.options import chosen_datasets, data_options, names, results_option, settings_option, store_option, tiny_option

if TYPE_CHECKING:
    from benchmarks.cells import CellPlan
    from benchmarks.spec import Table
    from benchmarks.stages import Store


def table_of(keys: Sequence[str]) -> Table:
    """Returns a table of rows with identifiers from any tables; of Table 1 if none is named. Rows of others are labelled by key.

    Raises:
        ValueError: if there is no such row, or one has no identifiers; lists those that have.
    """
    from dataclasses import replace

    from benchmarks import tables
    from methods.registry import METHODS, method_class
    from methods.spelling import suggestion

    table1 = tables.table("table1")
    every = {row.key: row for row in table1.rows}
    for name in tables.TABLES:
        for row in tables.table(name).rows:
            every.setdefault(row.key, replace(row, label=row.key))
    coded = [key for key, row in every.items() if row.method in METHODS and method_class(row.method)[0].paradigm == "generative"]
    for key in keys:
        if key not in coded:
            what = f"row {key} has no identifiers" if key in every else f"unknown row {key!r}"
            raise ValueError(f"{what}: {suggestion(key, coded)}")
    shown = keys or [row.key for row in table1.rows if row.key in coded]
    return replace(table1, rows=tuple(every[key] for key in shown), claims=())


def planned(
    keys: Sequence[str], datasets: Sequence[str], protocol: str, tiny: bool, split: str, store: Store, results: Path | None,
    settings: str | None = None,
) -> dict[str, list[CellPlan]]:  # fmt: skip
    """Returns the cells of these rows by data set, after making what tells their identifiers.

    Args:
        results: where something will be written about them, if anywhere.

    Raises:
        ValueError: as `table_of`, or if a named row is left out on a data set, or what a row needs is not on this machine, or
            nothing can be written to the results folder.
    """
    from benchmarks import campaign, results_folder, settings_file
    from benchmarks.prefetch import refuse_missing
    from methods.coding import identifier_stages

    plans = campaign.plan_cells(table_of(keys), datasets, protocol, tiny=tiny, split=split, base=settings_file.read(settings))
    by_dataset = {dataset: [plan for plan in plans if plan.dataset == dataset] for dataset in datasets}
    for dataset, of_dataset in by_dataset.items():
        if left_out := set(keys) - {plan.row.key for plan in of_dataset}:
            raise ValueError(f"{dataset} has no row {', '.join(sorted(left_out))}: leave it out, or name another data set with --dataset")
    refuse_missing([plan for plan in plans if store.plan(identifier_stages(plan.ranking).values())], store)
    if results:
        for dataset in datasets:
            results_folder.writable(results / results_folder.folder_name([dataset], protocol))
    wanted = [stage for plan in plans for stage in (plan.data, *identifier_stages(plan.ranking).values())]
    store.run_all(wanted)
    return by_dataset


@click.command()
@data_options
@click.option("--rows", callback=names, help="Rows of any table, comma-separated.  [default: those of Table 1 that have identifiers]")
@click.option("--name", help="Write the report as codes-NAME, beside that of other rows.")
@click.option("--protocol", default="clean", show_default=True, help="Rules under which the tokenizers were trained.")
@settings_option
@click.option("--split", default="test", show_default=True, help="Whose images; others than test are not written.")
@tiny_option
@results_option
@store_option
def codes(
    datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, rows: tuple[str, ...], name: str | None, protocol: str,
    settings: str | None, split: str, tiny: bool, results: Path | None, store: Path,
) -> None:  # fmt: skip
    """Report how identifiers are used, who shares one, what they keep of a picture, and what that caps R@K at."""
    import re

    from benchmarks import results_folder
    from benchmarks.identifiers import codes, codes_report
    from benchmarks.stages import Store

    if name and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(f"--name {name!r} becomes part of a file's name: use small letters, digits and hyphens")
    datasets = chosen_datasets(datasets, tiny, data_root, five_captions)
    kept = results_folder.kept_in(results, datasets, tiny, split, part=bool(settings) or (bool(rows) and not name))
    stages, name = Store(store), f"{codes.NAME}-{name}" if name else codes.NAME
    if kept:
        shown = [row.key for row in table_of(rows).rows]
        for dataset in datasets:
            codes_report.refuse_loss(kept / results_folder.folder_name([dataset], protocol), name, shown)
    for dataset, plans in planned(rows, datasets, protocol, tiny, split, stages, kept, settings).items():
        stored = codes.measured(plans, stages, name)
        click.echo("\n" + codes_report.markdown(stored))
        if kept is None:
            click.echo("written: nowhere: a part, variant or other split (see --results and --name)")
            continue
        folder = results_folder.writable(kept / results_folder.folder_name([dataset], protocol))
        click.echo(f"written: {folder / codes_report.write(stored, folder)}.md .tex .csv .json .png .pdf")


@click.command()
@data_options
@click.option("--row", default="avg", show_default=True, help="Row of any table; another than avg is written as figure5-ROW.")
@click.option("--pairs", type=click.IntRange(1, 4), default=2, show_default=True, help="Pairs of each kind.")
@click.option("--protocol", default="clean", show_default=True, help="Rules under which the tokenizer was trained.")
@settings_option
@click.option("--split", default="test", show_default=True, help="Whose images; others than test are not written.")
@tiny_option
@results_option
@store_option
def figure5(
    datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, row: str, pairs: int, protocol: str,
    settings: str | None, split: str, tiny: bool, results: Path | None, store: Path,
) -> None:  # fmt: skip
    """Draw pairs of test images, from no shared voken to identical codes, chosen by rule."""
    from benchmarks import results_folder
    from benchmarks.identifiers import figure5, figure5_drawing
    from benchmarks.stages import Store

    datasets = chosen_datasets(datasets, tiny, data_root, five_captions)
    kept = results_folder.kept_in(results, datasets, tiny, split, part=bool(settings))
    stages = Store(store)
    for dataset, (plan,) in planned([row], datasets, protocol, tiny, split, stages, kept, settings).items():
        stored = figure5.measured(plan, stages, pairs)
        click.echo("\n" + figure5.markdown(stored))
        if kept is None:
            click.echo("written: nowhere: a variant or other split (see --results)")
            continue
        folder = results_folder.writable(kept / results_folder.folder_name([dataset], protocol))
        name = figure5.write(stored, folder)
        figure5_drawing.draw(stored, stages.run(plan.data), folder, name)
        click.echo(f"written: {folder / name}.md .json .png .pdf")


COMMANDS = (codes, figure5)
