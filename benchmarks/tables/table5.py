"""Table 5: vokens of an image in AVG (the paper's M), at a codebook of 1,024 rows and beam 10."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.spec import RECALL, Row, Table
from benchmarks.tables.table7 import BEAM_10


def _length(vokens: int) -> Row:
    return Row(
        key=f"avg-length{vokens}",
        label=str(vokens),
        method="avg",
        settings={"tokenizer": {"voken_length": vokens}},
        knobs=BEAM_10.knobs,
    )


TABLE5 = Table(
    name="table5",
    caption="AVG by voken length, a codebook of 1,024 rows, beam 10.",
    rows_by="Voken length",
    columns=RECALL,
    rows=(_length(2), replace(BEAM_10, label="4"), _length(6), _length(8), _length(10)),
    reported={
        "flickr30k": {
            "avg-length2": (45.7, 73.1, 80.6),
            "avg-beam10": (62.3, 83.5, 86.6),
            "avg-length6": (63.2, 84.0, 86.7),
            "avg-length8": (62.1, 82.6, 85.2),
            "avg-length10": (64.1, 84.2, 87.1),
        },
    },
)
