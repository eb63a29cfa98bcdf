"""A model that the user names, as an encoder: found, checked, and written as one folder that needs nothing else.

A name is an open_clip architecture (with a checkpoint: a tag, a file or a folder), a folder, or a repository of the hub. Folders and
repositories hold an open_clip model (`open_clip_config.json`) or one of transformers (`config.json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from methods.needs import Need, is_met, resolve, text_companions
from methods.open_clip_list import nearest_few

CONFIG = "open_clip_config.json"


def named_needs(model: str, pretrained: str) -> list[Need]:
    """Returns what must be on this machine for a named model, the model itself first.

    Raises:
        ValueError: if the two do not go together: an architecture without a checkpoint or a checkpoint beside a whole model; if QuickGELU
            is in one but not in the other; if a folder holds no model.
    """
    if not is_architecture(model):
        if pretrained:
            raise ValueError(f"encoder.pretrained={pretrained!r} goes with an open_clip architecture; {model!r} brings its own weights")
        need = _whole_model(model)
        return [need, *_brought_along(need)]
    if not pretrained:
        raise ValueError(f"{model} is an architecture: name its weights with encoder.pretrained, a tag of open_clip's, a file or a folder")
    if _is_path(pretrained):
        need = Need("file", pretrained)
        if is_met(need):
            refuse_quick_gelu(model, _states_quick_gelu(resolve(need)), pretrained)
        return [need, *text_companions(_model_cfg(model)["text_cfg"])]
    need = Need("open_clip", model, pretrained)
    is_met(need)  # refuses a tag that open_clip does not know
    import avg.torchvision_schema  # noqa: F401

    from open_clip.pretrained import get_pretrained_cfg

    refuse_quick_gelu(model, bool(get_pretrained_cfg(model, pretrained).get("quick_gelu", False)), pretrained)
    return [need]


def take(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: writes a named model as a folder that `baselines.clip.CLIP` loads on any machine."""
    from baselines.clip import load_towers

    model, pretrained = config["model"], config["pretrained"]
    needs = named_needs(model, pretrained)
    source = resolve(needs[0])
    if is_architecture(model):
        _write_architecture(model, pretrained, source, out)
    elif (source / CONFIG).is_file():
        from baselines.open_clip_towers import read_config, weights_file

        stored = read_config(source)
        _write(stored["model_cfg"], stored.get("preprocess_cfg", {}), weights_file(source), source, out)
    else:
        from baselines.transformers_towers import TransformersTowers

        TransformersTowers(source).save(out)
    towers = load_towers(out)
    return {"source": str(source), "parameters": sum(parameter.numel() for parameter in towers.model.parameters())}


def is_architecture(model: str) -> bool:
    """Says whether a name is one of open_clip's architectures; none of them has a slash, a folder of that name comes first.

    Raises:
        ValueError: if a name without a slash is neither that nor a folder nor a repository that is here; lists the nearest.
    """
    if "/" in model or "@" in model or Path(model).exists():
        return False
    if is_met(Need.of_model(model)):
        return False  # the hub's oldest repositories have no organisation
    import avg.torchvision_schema  # noqa: F401

    import open_clip

    if model not in open_clip.list_models():
        raise ValueError(
            f"{model!r} is neither a folder nor an architecture of open_clip ({nearest_few(model, open_clip.list_models())}), "
            "nor a hub name, ORGANISATION/NAME"
        )
    return True


def refuse_quick_gelu(model: str, wanted: bool | None, checkpoint: str) -> None:
    """Raises ValueError, with the right architecture's name, if weights and architecture differ in their activation.

    open_clip only warns, and the features are then quietly worse by several points. Weights do not show what they were trained with: for
    a checkpoint of open_clip's its list says so, OpenAI's own archives are known by their format, a folder has it in its configuration.

    Args:
        wanted: whether the weights were trained with QuickGELU; None if nothing tells.
    """
    import avg.torchvision_schema  # noqa: F401

    import open_clip

    has = bool(_model_cfg(model).get("quick_gelu", False))
    if wanted is None or wanted == has:
        return
    right = f"{model}-quickgelu" if wanted else model.removesuffix("-quickgelu")
    remedy = f"name the model {right}" if right in open_clip.list_models() else "open_clip has no such architecture: name a folder"
    trained = "was trained with QuickGELU" if wanted else "was not trained with QuickGELU"
    raise ValueError(f"checkpoint {checkpoint!r} {trained}, {model} {'computes it' if has else 'does not compute it'}: {remedy}")


