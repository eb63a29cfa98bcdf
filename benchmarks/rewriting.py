"""`render`: all that a results folder holds, written again from the measurements committed there. Imports are inside functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks.options import read_option
from benchmarks.record import read_measured


@click.command()
@click.option("--from-committed", is_flag=True, required=True, help="From what is committed under the results folder, and nothing else.")
@read_option
def render(from_committed: bool, results: Path) -> None:
    """Write tables, figures and reports again from what was measured."""
    from benchmarks.tables import TABLES

    written = 0
    for kind in (tables, protocols, growth, records, claims):
        for line in kind(results):
            click.echo(f"written: {line}")
            written += 1
    if not written:
        raise ValueError(f"{results} holds no tables ({', '.join(TABLES)}): measure one first, or name another folder with --results")


def tables(results: Path) -> Iterator[str]:
    from benchmarks import results_folder
    from benchmarks.tables import TABLES, table

    for name in TABLES:
        for place, count in results_folder.rendered_again(table(name), results):
            yield f"{place}.md .tex .csv from {count} summaries"


def protocols(results: Path) -> Iterator[str]:
    from benchmarks import side_by_side
    from benchmarks.tables import table

    for path in sorted(results.glob("*/protocols.md")):
        side_by_side.write(side_by_side.committed(table("table1"), path.parent.name, results), results)
        yield f"{path.with_suffix('')}.md .tex .csv"


def growth(results: Path) -> Iterator[str]:
    from benchmarks.growth import training_size

    for curves in training_size.committed_again(results):
        yield f"{training_size.write(curves, results)}.md .tex .csv .png .pdf"


def records(results: Path) -> Iterator[str]:
    """What is computed from one record of measurements each."""
    from benchmarks import results_folder
    from benchmarks.identifiers import codes_report, figure5
    from benchmarks.speed import decoding_report, efficiency_report, search_error

    for pattern, writer, keys in (
        ("decoding/*.json", decoding_report.write, ("settings", "environment", "records")),
        ("*/efficiency*.json", efficiency_report.write, ("settings", "machine", "blip", "points", "command")),
        ("*/search-error-*.json", search_error.write, ("row", "dataset", "environment", "lines")),
        ("*/codes*.json", codes_report.write, ("name", "dataset", "split", "ties", "rows")),
        # the pictures of Figure 5 are the data set's, and not committed apart from the figure
        ("*/figure5*.json", figure5.write, ("row", "dataset", "split", "rule", "classes")),
    ):
        for path in sorted(results.glob(pattern)):
            writer(read_measured(path, "record", "restore it, or delete it and measure again", keys), results_folder.writable(path.parent))
            yield f"{path.with_suffix('')} in all formats{' but pictures' if writer is figure5.write else ''}"


def claims(results: Path) -> Iterator[str]:
    """Last: they are judged on the records above."""
    from benchmarks import campaign
    from benchmarks.paper import claims_report

    for path in sorted(results.glob("*/claims.md")):
        dataset, _, protocol = path.parent.name.partition("@")
        claims_report.rewrite(results, dataset, protocol or campaign.DEFAULT_PROTOCOL)
        yield f"{path.with_suffix('')}.md .tex .csv"


COMMANDS = (render,)
