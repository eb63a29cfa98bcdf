"""Stage: trains GRACE's atomic classifier: caption -> class of its image, picture -> its own class.

N images of all exposed splits, D width, B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from methods.dense import unit
from methods.reads import SplitArrays

SCALE = 30.0
"""Factor of the inner products of unit vectors in the softmax."""


def train(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: writes class weights, (N, D), and the captions' projection, (D, D), to `atomic.npz`."""
    torch.manual_seed(config["seed"])
    stored = {split: SplitArrays(inputs["features"], split) for split in ("train", *config["exposed"])}
    pictures_ND = torch.from_numpy(unit(np.concatenate([arrays["images_ND"] for arrays in stored.values()])))
    texts_QD = torch.from_numpy(unit(stored["train"]["texts_QD"]))
    rows_Q = torch.from_numpy(stored["train"]["caption_rows_Q"])
    classes_ND = nn.Parameter(pictures_ND.clone())
    projection_DD = nn.Parameter(torch.eye(texts_QD.shape[1]))
    optimizer = torch.optim.Adam([classes_ND, projection_DD], lr=config["learning_rate"])
    losses = []
    for _ in range(config["epochs"]):
        total = 0.0
        for rows_B in torch.randperm(len(texts_QD)).split(config["batch"]):
            images_B = torch.randint(len(pictures_ND), (len(rows_B) // 3 + 1,))
            loss = nn.functional.cross_entropy(SCALE * (texts_QD[rows_B] @ projection_DD) @ classes_ND.T, rows_Q[rows_B])
            loss = loss + nn.functional.cross_entropy(SCALE * pictures_ND[images_B] @ classes_ND.T, images_B)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows_B) / len(texts_QD)
        losses.append(round(total, 4))
    np.savez(
        out / "atomic.npz",
        classes_ND=classes_ND.detach().numpy(),
        projection_DD=projection_DD.detach().numpy(),
        image_ids_N=np.concatenate([arrays["image_ids_N"] for arrays in stored.values()]),
    )
    return {"losses": losses}
