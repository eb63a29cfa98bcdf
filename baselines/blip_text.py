"""How BLIP reads a caption, before any tokenizer: the same for both of its code bases."""

from __future__ import annotations

import re

MAX_WORDS = 30


def prepared(caption: str) -> str:
    """Returns a caption in lower case, without these signs, of at most 30 words (salesforce/BLIP, data/utils.py, pre_caption)."""
    words = re.sub(r"([.!\"()*#:;~])", " ", caption.lower()).split()
    return " ".join(words[:MAX_WORDS])
