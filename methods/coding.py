"""The identifiers of a split's images, from finished stages alone: no generator and no index is needed.

N images, Q captions, X identifiers (an image may have several), L length, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avg.padding import PAD
from methods.data import rows_in
from methods.dense import unit
from methods.files.codes import CodesFile
from methods.reads import SplitArrays
from methods.stage import Stage

if TYPE_CHECKING:
    from avg.tokenizer import Tokenizer


def identifier_stages(ranking: Stage) -> dict[str, Stage]:
    """Returns the stages that tell a method's identifiers: `features`, and the `tokenizer` or, of predefined identifiers, `codes`.

    Raises:
        ValueError: if no stage behind this ranking makes codes.
    """
    codes = next((stage for stage in ranking.ancestors() if stage.name == "codes"), None)
    if codes is None:
        raise ValueError(f"{ranking.config.get('method', 'this method')} has no stage `codes`, and so no identifiers to look at")
    teller = {"tokenizer": codes.inputs["tokenizer"]} if "tokenizer" in codes.inputs else {"codes": codes}
    return {"features": codes.inputs["features"], **teller}


@dataclass(frozen=True)
class Coding:
    """Identifiers of a split's N images.

    Args:
        codes_XL: int64 tokens, padded with -1.
        rows_X: row in `image_ids_N` of the image that each belongs to.
        image_ids_N: in the order of the gallery.
    """

    codes_XL: np.ndarray
    rows_X: np.ndarray
    image_ids_N: np.ndarray

    def __len__(self) -> int:
        return len(self.image_ids_N)


class Identifiers:
    """What finished stages say of a method's identifiers.

    Args:
        folders: of the stages that `identifier_stages` names.
    """

    def __init__(self, folders: Mapping[str, Path]):
        self.folders = dict(folders)

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer, or None where identifiers are predefined."""
        from avg.tokenizer import Tokenizer

        return Tokenizer.load(self.folders["tokenizer"]) if "tokenizer" in self.folders else None

    @cached_property
    def _predefined(self) -> CodesFile:
        return CodesFile.load(self.folders["codes"])

    def vectors(self, split: str) -> SplitArrays:
        """Returns the encoder's vectors of a split: `images_ND`, `texts_QD`, `caption_rows_Q`."""
        return SplitArrays(self.folders["features"], split)

    def of(self, split: str) -> Coding:
        """Returns the identifiers of a split's images, in the order of its features."""
        ids_N = self.vectors(split)["image_ids_N"]
        if self.tokenizer is not None:
            from methods.tokens import flat_codes

            return Coding(flat_codes(self.tokenizer, self.vectors(split)["images_ND"]), np.arange(len(ids_N)), ids_N)
        rows_X = rows_in(ids_N, self._predefined.image_ids_X)
        return Coding(self._predefined.codes_XL[rows_X >= 0], rows_X[rows_X >= 0], ids_N)

    def alphabets(self) -> list[np.ndarray]:
        """Returns the tokens that may stand at each level, sorted: a codebook's rows, or, of predefined identifiers, all that do."""
        if self.tokenizer is None:
            return [np.unique(tokens_X[tokens_X != PAD]) for tokens_X in self._predefined.codes_XL.T]
        settings = self.tokenizer.settings
        rows_K, levels = np.arange(settings.codebook_size), range(settings.voken_length)
        return [rows_K if settings.shared_codebook else rows_K + level * settings.codebook_size for level in levels]

    def cosines(self, split: str) -> list[dict[str, float]]:
        """Returns, for the first 0 to L vokens of a code, the mean cosine of what they decode to with the `picture` and its `captions`.

        Without any voken, the mean of the training pictures' vectors stands for every picture: what knowing nothing of it is worth.

        Raises:
            ValueError: if identifiers are predefined: they decode to nothing.
        """
        if self.tokenizer is None:
            raise ValueError("predefined identifiers decode to nothing: ask for the cosines of a method with a tokenizer")
        stored = self.vectors(split)
        images_ND, texts_QD, rows_Q = stored["images_ND"], unit(stored["texts_QD"]), stored["caption_rows_Q"]
        mean_D = unit(self.vectors("train")["images_ND"]).mean(0)
        guesses = [np.broadcast_to(mean_D, images_ND.shape)]
        guesses += [self.tokenizer.rebuild(images_ND, vokens) for vokens in range(1, self.tokenizer.settings.voken_length + 1)]
        return [
            {
                "picture": float((unit(guess_ND) * unit(images_ND)).sum(1).mean()),
                "captions": float((unit(guess_ND)[rows_Q] * texts_QD).sum(1).mean()),
            }
            for guess_ND in guesses
        ]
