"""A split's features with the identifiers of its images: what a generator is trained on and selected by.

B batch, L identifier length, X identifiers, N images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avg.captions import CaptionBatch
from avg.decoding import Source
from avg.generator import Generator
from avg.padding import PAD
from methods.data import rows_in
from methods.split_features import SplitFeatures


def lengths(codes_XL: Tensor) -> Tensor:
    return (codes_XL != PAD).sum(1)


def trimmed(codes_BL: Tensor) -> Tensor:
    """Returns identifiers without the columns in which all of them pad."""
    return codes_BL[:, : int(lengths(codes_BL).max())]


@dataclass(frozen=True)
class Identified:
    """A split's features with the identifiers of its images.

    Args:
        features: of N images and Q captions.
        captions: their words, (Q,); a generator may read these in place of states.
        codes_XL: identifiers of this split's images, sorted by image.
        first_N, count_N: which of them belong to image row n; an image may have several.
    """

    features: SplitFeatures
    captions: Sequence[str]
    codes_XL: Tensor
    first_N: Tensor
    count_N: Tensor

    @classmethod
    def join(cls, features: SplitFeatures, captions: Sequence[str], codes_XL: np.ndarray, image_ids_X: np.ndarray) -> Identified:
        """Returns a split with those of some identifiers that are its images'.

        Args:
            codes_XL, image_ids_X: identifiers of any images, and whose each is.
        """
        rows_X = rows_in(features.image_ids_N, image_ids_X)
        order_X = np.argsort(rows_X, kind="stable")[(rows_X < 0).sum() :]
        count_N = np.bincount(rows_X[order_X], minlength=len(features.image_ids_N))
        assert (count_N > 0).all(), "an image has no identifier"
        first_N = np.r_[0, np.cumsum(count_N)[:-1]]
        return cls(features, captions, *(torch.from_numpy(array) for array in (codes_XL[order_X], first_N, count_N)))

    def draw(self, rows_B: Tensor, generator: torch.Generator) -> Tensor:
        """Returns one identifier of each image, drawn at random where there are several, (B, L)."""
        pick_B = (torch.rand(len(rows_B), generator=generator) * self.count_N[rows_B]).long()
        return self.codes_XL[self.first_N[rows_B] + pick_B]

    def caption_images(self, captions_B: Tensor) -> Tensor:
        """Returns the image row that each caption describes, (B,)."""
        return torch.from_numpy(self.features.caption_rows_Q)[captions_B]

    def text_source(self, model: Generator, captions_B: Tensor) -> Source:
        """Returns some captions as a generator reads them."""
        texts = tuple(self.captions[row] for row in captions_B.tolist())
        states_BTH, mask_BT = self.features.states.take(captions_B)
        return model.text_source(CaptionBatch(texts, states_BTH.float(), mask_BT, torch.from_numpy(self.features.texts_QD)[captions_B]))


@dataclass(frozen=True)
class Shown:
    """The pictures that a generator learns besides captions: their vectors, and what draws identifiers of them.

    `pictures` are the pictures themselves, split by split, for a generator that reads pixels; decoded when they are wanted.
    """

    vectors_ND: Tensor
    identified: Identified
    pictures: Sequence[Sequence[Any]] = ()

    def take(self, rows_P: Tensor, model: Generator) -> Tensor:
        """Returns some pictures as a generator's `picture_source` takes them."""
        if not model.reads_pixels:
            return self.vectors_ND[rows_P]
        bounds = np.cumsum([0, *map(len, self.pictures)])
        part_P = np.searchsorted(bounds, rows_P.numpy(), side="right") - 1
        return model.pixels([self.pictures[part][row - bounds[part]] for part, row in zip(part_P.tolist(), rows_P.tolist(), strict=True)])

    @classmethod
    def of(cls, splits: Mapping[str, Identified], names: Sequence[str], pictures: Sequence[Sequence[Any]] = ()) -> Shown | None:
        """Returns the pictures of some splits together; None where no split is named."""
        shown = [splits[name] for name in names]
        if not shown:
            return None
        offsets = np.cumsum([0, *(len(split.codes_XL) for split in shown)])
        together = Identified(
            shown[0].features,
            shown[0].captions,
            torch.cat([split.codes_XL for split in shown]),
            torch.cat([split.first_N + int(offset) for split, offset in zip(shown, offsets, strict=False)]),
            torch.cat([split.count_N for split in shown]),
        )
        vectors_ND = torch.cat([torch.from_numpy(split.features.images_ND) for split in shown])
        assert len(vectors_ND) == len(together.count_N)
        return cls(vectors_ND, together, pictures)
