"""Features of a split as they are read: picture vectors, caption vectors and caption token states.

N images, Q captions, D joint width, H trunk width, T tokens of all captions laid end to end, B of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from baselines.clip import CLIP
from methods.data import Gallery, rows_in
from methods.reads import SplitArrays, note


@dataclass(frozen=True)
class PackedStates:
    """Token states of Q captions laid end to end, so that no padding is stored or read.

    Args:
        states_TH: bfloat16 states of all tokens, as a rule mapped from the disk; (0, 0) where no generator reads them.
        start_Q1: (Q + 1,) where each caption begins.
    """

    states_TH: Tensor
    start_Q1: Tensor

    @property
    def lengths_Q(self) -> Tensor:
        """Tokens of each caption."""
        return self.start_Q1.diff()

    def take(self, rows_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the states of some captions, zero-padded to the longest, and their mask: (B, T, H), (B, T)."""
        start_B, length_B = self.start_Q1[rows_B], self.start_Q1[rows_B + 1] - self.start_Q1[rows_B]
        if not self.states_TH.shape[1]:
            return self.states_TH.new_empty(len(rows_B), 0, 0), torch.empty(len(rows_B), 0, dtype=torch.bool)
        offset_T = torch.arange(int(length_B.max()))
        mask_BT = offset_T < length_B[:, None]
        where_BT = torch.where(mask_BT, start_B[:, None] + offset_T, start_B[:, None])
        return self.states_TH[where_BT] * mask_BT[..., None], mask_BT


@dataclass(frozen=True)
class SplitFeatures:
    """Features of one split.

    Args:
        images_ND, texts_QD: projected vectors, float32, not normalised.
        image_ids_N, caption_rows_Q: which image, and which row of it each caption describes.
        states: token states of the captions.
    """

    images_ND: np.ndarray
    texts_QD: np.ndarray
    image_ids_N: np.ndarray
    caption_rows_Q: np.ndarray
    states: PackedStates


def load_split(trunks: Path | None, features: Path, split: str) -> SplitFeatures:
    """Returns the features of a split from the folders of the stages `trunks` and `features`.

    `trunks` is None where the generator has a text encoder of its own: token states are then empty, and only their lengths are known.
    """
    stored = SplitArrays(features, split)
    if trunks is None:
        lengths_Q = torch.from_numpy(stored["lengths_Q"])
        states = PackedStates(torch.empty(0, 0), torch.cat([torch.zeros(1, dtype=torch.long), lengths_Q.cumsum(0)]))
    else:
        packed = load_file(trunks / f"{split}-states.safetensors")
        states = PackedStates(packed["states_TH"], packed["start_Q1"])
        note(split, "captions")
    return SplitFeatures(**{name: stored[name] for name in ("images_ND", "texts_QD", "image_ids_N", "caption_rows_Q")}, states=states)


def load_pictures(features: Path, split: str) -> SplitFeatures:
    """Returns the features of a split's pictures alone: its captions are not read, and there are none."""
    stored = SplitArrays(features, split)
    images_ND, nothing = stored["images_ND"], np.empty(0, np.int64)
    states = PackedStates(torch.empty(0, 0), torch.zeros(1, dtype=torch.long))
    return SplitFeatures(images_ND, np.empty((0, images_ND.shape[1]), np.float32), stored["image_ids_N"], nothing, states)


def image_features(features: Path, encoder: Path, gallery: Gallery) -> np.ndarray:
    """Returns the projected vectors of a gallery, (N, D): from the cache where its pictures are a cached split's, else encoded now."""
    if gallery.source is not None:
        folder, split = gallery.source
        cached = features / f"{split}.npz"
        if cached.is_file() and (features / "data.txt").read_text() == Path(folder).name:
            stored = SplitArrays(features, split)
            rows_N = rows_in(stored["image_ids_N"], gallery.image_ids_N)
            unknown = gallery.image_ids_N[rows_N < 0]
            if len(unknown):
                raise ValueError(
                    f"{cached} has no image {unknown[0]}, and {len(unknown) - 1} more: give a gallery of {split}, or no source"
                )
            return stored["images_ND"][rows_N]
    return CLIP(encoder).picture_feats(gallery.pictures, len(gallery))
