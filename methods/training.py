"""Stage: trains a generator on caption -> identifier, on picture -> identifier where a method asks for it, and discriminatively."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avg.generator import Generator
from avg.generators import create
from avg.precision import device, fast_dtype
from avg.settings import GeneratorSettings
from methods.data import Dataset
from methods.files.codes import CodesFile
from methods.fitting.identified import Identified, Shown
from methods.fitting.joined import joined
from methods.fitting.processes import count, launch
from methods.fitting.trainer import Trainer
from methods.fitting.validation import pictures_written
from methods.needs import Need, resolve
from methods.pseudo_queries import loaded
from methods.reads import selecting
from methods.split_features import SplitFeatures, load_pictures, load_split
from methods.stage import UNFINISHED

LOSSES = "losses.npz"
PICTURES = 500
"""Of a split, spread over it, of which is asked whether their identifiers were learned."""


def train(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: the generator, trained on train, its checkpoint chosen by R@1 on val; goes on from its own checkpoints under `UNFINISHED`.

    `config` holds the `generator` settings, `how` to compute (`GeneratorSettings.HOW`), `pictures_of`, the splits whose pictures are
    learned as sources, `learned`, those that are learned with pseudo-queries, and `selection`, the split to choose by where that is not
    val. Writes the generator and the loss of every update.
    """
    processes = count(GeneratorSettings(**config["generator"], **config.get("how", {})))
    if processes == 1:
        return train_here(config, inputs, out)
    return launch("methods.training:train_here", config, inputs, out, processes)


def train_here(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Does what `train` does in this process, or this process's share of it."""
    settings = GeneratorSettings(**config["generator"], **config.get("how", {}))
    if settings.backbone:
        settings = settings.model_copy(update={"backbone": str(resolve(Need.of_model(settings.backbone)))})
    if "language_model" in inputs:
        settings = settings.model_copy(update={"backbone": str(inputs["language_model"] / "model"), "language_model": ""})
    torch.manual_seed(settings.seed)
    codes = CodesFile.load(inputs["codes"])
    data, chosen_on = Dataset(inputs["data"]), config.get("selection", "val")

    def identified(found: SplitFeatures, captions: Sequence[str]) -> Identified:
        return Identified.join(found, captions, codes.codes_XL, codes.image_ids_X)

    splits = {"train": identified(load_split(inputs.get("trunks"), inputs["features"], "train"), data.split("train").captions)}
    for name in config["pictures_of"]:
        if name != "train":  # of the others not even the captions are read
            splits[name] = identified(load_pictures(inputs["features"], name), ())
    with selecting():
        splits[chosen_on] = identified(load_split(inputs.get("trunks"), inputs["features"], chosen_on), data.split(chosen_on).captions)
    learned = splits["train"]
    if made := loaded(inputs, config.get("learned", ())):
        captions = [*learned.captions, *(text for queries in made for text in queries.captions)]
        learned = identified(joined(learned.features, made), captions)

    def created() -> Generator:
        rows_VE = None if codes.codebook_VE is None else torch.from_numpy(codes.codebook_VE)
        features = splits["train"].features
        return create(
            settings,
            tokens=codes.tokens,
            state_width=features.states.states_TH.shape[1],
            vector_width=features.texts_QD.shape[1],
            codebook_VE=rows_VE if settings.copy_codebook else None,
        )

    folder, model = out / UNFINISHED, created().to(device())
    pictures = [data.split(name).pictures for name in config["pictures_of"]] if model.reads_pixels else []
    trainer = Trainer(
        settings,
        splits,
        config["pictures_of"],
        model,
        folder if folder.is_dir() else None,
        chosen_on=chosen_on,
        learned=learned,
        pictures=pictures,
    )
    trainer.train()
    told = {}
    if trainer.accelerator.is_main_process:
        if settings.sharding == "fsdp":
            model = created().to(device())  # the trained one is in pieces
        model.load_state_dict(trainer.kept, strict=False)
        if trainer.shown:
            told["pictures written"] = _written(model, trainer.shown, {name: len(splits[name].count_N) for name in config["pictures_of"]})
        model.save(out)
        np.savez(out / LOSSES, **{stage: np.array(losses) for stage, losses in trainer.losses.items()})  # type: ignore[arg-type]
    trainer.accelerator.wait_for_everyone()
    return {
        "model": described(model),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "curve": trainer.curve,
        f"{chosen_on} R@1": trainer.best,
        "precision": str(fast_dtype()).removeprefix("torch."),
        "processes": trainer.accelerator.num_processes,
        **told,
    }


def _written(model: Generator, shown: Shown, pictures: Mapping[str, int]) -> dict[str, float]:
    """Returns what `pictures_written` says of each split: whether what was learned of pictures was learned."""
    first, found = 0, {}
    for name, count_of_split in pictures.items():
        rows_P = torch.linspace(first, first + count_of_split - 1, min(count_of_split, PICTURES)).long()
        found[name] = pictures_written(model, shown, rows_P)
        first += count_of_split
    return found


def described(model: Generator) -> str:
    """Returns what a generator is made of, as a table may say it."""
    if not model.settings.backbone:
        return "a new T5 decoder over frozen text states"
    kind = getattr(model, "language_model", None) or model.model
    adapted = f", LoRA of rank {model.settings.lora_rank}" if model.settings.lora_rank else ""
    return f"{type(kind).__name__} of transformers, {sum(value.numel() for value in model.parameters()) / 1e6:.4g} M parameters{adapted}"
