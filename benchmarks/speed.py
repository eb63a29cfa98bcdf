"""Commands that measure speed. Imports are inside functions."""

from __future__ import annotations

import json
from pathlib import Path

import click

from benchmarks.options import names, results_option

PARTS = ("beams", "batch", "images", "vectors")


@click.command()
@click.option("--size", default="t5-base", show_default=True, help="Shape of the generator: t5-base, t5-small or tiny.")
@click.option("--parts", callback=names, help=f"What to vary, comma-separated.  [default: {','.join(PARTS)}]")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Rounds in which all take turns.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True, help="Of weights and products.")
@click.option("--tiny", is_flag=True, help="Seconds instead of minutes: a tiny model and small galleries; written only with --results.")
@results_option
def decoding(size: str, parts: tuple[str, ...], rounds: int, dtype: str, tiny: bool, results: Path | None) -> None:
    """Time constrained decoding and vector search beside what others run, and draw it."""
    from benchmarks import campaign, decoding_report
    from benchmarks.decoding import cases, measured, shape
    from benchmarks.environment import environment
    from benchmarks.seal import write_atomically

    # a mistake is answered before torch is imported
    shape(size)
    cases(chosen := parts or PARTS, tiny)
    kept = results or (None if tiny else Path("results"))
    folder = campaign.writable(kept / "decoding") if kept else None
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
    name = f"{size}-{dtype}" + ("" if chosen == PARTS else "-" + "-".join(chosen))
    write_atomically(folder / f"{name}.json", json.dumps(stored, indent=1) + "\n")
    write_atomically(folder / f"{name}.md", decoding_report.markdown(stored))
    write_atomically(folder / f"{name}.csv", decoding_report.csv(stored))
    decoding_report.figure(stored, folder, name)
    click.echo(f"written: {folder / name}.md .csv .json .png .pdf")


COMMANDS = (decoding,)
