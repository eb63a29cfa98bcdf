"""What every pair of towers offers, whichever library it comes from: pixels, tokens, and projected vectors of both.

B batch, D joint width, T token positions, H width of a text state.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn


class Towers(ABC):
    """A vision tower and a text tower with projections to one space. Vectors are not normalised."""

    model: Any  # an nn.Module with the attributes of its library

    @abstractmethod
    def pixels(self, picture) -> Tensor:
        """Returns one RGB PIL image as the vision tower wants it, float32 (C, H, W)."""

    @abstractmethod
    def tokens(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Returns token ids and a mask that is True where a token of the caption stands, both (B, T)."""

    @abstractmethod
    def picture_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        """Returns projected vectors (B, D)."""

    @abstractmethod
    def caption_vectors(self, tokens_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns projected vectors (B, D) and the last hidden states of all positions (B, T, H)."""

    @abstractmethod
    def projections(self) -> list[nn.Parameter]:
        """Returns the parameters between what the towers pool and the joint space; none where a model has no such layer."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes a folder that loads again here, wherever it is moved, and in the library that the model comes from."""

    @property
    def scale(self) -> Tensor:
        """Logarithm of the factor of the cosine in the contrastive loss, a parameter."""
        return self.model.logit_scale

    @property
    def bias(self) -> Tensor | None:
        """Added to every logit of SigLIP's sigmoid loss; None for a model trained by softmax."""
        return getattr(self.model, "logit_bias", None)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Returns the state dict in a `.safetensors`, `.pt`, `.pth` or `.bin` file; of OpenAI's TorchScript archives too.

    Raises:
        ValueError: if the file is damaged, cut short, or holds something else; one line names it.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if is_torchscript(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the only way to read them
                state = torch.jit.load(path, map_location="cpu").state_dict()
            return {name: value for name, value in state.items() if name not in ("input_resolution", "context_length", "vocab_size")}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError, ImportError) as error:
        raise damaged(path, error) from error
    except Exception as error:
        if type(error).__name__ == "UnpicklingError":
            raise damaged(path, error) from error
        raise
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not (isinstance(state, dict) and state and all(hasattr(value, "shape") for value in state.values())):
        raise ValueError(f"{path} holds no weights: a dictionary of tensors is wanted")
    return {name.removeprefix("module."): value for name, value in state.items()}


def damaged(path: Path, error: BaseException) -> ValueError:
    first = str(error).strip().splitlines()[:1]
    return ValueError(f"{path} cannot be read as weights ({''.join(first)[:160]}): it is damaged or cut short, fetch it again")


def is_torchscript(path: Path) -> bool:
    """Says whether a file is a TorchScript archive: of all CLIP checkpoints only OpenAI's own are."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


Wordpieces = Callable[[str], list[int]]
"""Turns a text into token ids, without those that begin and end a caption."""
