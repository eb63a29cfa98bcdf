"""What a generator minimises on a batch: Eq. 7 on captions and pictures, Eq. 9 over candidates.

B batch, L identifier length, M candidates, P pictures of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from avg.generator import Generator
from avg.losses import discriminative_loss, generative_loss, sequence_scores, summed_probabilities
from avg.padding import PAD
from avg.settings import GeneratorSettings
from methods.fitting.identified import Identified, Shown


@dataclass(frozen=True)
class Batch:
    """What one update learns, or a piece of it.

    Args:
        rows_B, codes_BL: captions and the identifier of each one's image.
        candidates_BML, place_B: what the discriminative loss compares, and where the positive stands; None where it has no part.
        pictures_P, picture_codes_PL: pictures and their identifiers; None where none are learned.
        weight, picture_weight, row_weight: the piece's part of all tokens, of all pictures' tokens, of all captions.
    """

    rows_B: Tensor
    codes_BL: Tensor
    candidates_BML: Tensor | None = None
    place_B: Tensor | None = None
    pictures_P: Tensor | None = None
    picture_codes_PL: Tensor | None = None
    weight: float = 1.0
    picture_weight: float = 1.0
    row_weight: float = 1.0

    def piece(self, rows_b: Tensor, pictures_p: Tensor | None) -> Batch:
        """Returns the part of these captions and pictures, as places in the batch; of nothing, another's first with weight 0."""
        rows, weight = some(rows_b), _tokens(self.codes_BL[rows_b]) / _tokens(self.codes_BL)
        codes_BL = self.codes_BL[rows]
        part = replace(self, rows_B=self.rows_B[rows], codes_BL=codes_BL, weight=weight, row_weight=len(rows_b) / len(self.rows_B))
        if self.candidates_BML is not None and self.place_B is not None:
            part = replace(part, candidates_BML=self.candidates_BML[rows], place_B=self.place_B[rows])
        if self.pictures_P is None or self.picture_codes_PL is None or pictures_p is None:
            return part
        shown, codes = some(pictures_p), self.picture_codes_PL
        picture_weight = _tokens(codes[pictures_p]) / _tokens(codes)
        return replace(part, pictures_P=self.pictures_P[shown], picture_codes_PL=codes[shown], picture_weight=picture_weight)


def some(places: Tensor) -> Tensor:
    """Returns the places, or the first where there are none: a process without work of its own does another's, which counts nothing."""
    return places if len(places) else torch.zeros(1, dtype=torch.long)


def _tokens(codes: Tensor) -> int:
    return int((codes != PAD).sum())


@dataclass(frozen=True)
class Objective:
    """The losses of a batch, or of a piece of one: then its part of the whole batch's loss."""

    settings: GeneratorSettings
    captions: Identified
    shown: Shown | None

    def first_stage(self, batch: Batch, model: Generator) -> tuple[Tensor, Tensor]:
        """Returns the loss of generative or joint training, twice: what is minimised and what is logged."""
        loss = self.generative(batch, model)
        if batch.candidates_BML is not None:
            loss = loss + self.settings.discriminative_weight * self.ranking(batch, model)
        if batch.pictures_P is not None:
            loss = loss + self.pictures(batch, model)
        return loss, loss

    def second_stage(self, batch: Batch, model: Generator) -> tuple[Tensor, Tensor]:
        """Returns the loss of discriminative training (Eq. 10), and the part of it that is logged (Eq. 9)."""
        ranking = self.ranking(batch, model)
        return self.generative(batch, model) + self.settings.discriminative_weight * ranking, ranking

    def generative(self, batch: Batch, model: Generator) -> Tensor:
        """Returns Eq. 7 of the captions."""
        codes_BL = batch.codes_BL.to(model.device)
        logits_BLV = model(self.captions.text_source(model, batch.rows_B), codes_BL) / self.settings.temperature
        return generative_loss(logits_BLV, codes_BL, self.settings.label_smoothing) * batch.weight

    def pictures(self, batch: Batch, model: Generator) -> Tensor:
        """Returns Eq. 7 of the pictures."""
        assert self.shown is not None and batch.pictures_P is not None and batch.picture_codes_PL is not None
        codes_PL = batch.picture_codes_PL.to(model.device)
        logits_PLV = model(model.picture_source(self.shown.take(batch.pictures_P, model)), codes_PL) / self.settings.temperature
        return generative_loss(logits_PLV, codes_PL, self.settings.label_smoothing) * batch.picture_weight

    def ranking(self, batch: Batch, model: Generator) -> Tensor:
        """Returns Eq. 9 over the batch's candidates."""
        assert batch.candidates_BML is not None and batch.place_B is not None
        candidates_BML = batch.candidates_BML.to(model.device)
        logits_BMLV = model(self.captions.text_source(model, batch.rows_B), candidates_BML)
        score = sequence_scores if self.settings.sequence_score == "log-probabilities" else summed_probabilities
        scores_BM = score(logits_BMLV, candidates_BML).masked_fill((candidates_BML == PAD).all(-1), float("-inf"))  # where a beam died
        return discriminative_loss(scores_BM, batch.place_B.to(model.device), self.settings.softmaxes) * batch.row_weight
