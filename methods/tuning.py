"""Stage: contrastive training of an encoder's towers on the training split, the epoch chosen by R@1 on val.

N images, Q captions, B batch, D joint width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from avg.precision import autocast
from avg.schedule import warm_cosine
from baselines.ahead import in_order
from baselines.clip import CLIP, contrastive_loss, sigmoid_loss
from methods.data import Dataset, Split
from methods.dense import unit
from methods.extraction import TEXT_BATCH
from methods.fitting.epochs import Epochs
from methods.reads import note, selecting
from methods.recall import dense_recall

CLIP_GRADIENT = 1.0
LARGEST_SCALE = 4.6052  # ln 100, as CLIP was trained (Radford et al. 2021, §2.5)


def tune(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: an encoder's folder after training from `start`: all of it where `whole`, else its projections.

    An interrupted run goes on after its last whole epoch, and ends as it would have without; if what it kept is damaged, it starts anew.

    Raises:
        ValueError: if projections are to be trained of a model that has none.
    """
    clip, data = CLIP(inputs["start"]), Dataset(inputs["data"])
    trained = _trained(clip, config["whole"])
    optimizer = torch.optim.AdamW(trained, lr=config["tuning_rate"], weight_decay=config["weight_decay"])
    train, val = data.split("train"), data.split("val")
    steps = -(-len(train.captions) // config["tuning_batch"])
    schedule = warm_cosine(optimizer, steps * config["tuning_epochs"])
    epochs = Epochs(out, "tuning", config["tuning_epochs"], clip.device, seconds=0)
    with selecting():
        curve, best = [recall(clip, val)], 0
    first, best_state = 0, _state(clip)
    if stored := epochs.found(model=clip.model, optimizer=optimizer, schedule=schedule):
        note(train.name, "pictures", "captions")  # by the run that was interrupted
        first, curve, best, best_state = stored["epoch"], stored["curve"], stored["best"], stored["best_state"]
    for epoch in range(first, config["tuning_epochs"]):
        # seeded anew each epoch, so that a run that goes on draws what an uninterrupted one draws
        torch.manual_seed(1000 * config["seed"] + epoch)
        _epoch(clip, train, trained, optimizer, schedule, config["tuning_batch"], f"tuning {epoch + 1}/{config['tuning_epochs']}")
        with selecting():
            curve.append(recall(clip, val))
        if curve[-1] > curve[best]:
            best, best_state = epoch + 1, _state(clip)
        epochs.done(epoch + 1, epoch=epoch + 1, curve=curve, best=best, best_state=best_state)
    clip.model.load_state_dict(best_state)
    clip.towers.save(out)
    parameters = sum(parameter.numel() for parameter in trained)
    return {"val R@1 by epoch, before training first": curve, "val R@1": curve[best], "trained parameters": parameters}


def _trained(clip: CLIP, whole: bool) -> list[nn.Parameter]:
    parts = [parameter for parameter in clip.model.parameters() if parameter.is_floating_point()] if whole else clip.towers.projections()
    if not parts:
        raise ValueError("this model has no projections to train (its towers pool straight into the joint space): give encoder.train=full")
    extra = [clip.towers.scale] + ([clip.towers.bias] if clip.towers.bias is not None else [])
    trained = [*parts, *(each for each in extra if all(each is not part for part in parts))]
    for parameter in trained:
        parameter.requires_grad_(True)
    return trained


def _state(clip: CLIP) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in clip.model.state_dict().items()}


def _epoch(clip: CLIP, split: Split, trained: list[nn.Parameter], optimizer, schedule, batch: int, told: str) -> None:
    towers, rows_Q = clip.towers, torch.from_numpy(split.caption_rows_Q)
    order = torch.randperm(len(rows_Q))
    pixels = in_order(lambda row: towers.pixels(split.pictures[row]), rows_Q[order].tolist())
    # dropout where a tower has it; batch statistics stay as pretrained, since a batch here is small
    clip.model.train()
    for module in clip.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    for captions_B in tqdm(order.split(batch), desc=told, unit="step", leave=False):
        pixels_BCHW = torch.stack([next(pixels) for _ in captions_B]).to(clip.device)
        tokens_BT, mask_BT = (part.to(clip.device) for part in towers.tokens([split.captions[row] for row in captions_B.tolist()]))
        with autocast(clip.device.type):
            feats_BD, (texts_BD, _) = towers.picture_vectors(pixels_BCHW), towers.caption_vectors(tokens_BT, mask_BT)
        images_B = rows_Q[captions_B].to(clip.device)
        if towers.bias is None:
            loss = contrastive_loss(feats_BD.float(), texts_BD.float(), towers.scale.exp(), images_B)
        else:
            loss = sigmoid_loss(feats_BD.float(), texts_BD.float(), towers.scale.exp(), towers.bias, images_B)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, CLIP_GRADIENT)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            if towers.bias is None:
                towers.scale.clamp_(max=LARGEST_SCALE)
    clip.model.eval()


def recall(clip: CLIP, split: Split) -> float:
    """Returns R@1 in percent of a split's captions among its pictures; reads both to choose, not to learn."""
    with selecting():
        pictures, captions, rows_Q = split.pictures, split.captions, split.caption_rows_Q
    images_ND = unit(clip.picture_feats(pictures, len(pictures)))
    batches = [captions[first : first + TEXT_BATCH] for first in range(0, len(captions), TEXT_BATCH)]
    texts_QD = unit(np.concatenate([clip.text_states(batch).vectors_BD.numpy() for batch in batches]))
    return round(dense_recall(texts_QD, images_ND, rows_Q), 2)
