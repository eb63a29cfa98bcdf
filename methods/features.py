"""Stages of the default encoder: the frozen towers' outputs, its projections trained on them, and every split's vectors.

N images, Q captions, D joint width, H trunk width, T tokens of all captions laid end to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from avg.precision import device
from avg.schedule import warm_cosine
from baselines.clip import CLIP, contrastive_loss
from baselines.default_encoder import save_default
from methods.data import Dataset
from methods.encoder import EncoderSettings
from methods.extraction import picture_shards, write_states
from methods.fitting.heartbeat import beat
from methods.reads import known, note, selecting
from methods.recall import dense_recall
from methods.split_features import PackedStates
from methods.stage import UNFINISHED


def extract_trunks(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: what the frozen towers say of every split, before any projection: (N, H) pictures, packed (T, H) token states."""
    save_default(out / "towers", **config)
    clip = CLIP(out / "towers")
    report = {}
    data = Dataset(inputs["data"])
    for name in data.splits:
        split = data.split(name)
        pictures = picture_shards(clip.picture_trunks, split.pictures, out / UNFINISHED, f"{name}-pictures")
        tokens = write_states(clip, split.captions, out, name)
        np.savez(
            out / f"{name}-pictures.npz",
            pictures_NH=pictures.join("vectors", out / UNFINISHED / "pictures.npy"),
            image_ids_N=split.image_ids_N,
            caption_rows_Q=split.caption_rows_Q,
        )
        report[name] = {"pictures": len(split.pictures), "captions": len(split.captions), "tokens": tokens}
    return report


def mean_states(states: PackedStates) -> Tensor:
    """Returns the mean over each caption's tokens, float32 (Q, H): what the text tower's mean pooling hands to its projection."""
    parts = []
    for rows_B in torch.arange(len(states.start_Q1) - 1).split(4096):
        padded_BTH, mask_BT = states.take(rows_B)
        parts.append(padded_BTH.float().sum(1) / mask_BT.sum(1, keepdim=True))
    return torch.cat(parts)


def _trunk_split(trunks: Path, split: str) -> tuple[Tensor, Tensor, Tensor]:
    packed = load_file(trunks / f"{split}-states.safetensors")
    note(split, "pictures", "captions")
    with known(), np.load(trunks / f"{split}-pictures.npz", allow_pickle=False) as stored:
        pictures_NH, rows_Q = torch.from_numpy(stored["pictures_NH"]), torch.from_numpy(stored["caption_rows_Q"])
    return pictures_NH, mean_states(PackedStates(packed["states_TH"], packed["start_Q1"])), rows_Q


def train_encoder(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: an open_clip folder whose projections are trained contrastively on train; the epoch is chosen by R@1 on val."""
    settings = EncoderSettings(**config)
    shape = settings.model_dump(include={"embed_dim", "image_size", "context_length"})
    save_default(out, **shape, seed=settings.seed)
    model, where = CLIP(out).model, device()
    image_head, text_head = model.visual.head, model.text.proj
    scale = nn.Parameter(model.logit_scale.detach().clone())
    parameters = [*image_head.parameters(), *text_head.parameters(), scale]
    for parameter in parameters:
        parameter.requires_grad_(True)
    pictures_NH, texts_QH, rows_Q = (part.to(where) for part in _trunk_split(inputs["trunks"], "train"))
    with selecting():
        val_NH, val_QH, val_rows_Q = (part.to(where) for part in _trunk_split(inputs["trunks"], "val"))
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = -(-len(texts_QH) // settings.batch) * settings.epochs
    schedule = warm_cosine(optimizer, steps)
    curve, best, kept = [], -1.0, {}
    for epoch in tqdm(range(settings.epochs), desc="encoder", unit="epoch", leave=False):
        beat("encoder", epoch, settings.epochs)
        for rows_B in torch.randperm(len(texts_QH)).to(where).split(settings.batch):
            images_BD = image_head(nn.functional.dropout(pictures_NH[rows_Q[rows_B]], settings.dropout))
            texts_BD = text_head(nn.functional.dropout(texts_QH[rows_B], settings.dropout))
            loss = contrastive_loss(images_BD, texts_BD, scale.exp(), rows_Q[rows_B])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.inference_mode():
            heads_on_val = ((image_head, val_NH), (text_head, val_QH))
            val_ND, val_QD = (nn.functional.normalize(head(x), dim=-1).cpu().numpy() for head, x in heads_on_val)
            recall = dense_recall(val_QD, val_ND, val_rows_Q.cpu().numpy())
        curve.append(round(recall, 2))
        if recall > best:
            heads = {"visual.head": image_head, "text.proj": text_head}
            kept = {f"{name}.{key}": value.cpu().clone() for name, head in heads.items() for key, value in head.state_dict().items()}
            best, kept["logit_scale"] = recall, scale.detach().cpu().clone()
    save_default(out, **shape, heads=kept)
    return {"val R@1 by epoch": curve, "val R@1": round(best, 2)}


@torch.inference_mode()
def project(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: projected vectors of every split, from the towers' frozen outputs: the towers need not run a second time."""
    model = CLIP(inputs["encoder"]).model.cpu()
    for name in Dataset(inputs["data"]).splits:
        pictures_NH, texts_QH, rows_Q = _trunk_split(inputs["trunks"], name)
        with np.load(inputs["trunks"] / f"{name}-pictures.npz", allow_pickle=False) as stored:
            image_ids_N = stored["image_ids_N"]
        images_ND, texts_QD = model.visual.head(pictures_NH).numpy(), model.text.proj(texts_QH).numpy()
        np.savez(out / f"{name}.npz", images_ND=images_ND, texts_QD=texts_QD, image_ids_N=image_ids_N, caption_rows_Q=rows_Q.numpy())
    (out / "data.txt").write_text(inputs["data"].name)
    return {}
