"""Commands about the rules of a comparison: what they are, whether they were kept, and what they decide. Imports are inside functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.options import (
    chosen_datasets,
    chosen_jobs,
    data_options,
    jobs_option,
    names,
    read_option,
    results_option,
    settings_option,
    store_option,
    tiny_option,
)


@click.command("explain-protocol")
@click.argument("name", required=False)
def explain_protocol(name: str | None) -> None:
    """Print what each protocol fixes, or all of one with its sources and its differences from the others."""
    from benchmarks.explain import explained

    click.echo(explained(name))


@click.command("pseudo-queries")
@data_options
@click.option("--split", default="test", show_default=True, help="Whose pictures.")
@click.option("--count", type=click.IntRange(min=1), default=5, show_default=True, help="How many are made for each picture.")
@click.option("--by", default="nearest", show_default=True, help="Nearest training captions, or a captioning model.")
@click.option("--show", type=click.IntRange(min=0), default=3, show_default=True, help="Pictures to print them for.")
@tiny_option
@store_option
def pseudo_queries(
    datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, tiny: bool, store: Path, **options: Any
) -> None:  # fmt: skip
    """Make pseudo-queries for pictures and show some beside the true captions."""
    from benchmarks.made_captions import shown
    from benchmarks.stages import Store

    for name in chosen_datasets(datasets, tiny, data_root, five_captions):
        click.echo(shown(name, Store(store), tiny=tiny, **options))


@click.command()
@click.argument("table", default="table1")
@data_options
@click.option("--protocol", default="clean", show_default=True, help="Rules of the comparison: clean, paper or official.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many seeds of each row.")
@click.option("--rows", callback=names, help="Rows, comma-separated; all of them by default.")
@settings_option
@click.option("--from-committed", is_flag=True, help="From the run summaries under the results folder instead of the store.")
@tiny_option
@read_option
@store_option
def leakage(
    table: str, datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, protocol: str, seeds: int, rows: tuple[str, ...],
    **where: Any,
) -> int:  # fmt: skip
    """Say for every stage of a table (table1 if none is named) which split's pictures and captions it read.

    The exit code is 1 if its protocol forbids one.
    """
    from benchmarks.leakage import report

    datasets = chosen_datasets(datasets, where["tiny"], data_root, five_captions)
    text, faults = report(recorded(table, datasets, protocol, seeds, rows, **where))
    click.echo(text + "\n")
    for fault in faults:
        click.echo(fault)
    click.echo(f"{len(faults)} readings are not allowed or not known" if faults else f"protocol {protocol} allows all of this")
    return 1 if faults else 0


def recorded(
    name: str, datasets: Sequence[str], protocol: str, seeds: int, rows: Sequence[str], *,
    from_committed: bool, tiny: bool, results: Path, store: Path, settings: str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Returns what is recorded of a table's cells, from the store or from the committed summaries.

    Raises:
        ValueError: if none of them was measured, or one is unknown.
    """
    from benchmarks import campaign, results_folder, settings_file, tables
    from benchmarks.leakage import of_plan
    from benchmarks.protocol import protocol as rules_of
    from benchmarks.stages import Store

    table = campaign.chosen(tables.table(name), rows)
    if from_committed:
        keys = {row.key for row in table.rows}
        found = results_folder.committed(results, datasets, rules_of(protocol).name)
        found = [summary for summary in found if summary["row"] in keys and summary["seed"] < seeds]
    else:
        stages = Store(store)
        plans = campaign.plan_cells(table, datasets, protocol, seeds, tiny, base=settings_file.read(settings))
        found = [of_plan(plan, stages.report(plan.ranking)) for plan in plans if stages.done(plan.ranking)]
    if not found:
        raise ValueError(f"nothing of {name} on {', '.join(datasets)} under protocol {protocol} was measured yet: measure it first")
    return found


@click.command()
@data_options
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many seeds each row is trained with.")
@click.option("--rows", callback=names, help="Rows of Table 1, comma-separated; all of them by default.")
@click.option("--protocols", "chosen", callback=names, help="Protocols to measure, comma-separated; all of them by default.")
@settings_option
@click.option("--dry-run", is_flag=True, help="Say how much is missing, and run none.")
@jobs_option
@tiny_option
@results_option
@store_option
def protocols(datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, jobs: int | None, **options: Any) -> int:
    """Measure Table 1 under all protocols and write them side by side."""
    from benchmarks.side_by_side import run

    tiny = options["tiny"]
    return run(chosen_datasets(datasets, tiny, data_root, five_captions), **options, jobs=chosen_jobs(jobs, tiny), say=click.echo)


COMMANDS = (explain_protocol, leakage, protocols, pseudo_queries)
