"""The tokenizer of a folder in transformers' format, and whether it is there: where it is not, transformers makes up one of a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.txt", "vocab.json")
"""A tokenizer is one of these, with what there is of its parts."""


def refuse_none(folder: Path) -> None:
    """Does nothing if a folder holds a tokenizer.

    Raises:
        ValueError: if it holds none.
    """
    if not any((folder / name).is_file() for name in FILES):
        raise ValueError(f"{folder} holds no tokenizer (none of {', '.join(FILES)}): save it there with save_pretrained")


def opened(folder: Path) -> Any:
    """Returns a folder's tokenizer.

    Raises:
        ValueError: if it holds none, or one that transformers does not read.
    """
    import avg.torchvision_schema  # noqa: F401  (before transformers)

    from transformers import AutoTokenizer

    refuse_none(folder)
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError, ImportError, TypeError, KeyError) as error:
        told = str(error).splitlines()[0][:120]
        raise ValueError(f"{folder} holds no tokenizer that transformers reads: save it there with save_pretrained ({told})") from error
