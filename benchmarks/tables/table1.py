"""Table 1: AVG against other generative methods. GRACE's Atomic Id is kept out, as in the paper: it is not generative."""

from __future__ import annotations

from benchmarks.paper.claims import table_claims
from benchmarks.spec import RECALL, Row, Table

NONE = (None, None, None)
REFERENCES = {"clip": NONE, "scene-facts": NONE, "random": NONE}

TABLE1 = Table(
    name="table1",
    caption="AVG and other generative methods for text-to-image retrieval.",
    columns=RECALL,
    rows=(
        Row(key="grace-numeric", label="GRACE (Numeric Id)", method="grace-numeric"),
        Row(key="grace-string", label="GRACE (String Id)", method="grace-string"),
        Row(key="grace-semantic", label="GRACE (Semantic Id)", method="grace-semantic"),
        Row(key="grace-structured", label="GRACE (Structured Id)", method="grace-structured"),
        Row(key="irgen", label="IRGen", method="irgen"),
        Row(key="avg", label="AVG", method="avg"),
        Row(key="clip", label="CLIP, AVG's own encoder", method="clip", kind="reference"),
        Row(key="scene-facts", label="Ideal matcher of the scenes' facts", method="scene-facts", kind="reference", only="openmoji-scenes*"),
        Row(key="random", label="Random", method="random", kind="reference"),
    ),
    reported={
        "flickr30k": {
            "grace-numeric": (22.5, 28.9, 29.4),
            "grace-string": (30.5, 39.0, 40.4),
            "grace-semantic": (22.9, 34.9, 37.4),
            "grace-structured": (37.4, 59.5, 66.2),
            "irgen": (49.0, 68.9, 72.5),
            "avg": (62.8, 85.4, 91.2),
            **REFERENCES,
        },
        "mscoco-5k": {
            "grace-numeric": (0.03, 0.14, 0.28),
            "grace-string": (0.12, 0.37, 0.88),
            "grace-semantic": (13.3, 30.4, 35.9),
            "grace-structured": (16.7, 39.2, 50.3),
            "irgen": (29.6, 50.7, 56.3),
            "avg": (31.3, 58.0, 66.5),
            **REFERENCES,
        },
    },
    claims=table_claims("avg-irgen", "avg-grace", "irgen-grace", "structured", "semantic"),
)
