"""open_clip's own list of architectures and checkpoints: where each comes from. Asking loads open_clip, and so torch."""

from __future__ import annotations

import difflib


def open_clip_source(name: str, tag: str) -> tuple[str, tuple[str, ...], str]:
    """Returns (repository, file names in the order tried, URL) of a checkpoint; repository or URL may be empty.

    Raises:
        ValueError: if open_clip knows no such architecture or tag; lists the nearest.
    """
    import avg.torchvision_schema  # noqa: F401

    import open_clip
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    from methods.spelling import suggestion

    if name not in open_clip.list_models():
        raise ValueError(f"open_clip has no architecture {name!r}: {nearest_few(name, open_clip.list_models())}")
    config = get_pretrained_cfg(name, tag)
    if not config:
        tags = list_pretrained_tags_by_model(name)
        raise ValueError(f"{tag!r} is neither a file nor a checkpoint of {name} that open_clip knows: {suggestion(tag, tags)}")
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    names = (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME) if not file else (f"{file.rpartition('.')[0]}.safetensors", file)
    return repository, tuple(dict.fromkeys(names)), "" if repository else config.get("url", "")


def nearest_few(given: str, valid: list[str]) -> str:
    """Returns `did you mean X?` with the few nearest of very many valid names."""
    close = difflib.get_close_matches(given, valid, n=4, cutoff=0.3)
    return f"did you mean {', '.join(close)}?" if close else f"it has {len(valid)}, see open_clip.list_models()"


def fetch_by_url(url: str) -> None:
    """Downloads one of the checkpoints that open_clip keeps outside the hub, to where `resolve` finds it; checks its hash."""
    import avg.torchvision_schema  # noqa: F401

    from open_clip.pretrained import download_pretrained_from_url

    download_pretrained_from_url(url)
