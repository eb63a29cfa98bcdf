"""A data set and methods that take milliseconds, in a module of their own as real ones are."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from benchmarks.stages import Store
from methods.registry import METHODS
from methods.stage import Stage

NAME = "cell_work"
WORK = '''
import json, time
from typing import ClassVar
import numpy as np
from avg.settings import Settings
from methods.retriever import Ranking, Retriever
from methods.stage import Stage

def data(config, inputs, out):
    """10 images with two captions each: the image's number, and the number of the image's pair."""
    table = {"image_ids": [100 + n for n in range(10)], "files": [f"{n}.png" for n in range(10)],
             "captions": [text for n in range(10) for text in (f"image {n}", f"pair {n // 2}")],
             "caption_image_ids": [100 + n for n in range(10) for _ in range(2)]}
    (out / "test.json").write_text(json.dumps(table))
    (out / "dataset.json").write_text(json.dumps({"name": config["name"], "pictures": ".", "splits": {"test": {}}}))
    return {"test": {"duplicates": {"captions": 0.5, "images": 1.0, "pictures": 0.0}}}

def fit(config, inputs, out):
    if config["broken"]:
        raise RuntimeError("the loss is not a number")
    (out / "offset.json").write_text(json.dumps(config["offset"]))
    return {"fitted": True}

class Part(Settings):
    size: int = 3
    shape: str = "square"

class Config(Settings):
    offset: int = 0
    broken: bool = False
    seed: int = 0
    part: Part = Part(shape="round")

    @classmethod
    def tiny(cls):
        return {"part": {"size": 1}}

class Pairs(Retriever):
    """Knows which image or pair a caption names; `offset` makes it err. Images of a pair are tied where the caption names the pair."""
    paradigm = "generative"
    Config = Config
    precision = "integers"
    pause: ClassVar[float] = 0.0

    def stages(self, data, exposure):
        return {"offset": Stage("offset", "cell_work:fit", {"offset": self.config.offset, "broken": self.config.broken}, {"data": data})}
    def _load_parts(self):
        self.offset = json.loads((self.parts["offset"] / "offset.json").read_text())
    def build(self, gallery):
        self.image_ids = gallery.image_ids_N
    def index(self):
        return {"image_ids": self.image_ids}
    def use_index(self, arrays):
        self.image_ids = arrays["image_ids"]
    def encode(self, queries):
        time.sleep(self.pause)
        return [text.split() for text in queries]
    def search(self, encoded, k, knobs):
        rows = []
        for what, number in encoded:
            row = (int(number) + self.offset) % 10
            ids = self.image_ids[[row]] if what == "image" else self.image_ids[[2 * int(number), 2 * int(number) + 1]]
            ids = ids[: knobs.beam]
            rows.append((ids, np.zeros(len(ids), np.float32), np.zeros(len(ids), np.int32)))
        return Ranking.from_rows(rows, 1) if k == 1 else Ranking.from_rows(rows, k)

class Tower(Pairs):
    paradigm = "two-tower"

class Steady(Pairs):
    class Config(Settings):
        offset: int = 0
        broken: bool = False
'''


@pytest.fixture
def cell_work(tmp_path, monkeypatch):
    """Registers the methods `pairs` (generative), `tower`, `pairs-steady` (draws nothing) and the data set `ten`; returns their module."""
    (tmp_path / "cell_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cell_work", raising=False)
    monkeypatch.setitem(METHODS, "pairs", ("cell_work:Pairs", {}))
    monkeypatch.setitem(METHODS, "pairs-steady", ("cell_work:Steady", {}))
    monkeypatch.setitem(METHODS, "tower", ("cell_work:Tower", {}))
    monkeypatch.setattr("benchmarks.cells.data_stage", lambda name: Stage("data", "cell_work:data", {"name": name}))
    return importlib.import_module(NAME)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def results(tmp_path) -> Path:
    return tmp_path / "results"
