"""The commands about data sets: what is in them, and whether one on disk is what it says. Imports are inside functions."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.options import chosen_datasets, data_options, store_option, tiny_option


@click.command()
@data_options
@tiny_option
@click.option("--contact-sheet", "sheet", type=click.Path(path_type=Path, dir_okay=False), help="Write a PNG of pictures and captions.")
@click.option("--split", default="test", show_default=True, help="Split that the contact sheet shows.")
@store_option
def data(
    datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, tiny: bool, sheet: Path | None, split: str, store: Path
) -> None:
    """Build or list data sets and say what is in them."""
    from benchmarks.datasets import data_stage
    from benchmarks.stages import Store

    datasets = chosen_datasets(datasets, tiny, data_root, five_captions)
    built = [data_stage(name) for name in datasets]
    if sheet and len(built) > 1:
        raise ValueError("--contact-sheet shows one data set: name one with --dataset")
    stages = Store(store)
    folders = stages.run_all(built)
    for stage, folder in zip(built, folders, strict=True):
        click.echo(f"{stage.config['name']}: {folder}")
        for name, facts in stages.report(stage)["report"].items():
            shared = facts["duplicates"]
            again = (
                "verify-data counts equal pictures" if shared["pictures"] is None else f"{shared['pictures']:.2%} of pictures come again"
            )
            click.echo(
                f"  {name:5} {facts['images']:>7,} images {facts['captions']:>8,} captions of {facts['words']:.1f} words; "
                f"{shared['captions']:.2%} of captions also fit another image, {again}"
            )
    if sheet:
        from benchmarks.datasets.contact_sheet import contact_sheet

        try:
            click.echo(f"written: {contact_sheet(folders[0], split, sheet)}")
        except OSError as error:
            raise ValueError(f"cannot write {sheet} ({error.strerror}): name another file with --contact-sheet") from error


@click.command("verify-data")
@data_options
@click.option("--json", "to", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the report there as JSON too.")
def verify_data(datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, to: Path | None) -> int:
    """Check a data set on disk, named by --dataset: counts, ids, every picture, duplicates, test pictures in train.

    The exit code is 2 if it is not what it says.
    """
    import json

    from benchmarks.roots import named
    from benchmarks.verify import text, verify
    from methods.files.durable import write_atomically

    if len(datasets) != 1:
        raise ValueError("verify-data checks one data set: name it with --dataset")
    report = verify(*named(datasets, data_root, five_captions))
    click.echo(text(report))
    if to:
        try:
            write_atomically(to, json.dumps(report, indent=1) + "\n")
        except OSError as error:
            raise ValueError(f"cannot write {to} ({error.strerror}): name another file with --json") from error
    return 2 if report["faults"] else 0


COMMANDS = (data, verify_data)
