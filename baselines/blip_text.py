"""How BLIP reads a caption, before any tokenizer: the same for both of its code bases."""

from __future__ import annotations

import re


def prepared(caption: str, max_words: int = 30) -> str:
    """Returns a caption in lower case, without these signs, of at most 30 words (salesforce/BLIP, data/utils.py, pre_caption)."""
    words = re.sub(r"([.!\"()*#:;~])", " ", caption.lower()).split()
    return " ".join(words[:max_words])
