"""Stage: trains a generator on caption -> identifier, on picture -> identifier where a method asks for it, and discriminatively.

B batch, L identifier length, M candidates, V identifier tokens, X identifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from avg.captions import CaptionBatch
from avg.generator import PAD, Generator, Source, create, generative_loss, sequence_scores
from avg.precision import fast_dtype
from avg.ranking_loss import discriminative_loss, summed_probabilities, with_positive
from avg.schedule import warm_cosine
from avg.settings import GeneratorSettings
from methods.batching import batches
from methods.beam import DeviceTrie, beam_search
from methods.data import Dataset
from methods.features import SplitFeatures, load_pictures, load_split
from methods.joined import joined
from methods.pseudo_queries import loaded
from methods.reads import selecting
from methods.trie import Trie

VALIDATION_QUERIES = 1000
VALIDATION_BEAM = 10
CLIP_GRADIENT = 1.0


@dataclass(frozen=True)
class Identified:
    """A split's features with the identifiers of its images.

    Args:
        codes_XL: identifiers of this split's images, sorted by image.
        first_N, count_N: which of them belong to image row n; an image may have several.
    """

    features: SplitFeatures
    captions: Sequence[str]
    codes_XL: Tensor
    first_N: Tensor
    count_N: Tensor

    @classmethod
    def join(cls, features: SplitFeatures, captions: Sequence[str], codes_XL: np.ndarray, image_ids_X: np.ndarray) -> Identified:
        row_of = {int(image): row for row, image in enumerate(features.image_ids_N)}
        rows_X = np.array([row_of.get(int(image), -1) for image in image_ids_X])
        order_X = np.argsort(rows_X, kind="stable")[(rows_X < 0).sum() :]
        count_N = np.bincount(rows_X[order_X], minlength=len(row_of))
        assert (count_N > 0).all(), "an image has no identifier"
        first_N = np.r_[0, np.cumsum(count_N)[:-1]]
        return cls(features, captions, *(torch.from_numpy(array) for array in (codes_XL[order_X], first_N, count_N)))

    def draw(self, rows_B: Tensor, generator: torch.Generator) -> Tensor:
        """Returns one identifier of each image, drawn at random where there are several, (B, L)."""
        pick_B = (torch.rand(len(rows_B), generator=generator) * self.count_N[rows_B]).long()
        return self.codes_XL[self.first_N[rows_B] + pick_B]

    def caption_images(self, captions_B: Tensor) -> Tensor:
        return torch.from_numpy(self.features.caption_rows_Q)[captions_B]

    def text_source(self, model: Generator, captions_B: Tensor) -> Source:
        states_BTH, mask_BT = self.features.states.take(captions_B)
        texts = tuple(self.captions[row] for row in captions_B.tolist())
        return model.text_source(CaptionBatch(texts, states_BTH.float(), mask_BT, torch.from_numpy(self.features.texts_QD)[captions_B]))


def lengths(codes_XL: Tensor) -> Tensor:
    return (codes_XL != PAD).sum(1)


def trimmed(codes_BL: Tensor) -> Tensor:
    """Returns identifiers without the columns in which all of them pad."""
    return codes_BL[:, : int(lengths(codes_BL).max())]


class Trainer:
    """A generator with its data, optimiser and random numbers; one method a training stage."""

    def __init__(
        self,
        settings: GeneratorSettings,
        splits: Mapping[str, Identified],
        pictures_of: list[str],
        model: Generator,
        chosen_on: str = "val",
        learned: Identified | None = None,
    ):
        self.settings, self.splits, self.model, self.chosen_on = settings, splits, model, chosen_on
        self.train_split, self.pictures_of = learned or splits["train"], pictures_of
        self.random = torch.Generator().manual_seed(settings.seed)
        self.curve: list[dict[str, float]] = []
        self.best, self.kept = -1.0, {name: value.clone() for name, value in model.state_dict().items()}

    def generative(self) -> None:
        """Minimises Eq. 7, summed over a caption batch and, where pictures are learned, a third as many pictures."""
        settings, data = self.settings, self.train_split
        captions = len(data.features.texts_QD)
        steps = -(-captions // settings.batch)
        optimizer, schedule = self._optimizer(settings.learning_rate, steps * settings.epochs)
        pictures_ND, draw_pictures = self._pictures()
        third, since_best = max(settings.batch // 3, 1), 0
        for epoch in range(settings.epochs):
            total = 0.0
            codes_QL = data.draw(data.caption_images(torch.arange(captions)), self.random)
            picked_P = torch.randint(max(len(pictures_ND), 1), (steps * third if len(pictures_ND) else 0,), generator=self.random)
            codes_PL = draw_pictures(picked_P)
            order = batches(lengths(codes_QL), data.features.states.lengths_Q, settings.batch, self.random)
            shown = batches(lengths(codes_PL), torch.zeros(len(codes_PL)), third, self.random)
            for step, rows_B in enumerate(tqdm(order, desc=f"generator {epoch + 1}/{settings.epochs}", unit="step", leave=False)):
                self.model.train()
                codes_BL = trimmed(codes_QL[rows_B])
                loss = self._generative_loss(data.text_source(self.model, rows_B), codes_BL)
                if settings.discriminative == "joint":
                    loss = loss + settings.discriminative_weight * self._ranking_loss(rows_B, codes_BL)
                if shown:
                    rows_P = shown[step]
                    source = self.model.picture_source(pictures_ND[picked_P[rows_P]])
                    loss = loss + self._generative_loss(source, trimmed(codes_PL[rows_P]))
                total += float(loss.detach()) / steps
                self._update(loss, optimizer, schedule)
            since_best = 0 if self._validate(loss=round(total, 4)) else since_best + 1
            if since_best >= settings.patience:
                break

    def second_stage(self) -> None:
        """Minimises Eq. 10 from the best generative checkpoint on, over the model's own candidates."""
        settings, captions = self.settings, len(self.train_split.features.texts_QD)
        self.model.load_state_dict(self.kept)
        optimizer, schedule = self._optimizer(settings.discriminative_rate, settings.discriminative_steps)
        checks = max(settings.discriminative_steps // 4, 1)
        total = 0.0
        for step in tqdm(range(settings.discriminative_steps), desc="discriminative", unit="step", leave=False):
            rows_B = torch.randint(captions, (settings.discriminative_batch,), generator=self.random)
            codes_BL = self.train_split.draw(self.train_split.caption_images(rows_B), self.random)
            ranking = self._ranking_loss(rows_B, codes_BL)
            self.model.train()
            generative = self._generative_loss(self.train_split.text_source(self.model, rows_B), codes_BL)
            total += float(ranking.detach()) / checks
            self._update(generative + settings.discriminative_weight * ranking, optimizer, schedule)
            if (step + 1) % checks == 0:
                self._validate(discriminative_loss=round(total, 4))
                total = 0.0

    def _generative_loss(self, source: Source, codes_BL: Tensor) -> Tensor:
        return generative_loss(self.model(source, codes_BL) / self.settings.temperature, codes_BL, self.settings.label_smoothing)

    def _ranking_loss(self, rows_B: Tensor, codes_BL: Tensor) -> Tensor:
        """Returns Eq. 9 over candidates from the model's own beam search in the training images' prefix index (Eq. 8)."""
        model = self.model
        model.eval()
        trie, found = self._training_trie()
        with torch.inference_mode():
            logits_BV, state = model.start(self.train_split.text_source(model, rows_B))
            found_BM, _ = beam_search(logits_BV, partial(model.step, state), found, self.settings.candidates)
        candidates_BML = torch.from_numpy(trie.identifiers_NL)[found_BM.clone().clamp(min=0)]
        candidates_BML, place_B = with_positive(candidates_BML, codes_BL, self.random)
        model.train()
        logits_BMLV = model(self.train_split.text_source(model, rows_B), candidates_BML)
        score = sequence_scores if self.settings.sequence_score == "log-probabilities" else summed_probabilities
        return discriminative_loss(score(logits_BMLV, candidates_BML), place_B, self.settings.softmaxes)

    def _training_trie(self) -> tuple[Trie, DeviceTrie]:
        if not hasattr(self, "_trie"):
            trie = Trie.build(self.train_split.codes_XL.numpy())
            self._trie = trie, DeviceTrie(trie)
        return self._trie

    def _pictures(self) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Returns the vectors of all pictures to be learned, and what draws identifiers of some of them."""
        if not self.pictures_of:
            return torch.empty(0), lambda rows: self.train_split.codes_XL[:0]
        shown = [self.splits[name] for name in self.pictures_of]
        bounds = np.cumsum([0, *(len(split.features.images_ND) for split in shown)])
        all_codes = torch.cat([split.codes_XL for split in shown])
        offsets = np.cumsum([0, *(len(split.codes_XL) for split in shown)])
        together = Identified(
            shown[0].features,
            shown[0].captions,
            all_codes,
            torch.cat([split.first_N + int(offset) for split, offset in zip(shown, offsets, strict=False)]),
            torch.cat([split.count_N for split in shown]),
        )
        assert bounds[-1] == len(together.count_N)
        return torch.cat([torch.from_numpy(split.features.images_ND) for split in shown]), lambda rows: together.draw(rows, self.random)

    def _optimizer(self, rate: float, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, weight_decay=self.settings.weight_decay)
        return optimizer, warm_cosine(optimizer, steps)

    def _update(self, loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_GRADIENT)
        optimizer.step()
        schedule.step()

    def _validate(self, **record: float) -> bool:
        """Notes R@1 on the split of selection and keeps the parameters if it is the best so far; says whether it is."""
        recall = validation_recall(self.model, self.splits[self.chosen_on])
        self.curve.append({**record, f"{self.chosen_on} R@1": recall})
        if recall <= self.best:
            return False
        self.best, self.kept = recall, {name: value.clone() for name, value in self.model.state_dict().items()}
        return True


@torch.inference_mode()
def validation_recall(model: Generator, split: Identified) -> float:
    """Returns R@1 in percent of the first validation captions: the share whose image has the identifier ranked first, ties shared."""
    model.eval()
    trie = Trie.build(split.codes_XL.numpy())
    code_X = trie.rows_of(split.codes_XL.numpy())
    owner_X = np.repeat(np.arange(len(split.count_N)), split.count_N.numpy())
    sharing_C = np.bincount(code_X, minlength=len(trie.identifiers_NL))
    owns = set(zip(owner_X.tolist(), code_X.tolist(), strict=True))
    found = DeviceTrie(trie)
    queries = torch.arange(min(VALIDATION_QUERIES, len(split.features.texts_QD)))
    hits = 0.0
    for rows_B in queries.split(250):
        logits_BV, state = model.start(split.text_source(model, rows_B))
        codes_BM, _ = beam_search(logits_BV, partial(model.step, state), found, VALIDATION_BEAM)
        for image, code in zip(split.caption_images(rows_B).tolist(), codes_BM[:, 0].tolist(), strict=True):
            hits += ((image, code) in owns) / sharing_C[code]
    return round(100 * hits / len(queries), 2)


def train(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: the generator, trained on train, its checkpoint chosen by R@1 on val.

    `config` holds the `generator` settings, `pictures_of`, the splits whose pictures are learned as sources, `learned`, those that are
    learned with pseudo-queries, and `selection`, the split to choose by where that is not val.
    """
    settings = GeneratorSettings(**config["generator"])
    torch.manual_seed(settings.seed)
    with np.load(inputs["codes"] / "codes.npz", allow_pickle=False) as stored:
        codes = dict(stored)
    data, chosen_on = Dataset(inputs["data"]), config.get("selection", "val")

    def identified(found: SplitFeatures, captions: Sequence[str]) -> Identified:
        return Identified.join(found, captions, codes["codes_XL"], codes["image_ids_X"])

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
    rows_VE = torch.from_numpy(codes["codebook_VE"]) if "codebook_VE" in codes else None
    features = splits["train"].features
    model = create(
        settings,
        tokens=len(rows_VE) if rows_VE is not None else int(codes["tokens"]),
        state_width=features.states.states_TH.shape[1],
        vector_width=features.texts_QD.shape[1],
        codebook_VE=rows_VE if settings.copy_codebook else None,
    )
    trainer = Trainer(settings, splits, list(config["pictures_of"]), model, chosen_on, learned)
    trainer.generative()
    if settings.discriminative == "second-stage":
        trainer.second_stage()
    model.load_state_dict(trainer.kept)
    model.save(out)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "curve": trainer.curve,
        f"{chosen_on} R@1": trainer.best,
        "precision": str(fast_dtype()).removeprefix("torch."),
    }
