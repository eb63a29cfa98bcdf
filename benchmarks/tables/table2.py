"""Table 2: the three paradigms, their recall and their cost. Rows that the paper leaves out are references.

CLIP's recall is that of an exact search; its further lines are other ways to serve the same vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.references import BLIP_MODELS
from benchmarks.spec import RECALL, Fact, Row, Table

MADE = "openmoji-scenes*"
FLICKR, COCO = {"model": BLIP_MODELS["transformers", "flickr30k"]}, {"model": BLIP_MODELS["transformers", "mscoco-5k"]}
NONE = (None, None, None)
BLIP = {"blip-pairs": "every pair read", "blip-rerank": "the shortlist's pairs read, as for its recall"}


def _clip_blip(key: str, settings: Mapping[str, Any], only: str) -> Row:
    return Row(
        key=key,
        label="CLIP's first 128, ordered by BLIP",
        method="clip-blip",
        settings=settings,
        kind="reference",
        only=only,
        series={"clip-blip": "128 pairs"},
    )


TABLE2 = Table(
    name="table2",
    caption="One tower, two towers and generation: recall, speed and cost. CLIP is AVG's own encoder.",
    columns=RECALL,
    facts=(
        Fact(key="paradigm", label="Paradigm"),
        Fact(key="large-sets", label="Large sets"),
        Fact(key="queries-per-second", label="Queries/s, 300k images"),
        Fact(key="training-minutes", label="Training, min"),
        Fact(key="index-mb", label="Index, MB"),
        Fact(key="index-mb-300k", label="Index, MB, 300k images"),
    ),
    rows=(
        Row(key="blip", label="BLIP", method="blip", only=MADE, series=BLIP),
        Row(key="blip-flickr30k", label="BLIP", method="blip", settings=FLICKR, only="flickr30k*", series=BLIP),
        Row(key="blip-mscoco", label="BLIP", method="blip", settings=COCO, only="mscoco-5k", series=BLIP),
        Row(
            key="clip",
            label="CLIP",
            method="clip",
            series={
                "clip-paper": "as the paper timed it",
                "clip-matrix": "one matrix product",
                "clip-flat": "FAISS flat",
                "clip-hnsw": "FAISS HNSW",
                "clip-ivfpq": "FAISS IVF-PQ",
            },
        ),
        Row(key="avg", label="AVG", method="avg", series={"avg-beam40": "beam 40"}),
        _clip_blip("clip-blip", {}, MADE),
        _clip_blip("clip-blip-flickr30k", {"blip": FLICKR}, "flickr30k*"),
        _clip_blip("clip-blip-mscoco", {"blip": COCO}, "mscoco-5k"),
        Row(
            key="avg-clip",
            label="AVG's list, ordered by CLIP",
            method="avg-clip",
            kind="reference",
            series={"avg-clip": "beam 40"},
        ),
    ),
    reported={
        "flickr30k": {
            "blip": (87.6, 97.7, 99.0),
            "blip-flickr30k": (87.6, 97.7, 99.0),
            "clip": (58.4, 81.5, 88.1),
            "avg": (62.8, 85.4, 91.2),
            "clip-blip": NONE,
            "clip-blip-flickr30k": NONE,
            "avg-clip": NONE,
        },
    },
    reported_facts={
        "flickr30k": {
            "blip": {"large-sets": "no", "queries-per-second": 0.00007},
            "blip-flickr30k": {"large-sets": "no", "queries-per-second": 0.00007},
            "clip": {"large-sets": "yes", "queries-per-second": 4.32},
            "avg": {"large-sets": "yes", "queries-per-second": 16.8},
        },
    },
)
