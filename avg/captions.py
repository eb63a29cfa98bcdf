"""A batch of captions as a generator may read them.

B captions, T token positions, H width of a text state, D width of a caption vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CaptionBatch:
    """Captions with what the frozen text tower says of them.

    Args:
        texts: B captions.
        states_BTH: the tower's last hidden states, zero where padded.
        mask_BT: True where a token stands.
        vectors_BD: projected caption vectors.
    """

    texts: tuple[str, ...]
    states_BTH: Tensor
    mask_BT: Tensor
    vectors_BD: Tensor

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> CaptionBatch:
        """Returns captions alone, for a generator that reads them itself."""
        nothing = torch.zeros(len(texts), 0)
        return cls(tuple(texts), nothing[..., None], nothing.bool(), nothing)

    def to(self, device: torch.device) -> CaptionBatch:
        """Returns the batch with its tensors on a device."""
        return CaptionBatch(self.texts, self.states_BTH.to(device), self.mask_BT.to(device), self.vectors_BD.to(device))
