"""OpenMoji Scenes, the default data set: made here from a seed, so that everything runs offline and nobody has to accept a licence first.

The pictures hold OpenMoji's, which are CC BY-SA 4.0: whoever shows one shows `ATTRIBUTION` with it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from benchmarks.datasets.captions import caption
from benchmarks.datasets.duplicates import duplicates
from benchmarks.datasets.scenes import SIDE, Thing, compose, draw
from benchmarks.datasets.sprites import all_sprites, rasterise
from methods.retriever import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

ATTRIBUTION = "Pictures: OpenMoji, CC BY-SA 4.0"
CAPTIONS = 5
SPLITS = ("train", "val", "test")
SPLIT_IDS = 100_000_000
"""Image ids of a split start at its index times this: unique across splits, and scene i keeps its id in a larger data set."""


class SceneSettings(Settings):
    """How many scenes of what size; everything that the bytes of the data set depend on."""

    name: str = "openmoji-scenes"
    seed: int = Field(0, ge=0)
    train: int = Field(10_000, ge=1, lt=SPLIT_IDS)
    val: int = Field(500, ge=1, lt=SPLIT_IDS)
    test: int = Field(1_000, ge=1, lt=SPLIT_IDS)
    size_px: int = Field(128, ge=16, le=1024, description="side of a picture")
    sprites: int = Field(200, ge=3, le=200, description="how many different things there are, taken evenly from the whole list")


def build(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Returns a report of the data set that it writes to `out`, in the layout of `methods/data.py` and with `facts.json` besides.

    `facts.json` holds, for each split, what is true of every image and what every caption says: {split: {"images": [{"ground",
    "things": [{"sprite", "kind", "x", "y", "side"}]}], "captions": [{"mentions", "ground", "place", "relation"}]}}, in the order of the
    split's own file.

    Args:
        config: a `SceneSettings` as a dictionary.
        inputs: none.
        out: an empty folder.
    """
    from tqdm import tqdm

    settings = SceneSettings(**config)
    every = all_sprites()
    sprites = tuple(every[row * len(every) // settings.sprites] for row in range(settings.sprites))
    largest = max(high for _, high in SIDE.values())
    masters = {sprite.key: rasterise(sprite, round(largest * settings.size_px)) for sprite in sprites}
    shapes = {key: (master.width / max(master.size), master.height / max(master.size)) for key, master in masters.items()}
    report: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    counts = {split: getattr(settings, split) for split in SPLITS}
    bar = tqdm(total=sum(counts.values()), desc="drawing scenes", disable=None)  # None: silent where no one watches
    with zipfile.ZipFile(out / "pictures.zip", "w") as archive, bar:
        for number, split in enumerate(SPLITS):
            table: dict[str, list[Any]] = {"image_ids": [], "files": [], "captions": [], "caption_image_ids": []}
            facts[split] = {"images": [], "captions": []}
            seen = set()
            for row in range(counts[split]):
                scene = compose(np.random.default_rng((settings.seed, number, row)), sprites, shapes)
                image_id, file = number * SPLIT_IDS + row, f"{split}/{row:06d}.png"
                png = _png(draw(scene, masters, settings.size_px))
                archive.writestr(_member(file), png)
                seen.add(hashlib.sha256(png).digest())
                table["image_ids"].append(image_id)
                table["files"].append(file)
                facts[split]["images"].append({"ground": scene.ground, "things": [_thing(thing) for thing in scene.things]})
                for line in range(CAPTIONS):
                    # counted from 1: numpy seeds (s, n, r) and (s, n, r, 0) alike
                    text, stated = caption(scene, np.random.default_rng((settings.seed, number, row, line + 1)))
                    table["captions"].append(text)
                    table["caption_image_ids"].append(image_id)
                    facts[split]["captions"].append(asdict(stated))
                bar.update()
            (out / f"{split}.json").write_text(json.dumps(table))
            report[split] = {
                "images": counts[split],
                "captions": len(table["captions"]),
                "words": round(float(np.mean([len(text.split()) for text in table["captions"]])), 2),
                "duplicates": duplicates(table["captions"], table["caption_image_ids"]) | {"pictures": 1 - len(seen) / counts[split]},
            }
    (out / "facts.json").write_text(json.dumps(facts))
    info = {
        "name": settings.name,
        "pictures": "pictures.zip",
        "splits": {split: {"images": report[split]["images"], "captions": report[split]["captions"]} for split in SPLITS},
        "duplicates": report["test"]["duplicates"],
        "attribution": ATTRIBUTION,
        "settings": settings.model_dump(),
    }
    (out / "dataset.json").write_text(json.dumps(info, indent=1))
    return report


def _thing(thing: Thing) -> dict[str, Any]:
    return {"sprite": thing.sprite.key, "kind": thing.sprite.kind, "x": thing.x, "y": thing.y, "side": thing.side}


def _png(picture: Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    # the date and the system it was made on would otherwise differ between two builds
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system = 3
    return member
