"""The command about the paper as a whole: what its claims came to. Imports are inside functions."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.options import names, read_option


@click.command()
@click.option("--dataset", "datasets", callback=names, help="Data sets, comma-separated.  [default: all that anything is measured of]")
@click.option("--protocol", "protocols", callback=names, help="Protocols, comma-separated.  [default: all that anything is measured under]")
@read_option
def claims(datasets: tuple[str, ...], protocols: tuple[str, ...], results: Path) -> None:
    """Test every claim of the paper on what is measured, and say which were not tested and what would measure them."""
    from benchmarks.paper import claim_words, claims_report, evidence

    written = []
    for dataset, protocol in evidence.chosen(results, datasets, protocols):
        found, folder = claims_report.rewrite(results, dataset, protocol)
        click.echo(claims_report.markdown(found))
        written.append(f"written: {folder}/{claims_report.NAME}.md .tex .csv ({claim_words.counts(found)})")
    for line in written:
        click.echo(line)


COMMANDS = (claims,)
