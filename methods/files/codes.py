"""The file of identifiers that a stage `codes` writes: what a generator learns to write, and whose they are.

X identifiers (an image may have several), L length of the longest, V tokens, E width of a codebook's rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

NAME = "codes.npz"


@dataclass(frozen=True)
class CodesFile:
    """Identifiers, with the images that they belong to.

    Args:
        codes_XL: int64, padded.
        image_ids_X: of the image that each belongs to.
        tokens: V.
        codebook_VE: what each token stands for; None where identifiers are predefined.
    """

    codes_XL: np.ndarray
    image_ids_X: np.ndarray
    tokens: int
    codebook_VE: np.ndarray | None = None

    def save(self, folder: Path) -> None:
        held = {
            "codes_XL": self.codes_XL,
            "image_ids_X": self.image_ids_X,
            "tokens": np.array(self.tokens),
            "codebook_VE": self.codebook_VE,
        }
        np.savez(folder / NAME, **{name: array for name, array in held.items() if array is not None})  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> CodesFile:
        with np.load(folder / NAME, allow_pickle=False) as stored:
            codebook_VE = stored.get("codebook_VE")
            # files of tokenized images did not always say how many tokens there are
            tokens = int(stored["tokens"]) if codebook_VE is None else len(codebook_VE)
            return cls(stored["codes_XL"], stored["image_ids_X"], tokens, codebook_VE)
