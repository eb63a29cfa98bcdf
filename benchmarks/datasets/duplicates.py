"""How many captions and images of a split no method can tell apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def duplicates(captions: Iterable[str], image_ids: Iterable[int]) -> dict[str, float]:
    """Returns the share of captions that are also, but for capitals, another image's, and the share of images with such a caption.

    They cap R@1: no method can tell such images apart by such a caption.
    """
    images: dict[str, set[int]] = defaultdict(set)
    pairs = [(text.casefold(), image) for text, image in zip(captions, image_ids, strict=True)]
    for text, image in pairs:
        images[text].add(image)
    shared = [(text, image) for text, image in pairs if len(images[text]) > 1]
    return {"captions": len(shared) / len(pairs), "images": len({image for _, image in shared}) / len({image for _, image in pairs})}
