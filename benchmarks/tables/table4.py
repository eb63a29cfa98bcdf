"""Table 4: rows of AVG's codebook (the paper's N), at four vokens an image and beam 10."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.spec import RECALL, Row, Table
from benchmarks.tables.table7 import BEAM_10


def _codebook(rows: int) -> Row:
    return Row(
        key=f"avg-codebook{rows}",
        label=f"{rows:,}",
        method="avg",
        settings={"tokenizer": {"codebook_size": rows}},
        knobs=BEAM_10.knobs,
    )


TABLE4 = Table(
    name="table4",
    caption="AVG by codebook size, four vokens an image, beam 10.",
    rows_by="Codebook size",
    columns=RECALL,
    rows=(_codebook(256), _codebook(512), replace(BEAM_10, label="1,024"), _codebook(2048)),
    reported={
        "flickr30k": {
            "avg-codebook256": (60.8, 82.0, 84.8),
            "avg-codebook512": (61.1, 82.8, 86.1),
            "avg-beam10": (62.3, 83.5, 86.6),
            "avg-codebook2048": (61.2, 83.0, 86.0),
        },
    },
)
