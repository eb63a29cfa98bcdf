"""Models with published numbers: whether this installation measures what others did, before anything is built on its features."""

from __future__ import annotations

from benchmarks.references import BLIP_BASE, BLIP_MODELS, OPEN_CLIP
from benchmarks.spec import RECALL, Row, Table

REFERENCES = Table(
    name="references",
    caption="CLIP zero-shot and BLIP fine-tuned, as published: measured here beside the published values.",
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
    )
    + tuple(
        Row(
            key=f"blip-base-{backend}-{dataset}",
            label=f"BLIP ViT-B, fine-tuned, re-ranked through {backend}",
            method="blip",
            settings={"model": model, "backend": backend},
            kind="reference",
            only=dataset,
        )
        for (backend, dataset), model in BLIP_MODELS.items()
    ),
    reported={
        dataset: {
            **{f"{name}-{tag}".lower().replace("_", "-"): values[dataset] for (name, tag), values in OPEN_CLIP.items()},
            **{f"blip-base-{backend}-{of}": BLIP_BASE[dataset] for backend, of in BLIP_MODELS if of == dataset},
        }
        for dataset in ("flickr30k", "mscoco-5k")
    },
    reported_of=("flickr30k", "mscoco-5k"),  # Karpathy's test splits: not flickr30k-entities
)
