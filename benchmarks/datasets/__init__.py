"""Every data set by name. Listing needs none of what makes them."""

from __future__ import annotations

from typing import Any

from methods.stage import Stage

SCENES = "benchmarks.datasets.openmoji_scenes:build"
FILES = "benchmarks.datasets.on_disk:build"

DATASETS: dict[str, dict[str, Any]] = {
    # name: scenes in each split
    "openmoji-scenes": {"train": 10_000, "val": 500, "test": 1_000},
    "openmoji-scenes-30k": {"train": 29_000, "val": 1_014, "test": 1_000},
    "openmoji-scenes-5k": {"train": 10_000, "val": 500, "test": 5_000},
    "openmoji-scenes-train2500": {"train": 2_500, "val": 500, "test": 1_000},
    "openmoji-scenes-train5000": {"train": 5_000, "val": 500, "test": 1_000},
    "openmoji-scenes-tiny": {"train": 240, "val": 50, "test": 50},
    "openmoji-scenes-tiny-train120": {"train": 120, "val": 50, "test": 50},
}

BY_TRAINING_SIZE = ("openmoji-scenes-train2500", "openmoji-scenes-train5000", "openmoji-scenes", "openmoji-scenes-30k")
BY_TRAINING_SIZE_TINY = ("openmoji-scenes-tiny-train120", "openmoji-scenes-tiny")
"""Data sets with the same test scenes, from few training scenes to many: each has those of the one before among its own."""

ON_DISK = {
    # name: (form, the file that its root must hold)
    "flickr30k": ("karpathy", "dataset_flickr30k.json"),
    "flickr30k-entities": ("entities", "test.txt"),
    "mscoco-5k": ("karpathy", "dataset_coco.json"),
}

FIVE = "-five-captions"
"""End of the name of a data set on disk of which each picture keeps five captions: other queries, and so results of their own."""

BESIDE = {"openmoji-scenes-5k": "mscoco-5k", "mscoco-5k": "mscoco-5k"}
PAPERS = {"flickr30k": "flickr30k", "flickr30k-entities": "flickr30k", "mscoco-5k": "mscoco-5k"}


def dataset_names() -> list[str]:
    """Returns the names of all data sets: made here, known ones on disk, and those whose root the user has named."""
    from benchmarks.roots import roots

    return list(dict.fromkeys([*DATASETS, *ON_DISK, *roots()]))


def on_disk_name(name: str, five_captions: bool) -> str:
    """Returns the name of a data set on disk, with or without the cut to five captions."""
    return name.removesuffix(FIVE) + FIVE if five_captions else name


def data_stage(name: str, data_seed: int = 0, **counts: int) -> Stage:
    """Returns the stage that makes a data set.

    Args:
        name: a data set of `dataset_names`; `-five-captions` after that of one on disk keeps five captions of each picture.
        data_seed: what scenes are drawn from.
        counts: other sizes of `train`, `val` or `test` of scenes.

    Raises:
        ValueError: no such data set or split (names the nearest and lists those there are), a count below 1, or a data set on disk whose
            root is unknown or does not hold it.
    """
    from methods.spelling import suggestion

    if name not in DATASETS:
        from benchmarks.datasets.on_disk import settings

        if data_seed or counts:
            raise ValueError(f"{name} lies on disk: it has neither a seed nor other sizes")
        return Stage("data", FILES, settings(name))
    for split, count in counts.items():
        if split not in DATASETS[name]:
            raise ValueError(f"{name} has no split {split!r}: {suggestion(split, list(DATASETS[name]))}")
        if count < 1:
            raise ValueError(f"{split} = {count}: a split needs at least one scene")
    config = {"name": name, "seed": data_seed, "size_px": 128, "sprites": 200, **DATASETS[name], **counts}
    return Stage("data", SCENES, config)


def refuse_without_training(data: Stage, who: str) -> None:
    """Raises a ValueError where a data set of one's own has a test split alone, and so nothing that somebody could learn from."""
    if data.function != FILES:
        return
    from benchmarks.datasets.on_disk import located

    name = data.config["name"]
    if not (found := located(name)).published and found.held() == ("test",):
        raise ValueError(
            f"{name} has a test split alone, and {who} is trained: give it train and val, or take --rows of models that are used as they "
            "are (clip with --set clip.encoder.model, blip with --set blip.model)"
        )


def paper_dataset(name: str) -> str:
    """Returns the paper's data set whose numbers stand beside this one's: the same data, or the nearest in size as context."""
    return BESIDE.get(name.removesuffix(FIVE), "flickr30k")


def is_papers(name: str) -> bool:
    """Says whether a data set is, by its name, the one that `paper_dataset` gives."""
    return name.removesuffix(FIVE) in PAPERS
