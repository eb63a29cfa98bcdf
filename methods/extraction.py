"""Features of any number of pictures and captions: in batches, kept shard by shard, never all in memory.

N pictures, Q captions, D joint width, T tokens of all captions laid end to end, H width of a text state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from baselines.clip import CLIP, PICTURE_BATCH
from methods.data import Dataset
from methods.files.shards import Shards, write_packed
from methods.stage import UNFINISHED

TEXT_BATCH = 256
PICTURE_SHARD = 64 * PICTURE_BATCH
"""Pictures kept together: a killed run computes at most so many again. A multiple of the batch, so that batches are the same."""
TEXT_SHARD = 64 * TEXT_BATCH


def extract(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: projected vectors of every split's pictures and captions, by an encoder as it is.

    Writes `SPLIT.npz`: images_ND, texts_QD (not normalised), image_ids_N, caption_rows_Q, and lengths_Q, the captions' tokens.
    """
    clip, data, kept = CLIP(inputs["encoder"]), Dataset(inputs["data"]), out / UNFINISHED
    report = {}
    for name in data.splits:
        split = data.split(name)
        pictures = picture_shards(clip.picture_feats, split.pictures, kept, f"{name}-pictures")
        captions = caption_shards(clip, split.captions, kept, f"{name}-captions", states=False)
        order = by_length(split.captions)
        texts_QD, lengths_Q = captions.join("vectors_SD", kept / "texts.npy"), captions.join("lengths_S", kept / "lengths.npy")
        np.savez(
            out / f"{name}.npz",
            images_ND=pictures.join("vectors", kept / "images.npy"),
            texts_QD=texts_QD[np.argsort(order)],
            lengths_Q=lengths_Q[np.argsort(order)],
            image_ids_N=split.image_ids_N,
            caption_rows_Q=split.caption_rows_Q,
        )
        report[name] = {"pictures": len(split.pictures), "captions": len(split.captions)}
    (out / "data.txt").write_text(inputs["data"].name)
    return report


def extract_states(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: token states of every split's captions, for generators that read them; writes `SPLIT-states.safetensors`."""
    clip, data = CLIP(inputs["encoder"]), Dataset(inputs["data"])
    report = {}
    for name in data.splits:
        captions = data.split(name).captions
        tokens = write_states(clip, captions, out, name)
        report[name] = {"captions": len(captions), "tokens": tokens}
    return report


def write_states(clip: CLIP, captions: Sequence[str], out: Path, split: str) -> int:
    """Writes the token states of a split to `SPLIT-states.safetensors`, as `features.PackedStates` reads them; returns how many."""
    shards = caption_shards(clip, captions, out / UNFINISHED, f"{split}-states", states=True)
    order = by_length(captions)
    lengths_Q, width = torch.empty(len(captions), dtype=torch.long), 0
    for first, end, arrays in shards:
        lengths_Q[torch.tensor(order[first:end])] = arrays["lengths_S"]
        width = arrays["states_TH"].shape[1]
    rows = ((order[first:end], arrays["states_TH"], arrays["lengths_S"]) for first, end, arrays in shards)
    return write_packed(out / f"{split}-states.safetensors", rows, lengths_Q, width)


def picture_shards(part: Callable[..., np.ndarray], pictures: Sequence, kept: Path, name: str) -> Shards:
    """Returns what a part of an encoder says of pictures, `vectors`, made or found in `kept`."""
    shards = Shards(kept, name, len(pictures), PICTURE_SHARD)
    return shards.fill(lambda first, end: {"vectors": torch.from_numpy(part(pictures[first:end], end - first))})


def caption_shards(clip: CLIP, captions: Sequence[str], kept: Path, name: str, states: bool) -> Shards:
    """Returns what the text tower says of captions, in the order of `by_length`, made or found in `kept`.

    With `states`: states_TH end to end in bfloat16, and lengths_S; without: vectors_SD, and lengths_S.
    """
    order = by_length(captions)
    bar = tqdm(total=len(order), desc="captions", unit="caption", leave=False)

    def work(first: int, end: int) -> dict[str, Tensor]:
        found = list(encoded(clip, [captions[row] for row in order[first:end]], states))
        bar.n = end
        bar.refresh()
        names = ("states_TH", "lengths_S") if states else ("vectors_SD", "lengths_S")
        return {name: torch.cat([each[place] for each in found]) for place, name in enumerate(names)}

    with bar:
        return Shards(kept, name, len(order), TEXT_SHARD).fill(work)


def encoded(clip: CLIP, captions: Sequence[str], states: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields batch by batch: states end to end, bfloat16 (T, H), or vectors (B, D); and the captions' numbers of tokens, (B,)."""
    for first in range(0, len(captions), TEXT_BATCH):
        batch = clip.text_states(captions[first : first + TEXT_BATCH])
        yield (batch.states_BTH.bfloat16()[batch.mask_BT] if states else batch.vectors_BD), batch.mask_BT.sum(1)


def by_length(captions: Sequence[str]) -> list[int]:
    """Returns the rows of captions by rising length, so that little padding is computed."""
    return sorted(range(len(captions)), key=lambda row: len(captions[row]))


def pack_states(clip: CLIP, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the token states of captions laid end to end, bfloat16 (T, H), where each begins, (Q + 1,), and the captions' projected
    vectors, (Q, D); all in memory."""
    order = by_length(captions)
    states: list[Tensor] = []
    vectors: list[Tensor] = []
    for first in range(0, len(order), TEXT_BATCH):
        batch = clip.text_states([captions[row] for row in order[first : first + TEXT_BATCH]])
        states += batch.states_BTH.bfloat16()[batch.mask_BT].split(batch.mask_BT.sum(1).tolist())
        vectors.append(batch.vectors_BD)
    places = np.argsort(order)
    in_place = [states[place] for place in places]
    lengths_Q = torch.tensor([len(states_TH) for states_TH in in_place])
    return torch.cat(in_place), torch.cat([torch.zeros(1, dtype=torch.long), lengths_Q.cumsum(0)]), torch.cat(vectors)[places]
