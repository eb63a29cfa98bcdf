"""CLIP, the two-tower baseline: frozen features of any pair of towers, and the losses that train them.

N images, Q captions, B batch, D joint width, T token positions, H width of a text state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import avg.torchvision_schema  # noqa: F401  (before open_clip, which imports torchvision)

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from avg.captions import CaptionBatch
from avg.precision import autocast, device
from baselines.ahead import in_order
from baselines.towers import Towers, Wordpieces

PICTURE_BATCH = 64


class CLIP:
    """Two frozen towers, in inference mode on the device of heavy work. What they return is on the CPU, float32, not normalised.

    Args:
        folder: an open_clip checkpoint folder (`open_clip_config.json`), or one that transformers' `save_pretrained` wrote.

    Raises:
        ValueError: if the folder holds neither, or not all of it; one line names what is wrong.
    """

    def __init__(self, folder: Path):
        self.device = device()
        self.towers = load_towers(folder)
        self.model = self.towers.model.to(self.device).eval().requires_grad_(False)

    @property
    def scale(self) -> float:
        """Factor of the cosine in the contrastive softmax, 1 / temperature."""
        return float(self.towers.scale.exp())

    def picture_feats(self, pictures: Iterable, count: int, batch: int = PICTURE_BATCH) -> np.ndarray:
        """Returns the projected vectors of pictures, (N, D)."""
        return np.concatenate(list(self._pictures(self.towers.picture_vectors, pictures, count, batch)))

    def picture_trunks(self, pictures: Iterable, count: int) -> np.ndarray:
        """Returns what a timm vision tower of open_clip hands to its projection head, (N, H)."""
        from baselines.open_clip_towers import OpenClipTowers

        assert isinstance(self.towers, OpenClipTowers)
        return np.concatenate(list(self._pictures(self.towers.picture_trunks, pictures, count, PICTURE_BATCH)))

    @torch.inference_mode()
    def text_states(self, captions: Sequence[str]) -> CaptionBatch:
        """Returns token states, their mask and projected vectors of one batch of captions."""
        tokens_BT, mask_BT = self.towers.tokens(captions)
        tokens_BT, mask_BT = tokens_BT.to(self.device), mask_BT.to(self.device)
        with autocast(self.device.type):
            feats_BD, states_BTH = self.towers.caption_vectors(tokens_BT, mask_BT)
        states_BTH = states_BTH.float() * mask_BT[..., None]
        return CaptionBatch(tuple(captions), states_BTH.cpu(), mask_BT.cpu(), feats_BD.float().cpu())

    @torch.inference_mode()
    def _pictures(self, part: Callable[[Tensor], Tensor], pictures: Iterable, count: int, batch: int) -> Iterator[np.ndarray]:
        waiting: list[Tensor] = []
        for pixels_CHW in tqdm(in_order(self.towers.pixels, pictures), total=count, desc="pictures", unit="img", leave=False):
            waiting.append(pixels_CHW)
            if len(waiting) == batch:
                yield self._run(part, waiting)
                waiting = []
        if waiting:
            yield self._run(part, waiting)

    def _run(self, part: Callable[[Tensor], Tensor], pixels: list[Tensor]) -> np.ndarray:
        with autocast(self.device.type):
            return part(torch.stack(pixels).to(self.device)).float().cpu().numpy()


def load_towers(folder: Path) -> Towers:
    """Returns the towers in a folder.

    Raises:
        ValueError: if there are none, or not all of what they need.
    """
    folder = Path(folder)
    if (folder / "open_clip_config.json").is_file() or not (folder / "config.json").is_file():
        from baselines.open_clip_towers import OpenClipTowers

        return OpenClipTowers(folder)
    from baselines.transformers_towers import TransformersTowers

    return TransformersTowers(folder)


def wordpieces(folder: Path) -> Wordpieces:
    """Returns what turns a text into the token ids of the towers in a folder, without those that begin and end a caption."""
    if (folder / "open_clip_config.json").is_file():
        from baselines import open_clip_towers

        return open_clip_towers.wordpieces(folder)
    from baselines import transformers_towers

    return transformers_towers.wordpieces(folder)


def contrastive_loss(feats_BD: Tensor, texts_BD: Tensor, scale: Tensor, image_ids_B: Tensor) -> Tensor:
    """Returns the symmetric InfoNCE loss of CLIP (Radford et al. 2021, fig. 3); captions of the same image are no negatives."""
    images_BD, texts_BD = nn.functional.normalize(feats_BD, dim=-1), nn.functional.normalize(texts_BD, dim=-1)
    logits_BB = scale * texts_BD @ images_BD.T
    same_BB = image_ids_B[:, None] == image_ids_B[None, :]
    same_BB.fill_diagonal_(False)
    logits_BB = logits_BB.masked_fill(same_BB, float("-inf"))
    target_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return (nn.functional.cross_entropy(logits_BB, target_B) + nn.functional.cross_entropy(logits_BB.T, target_B)) / 2


def sigmoid_loss(feats_BD: Tensor, texts_BD: Tensor, scale: Tensor, bias: Tensor, image_ids_B: Tensor) -> Tensor:
    """Returns the pairwise loss of SigLIP (Zhai et al. 2023, eq. 1); a caption and its image are a pair wherever they stand."""
    images_BD, texts_BD = nn.functional.normalize(feats_BD, dim=-1), nn.functional.normalize(texts_BD, dim=-1)
    logits_BB = scale * texts_BD @ images_BD.T + bias
    sign_BB = 2 * (image_ids_B[:, None] == image_ids_B[None, :]).to(logits_BB.dtype) - 1
    return -nn.functional.logsigmoid(sign_BB * logits_BB).sum(-1).mean()
