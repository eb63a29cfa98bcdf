"""Every data set by name. Listing needs none of what makes them."""

from __future__ import annotations

from typing import Any

from methods.stage import Stage

SCENES = "benchmarks.datasets.openmoji_scenes:build"

DATASETS: dict[str, dict[str, Any]] = {
    # name: scenes in each split
    "openmoji-scenes": {"train": 10_000, "val": 500, "test": 1_000},
    "openmoji-scenes-30k": {"train": 29_000, "val": 1_014, "test": 1_000},
    "openmoji-scenes-5k": {"train": 10_000, "val": 500, "test": 5_000},
    "openmoji-scenes-tiny": {"train": 300, "val": 60, "test": 80},
}

BESIDE = {"openmoji-scenes-5k": "mscoco-5k"}


def dataset_names() -> list[str]:
    return list(DATASETS)


def data_stage(name: str, data_seed: int = 0, **counts: int) -> Stage:
    """Returns the stage that makes a data set.

    Args:
        name: a registered data set.
        data_seed: what its scenes are drawn from.
        counts: other sizes of `train`, `val` or `test`.

    Raises:
        ValueError: no such data set or split (names the nearest and lists those there are), or a count below 1.
    """
    from methods.registry import nearest

    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}: {nearest(name, dataset_names())}")
    for split, count in counts.items():
        if split not in DATASETS[name]:
            raise ValueError(f"{name} has no split {split!r}: {nearest(split, list(DATASETS[name]))}")
        if count < 1:
            raise ValueError(f"{split} = {count}: a split needs at least one scene")
    config = {"name": name, "seed": data_seed, "size_px": 128, "sprites": 200, **DATASETS[name], **counts}
    return Stage("data", SCENES, config)


def paper_dataset(name: str) -> str:
    """Returns the paper's data set that stands as context beside this one."""
    return BESIDE.get(name, "flickr30k")
