"""The command that measures how fast each paradigm answers, and draws Figure 4. Imports are inside functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.options import chosen_datasets, data_options, names, results_option, store_option, tiny_option
from benchmarks.speed.efficiency import PAIRED, SERIES, SIZES, TINY_SIZES

if TYPE_CHECKING:
    from benchmarks.speed.checkpoint import Checkpoint
    from benchmarks.stages import Store
    from methods.timing.serving import Models


PAIR_ROUNDS = 5
MOST = 10**9
"""Images of a gallery: as many as codes of the default length can name, and more than any memory holds vectors of."""


def sizes_of(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    try:
        found = tuple(sorted({int(float(each)) for each in value.split(",")})) if value else ()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r}: give numbers of images, comma-separated, e.g. 1000,300000") from None
    if found and not 1 <= found[0] <= found[-1] <= MOST:
        raise click.BadParameter(f"a gallery has at least one image, and at most {MOST:,}")
    return found


def finite(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    if not 0 <= value < inf:
        raise click.BadParameter(f"{value} is no number of seconds")
    return value


@click.command()
@data_options
@click.option("--sizes", callback=sizes_of, help="Images, comma-separated.  [default: 1000 to 1000000 in seven steps]")
@click.option("--series", callback=names, help=f"What to time, comma-separated: of {', '.join(SERIES)}.  [default: all]")
@click.option("--rounds", type=click.IntRange(min=1), default=30, show_default=True, help="Rounds in which all take turns, at most.")
@click.option("--seconds", type=float, callback=finite, default=0.7, show_default=True, help="For each that is slow.")
@click.option("--hnsw-to", type=click.IntRange(min=1), default=300_000, show_default=True, help="Largest gallery that HNSW builds.")
@click.option("--pairs", type=click.IntRange(min=1), default=128, show_default=True, help="Pairs that BLIP is timed with at once.")
@click.option("--full-size", is_flag=True, help="T5-base, ViT-L/14-336 and BLIP-base with random weights in place of trained models.")
@tiny_option
@results_option
@store_option
def figure4(
    datasets: tuple[str, ...], data_root: Path | None, five_captions: bool, sizes: tuple[int, ...], series: tuple[str, ...], rounds: int,
    seconds: float, hnsw_to: int, pairs: int, full_size: bool, tiny: bool, results: Path | None, store: Path,
) -> None:  # fmt: skip
    """Time every paradigm against the size of the gallery, and draw Figure 4.

    A gallery that was timed is kept in the store until all are: given again, a command that was killed goes on.
    """
    from benchmarks import results_folder
    from benchmarks.speed import efficiency_report
    from benchmarks.stages import Store
    from methods.spelling import suggestion

    chosen = chosen_datasets(datasets, tiny, data_root, five_captions)
    if len(chosen) != 1:
        raise ValueError("figure4 serves the models of one data set: name it with --dataset")
    for name in series:
        if name not in SERIES:
            raise ValueError(f"unknown series {name!r}: {suggestion(name, list(SERIES))}")
    images = list(sizes or (TINY_SIZES if tiny else SIZES))
    if set(series) == {"clip-hnsw"} and min(images) > hnsw_to:
        raise ValueError(f"clip-hnsw is timed in galleries of up to {hnsw_to:,} images: name smaller --sizes, or a larger --hnsw-to")
    part = bool(sizes or series) or (tiny and datasets)
    kept = results or (None if part else Path("results"))
    folder = results_folder.writable(kept / chosen[0]) if kept else None
    if folder is not None:
        efficiency_report.refuse_loss(folder, full_size, images, series or tuple(SERIES))
    settings: dict[str, Any] = {
        "dataset": chosen[0],
        "sizes": images,
        "series": list(series or SERIES),
        "rounds": rounds,
        "seconds": min(seconds, 0.02) if tiny else seconds,
        "hnsw_to": hnsw_to,
        "pairs": pairs,
        "full_size": full_size,
        "tiny": tiny,
    }
    given = {"--dataset": ",".join(datasets), "--sizes": ",".join(map(str, sizes)), "--series": ",".join(series)}
    flags = [name for name, on in (("--full-size", full_size), ("--tiny", tiny)) if on]
    numbers = [f"--rounds {rounds}", f"--seconds {seconds:g}", f"--hnsw-to {hnsw_to}", f"--pairs {pairs}"]
    command = " ".join(
        ["python -m benchmarks.run figure4", *(f"{name} {value}" for name, value in given.items() if value), *numbers, *flags]
    )
    found, checkpoint = _timed(settings, Store(store))
    stored = {"format": 1, **found, "command": command}
    click.echo("\n" + efficiency_report.markdown(stored))
    if folder is not None:
        efficiency_report.keep(stored, folder)
    checkpoint.remove()
    if folder is None:
        click.echo("written: nowhere: a part, or other data (see --results)")
        return
    name = efficiency_report.write(stored, folder)
    click.echo(f"written: {folder}/{name}.md .csv .png .pdf")


def _timed(settings: Mapping[str, Any], stages: Store) -> tuple[dict[str, Any], Checkpoint]:
    """Returns the record but for its command, and where its points are kept until it is."""
    import torch

    from benchmarks.environment import environment
    from benchmarks.speed import efficiency
    from benchmarks.speed.checkpoint import Checkpoint
    from benchmarks.speed.served import behind, captions, cross_encoder, plans, trained
    from methods.machine import product_format

    tiny, series = settings["tiny"], settings["series"]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    machine = {**environment(), "threads": torch.get_num_threads(), "gpu": gpu, "products": product_format()}
    cells = [] if settings["full_size"] else plans(settings["dataset"], tiny, series)
    record = {
        "settings": json.loads(json.dumps(settings)),
        "models": behind(cells),
        "machine": machine,
    }
    checkpoint = Checkpoint(stages, {**record, "machine": {**machine, "scheduler": None}}, click.echo)
    queries = captions(settings["dataset"], stages)
    if settings["full_size"]:
        from methods.timing import full_size

        models = full_size.models(tiny)
    else:
        models = trained(cells, stages)
    timed: Sequence[str] = [name for name in series if name not in PAIRED]
    wanted_pairs = [name for name in series if name in PAIRED]
    if wanted_pairs and "clip-matrix" not in timed:
        timed = [*timed, "clip-matrix"]  # of which a shortlist's time is taken
    _refuse_memory(models, max(settings["sizes"]), timed)
    how = {name: settings[name] for name in ("rounds", "seconds", "hnsw_to")}
    points = efficiency.measured(models, queries, settings["sizes"], timed, **how, say=click.echo, once=checkpoint.once)
    blip: dict[str, Any] = {}
    if wanted_pairs:
        pairs, told, stage = cross_encoder(settings["dataset"], tiny, stages, trained=not settings["full_size"])
        taken = efficiency.pair_seconds(pairs, queries, settings["pairs"], PAIR_ROUNDS, click.echo)
        blip = {
            "model": told,
            "stage": stage,
            "pairs": settings["pairs"],
            "pairs_per_second": 1 / taken["pair"],
            "caption_ms": 1000 * taken["caption"],
        }
        points += efficiency.paired(points, taken, pairs.picture_bytes, wanted_pairs)
    return {**record, "blip": blip, "points": [point for point in points if point["series"] in series]}, checkpoint


def _refuse_memory(models: Models, images: int, series: Sequence[str]) -> None:
    """Does nothing if memory has room for the largest gallery, or if no vectors are searched.

    Raises:
        ValueError: if it has not.
    """
    import psutil

    needed, free = models.room(images), psutil.virtual_memory().available
    if needed > free and any(name.startswith("clip-") or name == "avg-clip" for name in series):
        raise ValueError(
            f"{images:,} images take some {needed / 2**30:.0f} GiB of memory, and {free / 2**30:.0f} are free: name smaller --sizes, or "
            "--series without vectors"
        )


COMMANDS = (figure4,)
