"""Made-up measurements whose verdicts are known: the first so many images of a row are found; and how a test of them is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.metrics import Outcomes
from benchmarks.paper.evidence import Evidence, gathered
from benchmarks.paper.judgement import Finding, judge
from benchmarks.paper.statements import Statement, Test

IMAGES, PER = 200, 2


def summary(
    row: str, share: float, dataset: str = "openmoji-scenes", seed: int = 0, images: int = IMAGES, depth: int = 10, seconds: float = 1.0
) -> dict[str, Any]:
    """The first `share` of the images are found at rank 1, the others nowhere near."""
    image = np.repeat(np.arange(images, dtype=np.int32), PER)
    before = np.where(image < round(share * images), 0, 50).astype(np.int32)
    zero = np.zeros_like(before)
    outcomes = Outcomes(before, zero + 1, before, zero, image, depth)
    return {
        "format": 1, "row": row, "method": "avg", "dataset": dataset, "split": "test", "protocol": "clean", "seed": seed,
        "knobs": {"beam": 40}, "exposure": "none", "precision": "float32", "images": images, "queries": len(image),
        "encode_seconds": 2.0, "search_seconds": seconds, "outcomes": outcomes.pack(),
    }  # fmt: skip


def point(series: str, images: int, speed: float, gallery: str = "random", batch: int = 1) -> dict[str, Any]:
    return {
        "series": series, "gallery": gallery, "images": images, "batch": batch, "queries_per_second": speed, "encode_ms": 1.0,
        "search_ms": 1000 / speed,
    }  # fmt: skip


def speed_record() -> dict:
    """Returns a record of Figure 4 as it is stored: two ways, two kinds of galleries, two sizes, two batches."""
    points = [
        {"series": name, "gallery": gallery, "images": images, "batch": batch, "rounds": 30, "queries_per_second": 1e6 / images,
         "encode_ms": 1.0, "encode_p95_ms": 1.5, "search_ms": images / 1000 - 1 + 0.5, "search_p95_ms": None, "both_ms": images / 1000,
         "both_p95_ms": None, "extrapolated": False, "index_bytes": 1000 * images, "of_the_ten": 0.5 if name == "clip-hnsw" else None}
        for name in ("clip-hnsw", "avg-beam40")
        for gallery in ("random", "clustered")
        for images in (1000, 300_000)
        for batch in (1, 32)
    ]  # fmt: skip
    settings = {"dataset": "ten", "full_size": False, "tiny": False, "hnsw_to": 300_000}
    machine = {"gpu": "", "threads": 2, "hardware": {"cpu": "Some CPU"}}
    return {"format": 1, "settings": settings, "machine": machine, "blip": {}, "points": points, "command": "python -m this"}


def statement(test: Test, key: str = "one") -> Statement:
    return Statement(key=key, text="One", said=(("1", 1),), test=test, measured_by="table1")


def asked(test: Test, evidence: Evidence) -> Finding:
    (found,) = judge([statement(test)], evidence)
    return found


def rows(**shares: float) -> Evidence:
    return gathered("openmoji-scenes", "clean", [summary(row, share) for row, share in shares.items()])


def speed(*points) -> Evidence:
    return Evidence(dataset="openmoji-scenes", protocol="clean", points=points)
