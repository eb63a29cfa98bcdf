"""An open_clip checkpoint folder as towers: any vision tower; text towers of open_clip's own, of SigLIP, or of Hugging Face.

B batch, D joint width, T token positions, H width of a text state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before open_clip, which imports torchvision)

import open_clip
import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor, nn

from baselines.towers import Towers, Wordpieces, read_weights

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
HF_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
            "vocab.json", "merges.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model")  # fmt: skip
"""What a Hugging Face text tower or tokenizer is read from, besides weights."""


class OpenClipTowers(Towers):
    """An open_clip model with its preprocessing and tokenizer.

    Args:
        folder: an ordinary open_clip checkpoint folder (`open_clip_config.json`, weights, tokenizer files). Where its text tower is a
            Hugging Face model whose `hf_model_name` is ".", that means the folder itself, so that a folder may be moved.

    Raises:
        ValueError: if the folder is none, or its weights are damaged or of another model.
    """

    def __init__(self, folder: Path):
        stored = read_config(folder)
        self.model_cfg, preprocess_cfg = stored["model_cfg"], stored.get("preprocess_cfg", {})
        self.folder = folder
        self.model = build(local_cfg(self.model_cfg, folder), preprocess_cfg)
        load_weights(self.model, weights_file(folder))
        self.preprocess = open_clip.image_transform(**_transform_settings(self.model.visual.preprocess_cfg))
        self.tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
        self.text = self.model.text
        self.text.output_tokens = True

    def pixels(self, picture) -> Tensor:
        return self.preprocess(picture)

    def tokens(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens_BT = self.tokenize(list(captions))
        if isinstance(self.text, HFTextEncoder):
            mask_BT = tokens_BT != self.text.config.pad_token_id
            longest = int(mask_BT.sum(1).max())
            return tokens_BT[:, :longest], mask_BT[:, :longest]
        # open_clip's own towers read all positions, and SigLIP's attends to what pads: nothing may be cut off
        if isinstance(self.tokenize, SimpleTokenizer):
            # what pads has the id of "!"; the end of the text has the highest id
            ends_B = tokens_BT.argmax(1)
            return tokens_BT, torch.arange(tokens_BT.shape[1]) <= ends_B[:, None]
        return tokens_BT, text_mask(tokens_BT, self.tokenize.tokenizer)

    def picture_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        # channels_last halves the time of depthwise convolutions on CPU
        found = self.model.visual(pixels_BCHW.contiguous(memory_format=torch.channels_last))
        return found[0] if isinstance(found, tuple) else found  # CoCa's tower gives its tokens too

    def picture_trunks(self, pixels_BCHW: Tensor) -> Tensor:
        """Returns what a timm vision tower hands to its projection head, (B, H)."""
        return self.model.visual.trunk(pixels_BCHW.contiguous(memory_format=torch.channels_last))

    def caption_vectors(self, tokens_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        feats_BD, states_BTH = self.text(tokens_BT)
        if states_BTH.shape[1] < tokens_BT.shape[1]:
            # a tower that pools its first token leaves that one out
            states_BTH = nn.functional.pad(states_BTH, (0, 0, 1, 0))
        return feats_BD, states_BTH

    def projections(self) -> list[nn.Parameter]:
        visual, text = self.model.visual, self.text
        found: list[nn.Parameter] = []
        for part in (getattr(visual, "proj", None), getattr(visual, "head", None), getattr(text, "proj", None)):
            found += [part] if isinstance(part, nn.Parameter) else list(part.parameters()) if isinstance(part, nn.Module) else []
        part = getattr(text, "text_projection", None)
        return found + ([part] if isinstance(part, nn.Parameter) else list(part.parameters()) if isinstance(part, nn.Module) else [])

    def save(self, folder: Path) -> None:
        write_folder(folder, self.model, self.model_cfg, self.folder, self.folder)


def read_config(folder: Path) -> dict[str, Any]:
    """Returns `open_clip_config.json`.

    Raises:
        ValueError: if it is missing or holds no model's configuration.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{folder} is no open_clip checkpoint folder: {CONFIG_FILE} is missing")
    try:
        stored = json.loads(path.read_text())
        stored["model_cfg"]["text_cfg"], stored["model_cfg"]["vision_cfg"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no open_clip configuration ({type(error).__name__}: {error})") from error
    return stored


def weights_file(folder: Path) -> Path:
    """Returns the file that holds an open_clip folder's weights.

    Raises:
        ValueError: if none or several do; names them.
    """
    preferred = (WEIGHTS_FILE, "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pt")
    found = [folder / name for name in preferred if (folder / name).is_file()]
    others = sorted(path for ending in ("safetensors", "bin", "pt", "pth", "npz") for path in folder.glob(f"*.{ending}"))
    if not found and len(others) != 1:
        names = ", ".join(path.name for path in others) or "none"
        raise ValueError(f"{folder} must hold one file of open_clip weights ({WEIGHTS_FILE}); it has {names}")
    return (found or others)[0]


def local_cfg(model_cfg: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns a model's configuration whose text tower's shape is read from the folder, where it says `.` or the folder has it."""
    text_cfg = dict(model_cfg["text_cfg"])
    if text_cfg.get("hf_model_name") == ".":
        text_cfg["hf_model_name"] = str(folder)
    return {**model_cfg, "text_cfg": text_cfg}


def build(model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any]) -> Any:
    """Returns a model with random weights: its text tower a module of its own, so that token states can be asked of any."""
    from open_clip.coca_model import CoCa
    from open_clip.model import CustomTextCLIP, set_model_preprocess_cfg
    from open_clip.transform import PreprocessCfg

    cfg = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    cfg["text_cfg"] = {**cfg["text_cfg"], "hf_model_pretrained": False}
    if "timm_model_name" in cfg["vision_cfg"]:
        cfg["vision_cfg"] = {**cfg["vision_cfg"], "timm_model_pretrained": False}
    model = (CoCa if "multimodal_cfg" in cfg else CustomTextCLIP)(**cfg)
    known = {field: preprocess_cfg[field] for field in PreprocessCfg.__dataclass_fields__ if field in preprocess_cfg}
    set_model_preprocess_cfg(model, {**vars(PreprocessCfg()), **known, "size": model.visual.image_size})
    return model


def load_weights(model: Any, path: Path) -> None:
    """Loads a checkpoint of any layout that open_clip reads.

    Raises:
        ValueError: if the file is damaged or holds the weights of another model; one line names the first that differ.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.factory import load_checkpoint
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    if path.suffix == ".npz":  # big_vision's own files of SigLIP
        load_checkpoint(model, str(path))
        return
    state = convert_state_dict(model, read_weights(path))
    if "positional_embedding" in state:
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):
        own = getattr(model, name, None)
        if own is not None and name in state:
            state[name] = state[name].reshape(own.shape)
    if "text.transformer.embeddings.position_ids" in state and "text.transformer.embeddings.position_ids" not in model.state_dict():
        del state["text.transformer.embeddings.position_ids"]  # transformers dropped this buffer
    try:
        resize_pos_embed(state, model)
        resize_text_pos_embed(state, model)
        own_shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        shapes = {name: tuple(value.shape) for name, value in state.items()}
    except (KeyError, RuntimeError, IndexError) as error:
        raise ValueError(f"{path} holds the weights of another model ({type(error).__name__}: {error})") from error
    if own_shapes != shapes:
        names = [name for name in sorted(own_shapes.keys() | shapes.keys()) if own_shapes.get(name) != shapes.get(name)]
        told = ", ".join(f"{name} {shapes.get(name, 'missing')} for {own_shapes.get(name, 'none')}" for name in names[:2])
        raise ValueError(f"{path} holds the weights of another model: {told}; {len(names)} differ in all")
    model.load_state_dict(state)


def write_folder(folder: Path, model: Any, model_cfg: dict[str, Any], tokenizer: Path | None, text_config: Path | None) -> None:
    """Writes an open_clip checkpoint folder that needs no other: configuration, weights, tokenizer, shape of a Hugging Face text tower.

    Args:
        tokenizer, text_config: folders of a Hugging Face tokenizer and of a text tower's `config.json`, where the model has such.
    """
    import shutil

    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    text_cfg = {**model_cfg["text_cfg"], "hf_model_pretrained": False}
    copied = {name: tokenizer / name for name in HF_FILES if tokenizer and text_cfg.get("hf_tokenizer_name")}
    if text_config and text_cfg.get("hf_model_name"):
        copied["config.json"] = text_config / "config.json"
    for name, path in copied.items():
        if path.is_file():
            shutil.copyfile(path, folder / name)
    for key in ("hf_model_name", "hf_tokenizer_name"):
        if text_cfg.get(key):
            text_cfg[key] = "."
    stored = {"model_cfg": {**model_cfg, "text_cfg": text_cfg, "custom_text": True}, "preprocess_cfg": model.visual.preprocess_cfg}
    (folder / CONFIG_FILE).write_text(json.dumps(stored, indent=1))
    save_file({key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}, folder / WEIGHTS_FILE)


def text_mask(tokens_BT: Tensor, tokenizer: Any) -> Tensor:
    """Returns where a Hugging Face tokenizer's own tokens stand; where the end of a text is also what pads, the first of them counts."""
    mask_BT = tokens_BT != tokenizer.pad_token_id
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        mask_BT = torch.arange(tokens_BT.shape[1]) <= mask_BT.sum(1, keepdim=True)
    return mask_BT


def wordpieces(folder: Path) -> Wordpieces:
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    if isinstance(tokenizer, HFTokenizer):
        return lambda text: tokenizer.tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokenizer.encode


def _transform_settings(preprocess: dict[str, Any]) -> dict[str, Any]:
    kept = {key: preprocess[key] for key in ("mean", "std", "interpolation", "resize_mode", "fill_color")}
    return {"image_size": preprocess["size"], "is_train": False, **kept}
