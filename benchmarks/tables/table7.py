"""Table 7: beam sizes of one AVG, and exact search besides, which shows the error that a beam makes."""

from __future__ import annotations

from benchmarks.spec import RECALL, Row, Table

BEAM_10 = Row(key="avg-beam10", label="10", method="avg", knobs={"beam": 10})
"""AVG as Tables 3 to 6 vary it, under the label that it has here."""


def _beam(beam: int) -> Row:
    return Row(key=f"avg-beam{beam}", label=str(beam), method="avg", knobs={"beam": beam})


TABLE7 = Table(
    name="table7",
    caption="AVG by beam size. A beam smaller than K has no R@K. Exact search finds what an endless beam would.",
    rows_by="Beam size",
    columns=RECALL,
    rows=(
        _beam(1),
        _beam(5),
        BEAM_10,
        _beam(20),
        _beam(30),
        Row(key="avg", label="40", method="avg", knobs={"beam": 40}),
        _beam(50),
        Row(key="avg-exact", label="Exact search", method="avg", knobs={"exact": True}, kind="reference"),
    ),
    reported={
        "flickr30k": {
            "avg-beam1": (44.2, None, None),
            "avg-beam5": (60.6, 78.1, None),
            "avg-beam10": (62.3, 83.5, 86.6),
            "avg-beam20": (62.7, 85.1, 90.2),
            "avg-beam30": (62.7, 85.5, 91.1),
            "avg": (62.8, 85.4, 91.2),
            "avg-beam50": (62.8, 85.4, 91.1),
            "avg-exact": (None, None, None),
        },
    },
)
