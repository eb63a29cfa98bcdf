"""Models with published numbers: whether this installation measures what others did, before anything is built on its features."""

from __future__ import annotations

from benchmarks.references import OPEN_CLIP
from benchmarks.spec import RECALL, Row, Table

REFERENCES = Table(
    name="references",
    caption="CLIP models as published, zero-shot: measured here beside the published values.",
    columns=RECALL,
    rows=tuple(
        Row(
            key=f"{name}-{tag}".lower().replace("_", "-"),
            label=f"{name.removesuffix('-quickgelu')} {tag}",
            method="clip",
            settings={"encoder": {"model": name, "pretrained": tag}},
            kind="reference",
        )
        for name, tag in OPEN_CLIP
    ),
    reported={
        dataset: {f"{name}-{tag}".lower().replace("_", "-"): values[dataset] for (name, tag), values in OPEN_CLIP.items()}
        for dataset in ("flickr30k", "mscoco-5k")
    },
)
