"""Pseudo-queries: made-up captions for pictures whose own captions must not be seen. A stage, shared by all that uses them.

N pictures, Q captions of train, P pseudo-queries, D width, T tokens, H width of a token state.

By default they are training captions: those nearest to the picture in CLIP space, which needs no further model. A captioning model can
stand in their place (`baselines/captioner.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from methods.data import Dataset
from methods.dense import unit
from methods.needs import Need, identity, resolve
from methods.reads import SplitArrays, note
from methods.stage import Stage

NEAREST = "nearest"
CHUNK = 64  # pictures compared with all training captions at a time


@dataclass(frozen=True)
class PseudoQueries:
    """Made-up captions of one split, with what the frozen text tower says of them, as of true ones.

    Args:
        captions: P of them.
        rows_P: row in `image_ids_N` of the picture that each was made for.
        images_ND, texts_PD: projected vectors.
        states_TH, start_P1: token states laid end to end, and where each caption begins (`methods.split_features.PackedStates`).
    """

    split: str
    captions: tuple[str, ...]
    rows_P: np.ndarray
    image_ids_N: np.ndarray
    images_ND: np.ndarray
    texts_PD: np.ndarray
    states_TH: Any
    start_P1: Any

    @classmethod
    def load(cls, folder: Path) -> PseudoQueries:
        from safetensors.torch import load_file

        stored, packed = json.loads((folder / "queries.json").read_text()), load_file(folder / "states.safetensors")
        note(stored["split"], "pictures", "pseudo-queries")
        with np.load(folder / "queries.npz", allow_pickle=False) as arrays:
            made: dict[str, Any] = {**arrays, **packed}
        return cls(stored["split"], tuple(text for texts in stored["captions"] for text in texts), **made)


def pseudo_query_stages(
    splits: Sequence[str], stages: Mapping[str, Stage], data: Stage, *, count: int, by: str, seed: int
) -> dict[str, Stage]:
    """Returns {"pseudo-queries SPLIT": the stage that makes them}.

    Args:
        stages: with `encoder` and `features`.
        count: how many for each picture.
        by: `nearest`, or a captioning model, a folder or a name on the hub.
        seed: of a captioner; the nearest captions are the same for all seeds.
    """
    drawn = {"seed": seed, "identity": [identity(need) for need in captioner_needs(by)]} if by != NEAREST else {}
    inputs = {"data": data, "encoder": stages["encoder"], "features": stages["features"]}
    return {
        f"pseudo-queries {split}": Stage(
            "pseudo-queries", "methods.pseudo_queries:make", {"split": split, "count": count, "by": by, **drawn}, inputs
        )
        for split in splits
    }


def captioner_needs(by: str) -> list[Need]:
    """Returns what must be on this machine for pseudo-queries: nothing for the nearest captions, else the captioning model.

    Raises:
        ValueError: if the name is neither a folder nor a model's name.
    """
    return [] if by == NEAREST else [Need.of_model(by)]


def loaded(inputs: Mapping[str, Path], splits: Sequence[str]) -> list[PseudoQueries]:
    """Returns those of some splits from the folders of `pseudo_query_stages`."""
    return [PseudoQueries.load(inputs[f"pseudo-queries {split}"]) for split in splits]


def make(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: `count` captions for each picture of a split, and the text tower's states of them."""
    from safetensors.torch import save_file

    from baselines.clip import CLIP
    from methods.extraction import pack_states

    split, count = config["split"], config["count"]
    features = SplitArrays(inputs["features"], split)
    images_ND, image_ids_N = features["images_ND"], features["image_ids_N"]
    data = Dataset(inputs["data"])
    if config["by"] == NEAREST:
        train = SplitArrays(inputs["features"], "train")
        made = nearest_captions(images_ND, train["texts_QD"], data.split("train").captions, count)
    else:
        made = _captioned(config, data, image_ids_N)
    captions, rows = [text for texts in made for text in texts], np.repeat(np.arange(len(made)), [len(texts) for texts in made])
    states_TH, start_P1, texts_PD = pack_states(CLIP(inputs["encoder"]), captions)
    save_file({"states_TH": states_TH, "start_P1": start_P1}, out / "states.safetensors")
    np.savez(out / "queries.npz", rows_P=rows, image_ids_N=image_ids_N, images_ND=images_ND, texts_PD=texts_PD.numpy())
    (out / "queries.json").write_text(json.dumps({"split": split, "by": config["by"], "captions": made}, indent=1))
    short = sum(len(texts) < count for texts in made)
    return {"split": split, "by": config["by"], "pictures": len(made), "captions": len(captions), "pictures with fewer": short}


def nearest_captions(images_ND: np.ndarray, texts_QD: np.ndarray, captions: Sequence[str], count: int) -> list[list[str]]:
    """Returns for each picture the `count` captions that are nearest by cosine, of different words, nearest first."""
    texts_QD = unit(texts_QD)
    found = []
    for first in range(0, len(images_ND), CHUNK):
        scores_NQ = unit(images_ND[first : first + CHUNK]) @ texts_QD.T
        for scores_Q in scores_NQ:
            wide = 4 * count
            while True:
                # the same words have the same score: how many different ones stand among the first is known only when they are read
                top = np.argpartition(-scores_Q, wide - 1)[:wide] if wide < len(scores_Q) else np.arange(len(scores_Q))
                texts = list(dict.fromkeys(captions[q] for q in top[np.argsort(-scores_Q[top], kind="stable")]))
                if len(texts) >= count or wide >= len(scores_Q):
                    break
                wide *= 4
            found.append(texts[:count])
    return found


def _captioned(config: Mapping[str, Any], data: Dataset, image_ids_N: np.ndarray) -> list[list[str]]:
    """Returns for each picture what a captioner draws, in different words."""
    from baselines.captioner import Captioner

    split = data.split(config["split"])
    assert np.array_equal(split.image_ids_N, image_ids_N), "features and data are of the same pictures in the same order"
    (need,) = captioner_needs(config["by"])
    made = Captioner(resolve(need)).captions(split.pictures, len(image_ids_N), config["count"], config["seed"])
    return [list(dict.fromkeys(texts)) for texts in made]
