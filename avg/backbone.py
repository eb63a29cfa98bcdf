"""How a transformers folder's model and tokenizer are opened, as a generator needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch

from avg.tokenizer_files import opened

TEXT_TOKENS = 128
"""Tokens of a caption that are read, as AVG's release does; the rest is cut."""
SCALED_HEADS = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Settings of models that change what the head returns; such models are refused rather than scored wrongly."""
DROPOUTS = ("dropout_rate", "dropout", "hidden_dropout", "resid_pdrop", "resid_dropout", "attn_pdrop", "attention_dropout")
"""What models call the dropout of what a layer returns, and of attention."""
OTHER_FORMATS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.npz", "*.h5", "*.msgpack", "*.gguf")
"""Files of weights; in a folder whose weights transformers does not read, one of them is not meant to be left over."""


def read_config(folder: Path) -> Any:
    """Returns a folder's transformers configuration.

    Raises:
        ValueError: if it has none, or one that transformers does not know.
    """
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise ValueError(f"backbone {folder} is no transformers folder: config.json is missing")
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"backbone {folder} cannot be loaded: {str(error).splitlines()[0]}") from error


def scaled_head(*configs: Any) -> str | None:
    """Returns the first setting of transformers' configurations that changes what the head returns, if there is one."""
    return next((name for config in configs for name in SCALED_HEADS if getattr(config, name, None) not in (None, 1.0)), None)


def open_backbone(folder: Path, auto_class: Any, what: str, dropout: float = 0.0) -> tuple[Any, Any]:
    """Returns (model, tokenizer) of a folder, weights in float32: pretrained where it holds weights, else new ones of its configuration.

    A checkpoint may lack its output head, and no other parameter: a plain decoder has none.

    Args:
        auto_class: transformers' `AutoModelFor...`.
        what: kind of model, for the error.
        dropout: in place of the configuration's own; that where 0.

    Raises:
        ValueError: if the folder holds no such model, weights of another or in another format, or no tokenizer that transformers reads.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # of shards read and written; a training's own bar says how far it is
    config = read_config(folder)
    if dropout:
        _set_dropout(folder, config, dropout)
    told = logging.get_verbosity()
    try:
        tokenizer = opened(folder)
        if any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
            # a checkpoint in bfloat16 would be trained in it: the products are in the fast format anyway, the weights must not be
            given = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
            logging.set_verbosity_error()  # what is missing is named below, as an error
            model, loading = auto_class.from_pretrained(folder, **given, **({"config": config} if dropout else {}))
            _refuse_lacking(model, loading)
            for parameter in model.parameters():
                # sums over memory that lies as the file has it, unaligned, differ in the last bit from a copy's
                parameter.data = parameter.data.clone()
            return model, tokenizer
        unread = sorted(path.relative_to(folder).as_posix() for pattern in OTHER_FORMATS for path in folder.rglob(pattern))
        if unread:
            raise ValueError(f"{unread[0]} is not read: save it there as model.safetensors, or remove it to train a new model")
        return auto_class.from_config(config, dtype=torch.float32), tokenizer
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"backbone {folder} cannot be loaded as {what}: {str(error).splitlines()[0]}") from error
    finally:
        logging.set_verbosity(told)


def _refuse_lacking(model: Any, loading: dict[str, Any]) -> None:
    """Raises if parameters of a model were not in its checkpoint, so that they would be trained from a random start."""
    # by the module's name: what a head is tied to must be there
    heads = tuple(f"{name}." for name, part in model.named_modules() if part is model.get_output_embeddings())
    drawn = {name for name, _ in model.named_parameters(remove_duplicate=False) if not name.startswith(heads)}
    lacking = sorted((drawn & set(loading["missing_keys"])) | {entry[0] for entry in loading["mismatched_keys"]})
    if lacking:
        told = f"{len(lacking)} weights are missing or of another shape, {', '.join(lacking[:2])} among them"
        raise ValueError(f"{told}: save the whole {type(model).__name__} there with save_pretrained")


def _set_dropout(folder: Path, config: Any, dropout: float) -> None:
    """Sets every dropout that a configuration has, its parts' too but for a vision tower's, which is frozen."""
    parts = [config, *(getattr(config, name, None) for name in ("encoder", "decoder", "text_config"))]
    known = [(part, name) for part in parts if part is not None for name in DROPOUTS if hasattr(part, name)]
    if not known:
        raise ValueError(f"dropout = {dropout}: backbone {folder} ({config.model_type}) has no dropout to set: leave it at 0")
    for part, name in known:
        setattr(part, name, dropout)
