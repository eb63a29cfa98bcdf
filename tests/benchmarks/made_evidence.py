"""Made-up measurements whose verdicts are known: the first so many images of a row are found."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.metrics import Outcomes

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
        "search_seconds": seconds, "outcomes": outcomes.pack(),
    }  # fmt: skip


def point(series: str, images: int, speed: float, gallery: str = "random", batch: int = 1) -> dict[str, Any]:
    return {
        "series": series, "gallery": gallery, "images": images, "batch": batch, "queries_per_second": speed, "encode_ms": 1.0,
        "search_ms": 1000 / speed,
    }  # fmt: skip
