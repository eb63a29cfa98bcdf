"""Table 3: AVG without one of its parts at a time, at beam 10.

Where the discriminative loss is a second stage, leaving it out leaves out that stage's updates too. The reference has them, with Eq. 7
alone: the paper's ablation, of joint training, is equally long with the loss and without.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.spec import RECALL, Row, Table
from benchmarks.tables.table7 import BEAM_10

TABLE3 = Table(
    name="table3",
    caption="Ablation of AVG, beam 10.",
    columns=RECALL,
    rows=(
        replace(BEAM_10, label="AVG"),
        Row(
            key="avg-without-alignment",
            label="w/o cross-modal alignment",
            method="avg",
            settings={"tokenizer": {"alignment": 0.0}},
            knobs=BEAM_10.knobs,
        ),
        Row(
            key="avg-without-voken-embedding",
            label="w/o voken embedding",
            method="avg",
            settings={"generator": {"copy_codebook": False}},
            knobs=BEAM_10.knobs,
        ),
        Row(
            key="avg-without-discriminative",
            label="w/o discriminative loss",
            method="avg",
            settings={"generator": {"discriminative": "none"}},
            knobs=BEAM_10.knobs,
        ),
        Row(
            key="avg-same-updates",
            label="w/o discriminative loss, as many updates",
            method="avg",
            settings={"generator": {"discriminative_weight": 0.0}},
            knobs=BEAM_10.knobs,
            kind="reference",
        ),
    ),
    reported={
        "flickr30k": {
            "avg-beam10": (62.3, 83.5, 86.6),
            "avg-without-alignment": (56.8, 76.5, 79.2),
            "avg-without-voken-embedding": (62.4, 82.7, 85.8),
            "avg-without-discriminative": (60.1, 81.9, 85.0),
            "avg-same-updates": (None, None, None),
        },
    },
)
