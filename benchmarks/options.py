"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

DEFAULT_DATASET, TINY_DATASET = "openmoji-scenes", "openmoji-scenes-tiny"
STORE_VARIABLE = "VOKENBENCH_STORE"


def names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip())) if value else ()


def chosen_datasets(datasets: tuple[str, ...], tiny: bool, data_root: Path | None, five_captions: bool) -> tuple[str, ...]:
    """Returns the data sets that a command's options name, the default where they name none."""
    from benchmarks.roots import named

    return named(datasets or (TINY_DATASET if tiny else DEFAULT_DATASET,), data_root, five_captions)


settings_option = click.option(
    "--settings", metavar="FILE",
    help="Models and trainings of all methods: a TOML file, or paper-size for the paper's own, which want GPUs.",
)  # fmt: skip
store_option = click.option(
    "--store", type=click.Path(path_type=Path), default=Path(".vokenbench"), envvar=STORE_VARIABLE, show_default=True, show_envvar=True,
    help="Folder of finished stages; may be deleted at any time.",
)  # fmt: skip
results_option = click.option(
    "--results", type=click.Path(path_type=Path),
    help="Folder of tables and run summaries.  [default: results; of a part, a variant or another split nothing is written unasked]",
)  # fmt: skip
read_option = click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of tables and run summaries."
)
_dataset_option = click.option(
    "--dataset", "datasets", callback=names, help=f"Data sets, comma-separated: made here or on disk.  [default: {DEFAULT_DATASET}]"
)


def _patient(ctx: click.Context, parameter: click.Parameter, tiny: bool) -> bool:
    """Lets tiny work's threads sleep while they wait for each other, unless the user says otherwise: where others use the cores too it
    takes half as long so, elsewhere as long as before. Searches of usual size would take twice as long; OpenMP's own way is left to them.
    """
    if tiny:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    return tiny


tiny_option = click.option(
    "--tiny", is_flag=True, callback=_patient,
    help=f"Seconds instead of minutes: tiny settings, and {TINY_DATASET} unless --dataset is given.",
)  # fmt: skip
_data_root_option = click.option(
    "--data-root", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder of the one data set that lies on disk; remembered for next time.",
)  # fmt: skip
_five_captions_option = click.option(
    "--five-captions", is_flag=True, help="Keep five captions of each picture (MS-COCO: 25,000 of 25,010)."
)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options that say which data: `datasets`, `data_root`, `five_captions`, as `chosen_datasets` takes them."""
    return _dataset_option(_data_root_option(_five_captions_option(command)))


jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1),
    help="Stages that are computed at once, each on its part of the cores.  [default: one a GPU or with --tiny, else one a core, up to 4]",
)  # fmt: skip


def chosen_jobs(jobs: int | None, tiny: bool) -> int:
    """Returns what `campaign.measure` takes: 0 leaves the choice to the machine."""
    return jobs or (1 if tiny else 0)


profile_option = click.option(
    "--profile", metavar="FILE", help="SLURM profile: a TOML file, or one of slurm/profiles by its name, e.g. generic."
)
_executor_option = click.option(
    "--executor", type=click.Choice(["inline", "local", "slurm"]), default="inline", show_default=True,
    help="Where stages are computed: here while you wait, here in the background, or as jobs of a cluster.",
)  # fmt: skip


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options that say where its stages are computed: `executor`, `profile`."""
    return _executor_option(profile_option(command))


def check_profile(executor: str, profile: str | None) -> None:
    """Raises a ValueError if a profile is given where no cluster hears it."""
    if profile and executor != "slurm":
        raise ValueError("--profile is for --executor slurm: give both")
