"""LAVIS's names of BLIP's retrieval checkpoints, `MODEL/TYPE`: where each comes from, and where LAVIS keeps what it has fetched."""

from __future__ import annotations

import os
from pathlib import Path

STORAGE = "https://storage.googleapis.com/sfr-vision-language-research"
LAVIS_MODELS = {
    # salesforce-lavis 1.0.2, configs/models/blip_{retrieval_flickr,retrieval_coco,itm_base,itm_large}.yaml, `finetuned`
    "blip_retrieval/flickr": f"{STORAGE}/LAVIS/models/BLIP/blip_flickr_retrieval.pth",
    "blip_retrieval/coco": f"{STORAGE}/LAVIS/models/BLIP/blip_coco_retrieval.pth",
    "blip_image_text_matching/base": f"{STORAGE}/BLIP/models/model_base_retrieval_coco.pth",
    "blip_image_text_matching/large": f"{STORAGE}/BLIP/models/model_large_retrieval_coco.pth",
}


def lavis_folder() -> Path:
    """Returns the folder of checkpoints that torch.hub keeps, and LAVIS with it, as TORCH_HOME says."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def lavis_file(name: str) -> Path:
    """Returns where a checkpoint lies, or would.

    Raises:
        ValueError: if LAVIS has no such model; lists those it has.
    """
    if name not in LAVIS_MODELS:
        raise ValueError(f"LAVIS has no retrieval checkpoint {name!r}; it has {', '.join(LAVIS_MODELS)}")
    return lavis_folder() / LAVIS_MODELS[name].rpartition("/")[2]


def fetch_lavis(name: str) -> None:
    """Downloads a checkpoint to where LAVIS would."""
    from torch.hub import download_url_to_file

    path = lavis_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    download_url_to_file(LAVIS_MODELS[name], str(path))