def _whole_model(model: str) -> Need:
    need = Need.of_model(model)
    if need.kind == "file" and is_met(need):
        folder = resolve(need)
        if not ((folder / CONFIG).is_file() or (folder / "config.json").is_file()):
            raise ValueError(f"{folder} is no model's folder: it has neither {CONFIG} (open_clip) nor config.json (transformers)")
    if is_met(need) and not (resolve(need) / CONFIG).is_file():
        from baselines.transformers_towers import refuse_incomplete

        refuse_incomplete(resolve(need))
    return need


def _brought_along(need: Need) -> list[Need]:
    """An open_clip folder may leave the shape of its text tower, or its tokenizer, to another repository."""
    if not is_met(need) or not (resolve(need) / CONFIG).is_file():
        return []
    folder = resolve(need)
    text_cfg = json.loads((folder / CONFIG).read_text()).get("model_cfg", {}).get("text_cfg", {})
    return [other for other in text_companions(text_cfg) if not _has(folder, other)]


def _has(folder: Path, need: Need) -> bool:
    if need.name == ".":
        return True
    # open_clip reads a folder's tokenizer from that folder; `config.json` there is often that of a transformers copy of the model
    return need.files != ("config.json",) and any((folder / name).is_file() for name in need.files)


def _write_architecture(model: str, pretrained: str, source: Path, out: Path) -> None:
    from baselines.open_clip_towers import read_config, weights_file

    if source.is_dir():
        stored = read_config(source).get("preprocess_cfg", {}) if (source / CONFIG).is_file() else _preprocess(model, "")
        _write(_model_cfg(model), stored, weights_file(source), source, out)
    else:
        _write(_model_cfg(model), _preprocess(model, "" if _is_path(pretrained) else pretrained), source, source.parent, out)


def _write(model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any], weights: Path, folder: Path, out: Path) -> None:
    from baselines.open_clip_towers import build, load_weights, write_folder

    places: dict[bool, Path | None] = {True: None, False: None}
    for need in text_companions(model_cfg["text_cfg"]):
        shape = need.files == ("config.json",)
        places[shape] = folder if _has(folder, need) else resolve(need)
    local = {**model_cfg, "text_cfg": dict(model_cfg["text_cfg"])}
    if places[True]:
        local["text_cfg"]["hf_model_name"] = str(places[True])
    network = build(local, preprocess_cfg)
    load_weights(network, weights)
    write_folder(out, network, model_cfg, tokenizer=places[False], text_config=places[True])


def _preprocess(model: str, tag: str) -> dict[str, Any]:
    """Returns how pictures are prepared for a checkpoint; for a file, as for all of open_clip's checkpoints of that architecture.

    Raises:
        ValueError: if those differ among themselves, so that nothing tells how a file's pictures were prepared.
    """
    import avg.torchvision_schema  # noqa: F401

    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    if tag:
        return get_pretrained_cfg(model, tag)
    known = [get_pretrained_cfg(model, each) for each in list_pretrained_tags_by_model(model)]
    ways = [{key: each[key] for key in ("mean", "std", "interpolation", "resize_mode")} for each in known]
    if any(way != ways[0] for way in ways):
        raise ValueError(f"checkpoints of {model} prepare pictures in different ways: name a folder with {CONFIG} beside the weights")
    return ways[0] if ways else {}


def _states_quick_gelu(path: Path) -> bool | None:
    """Returns what a file or folder tells of its activation: True or False, or None if it tells nothing."""
    from baselines.towers import is_torchscript

    if path.is_file():
        return True if is_torchscript(path) else None
    config = path / CONFIG
    return bool(json.loads(config.read_text()).get("model_cfg", {}).get("quick_gelu", False)) if config.is_file() else None


def _model_cfg(model: str) -> dict[str, Any]:
    import avg.torchvision_schema  # noqa: F401

    import open_clip

    return open_clip.get_model_config(model)


def _is_path(name: str) -> bool:
    return Path(name).exists() or name.startswith(("/", "./", "../", "~")) or Path(name).suffix in (".pt", ".pth", ".bin", ".safetensors")
