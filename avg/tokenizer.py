"""The cross-modal aligned image tokenizer: pictures' vectors to codes (Eq. 1-6), and its training.

N images, Q captions, B batch, D width of the frozen vectors, E code width, L code length, K codebook rows.

    v ──▶ encoder ──▶ z ──▶ residual quantiser ──▶ z-hat ──▶ decoder ──▶ v-hat      v: picture vector, target of Eq. 3 and, by its caption,
                                                                                   of Eq. 5; z takes its place in Eq. 2 and 4
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from avg.precision import device
from avg.quantizer import Quantized, ResidualQuantizer, usage
from avg.schedule import warm_cosine
from avg.settings import TokenizerSettings

FIRST_ROWS, FIRST_ITERATIONS = 2048, 100  # AVG's release: k-means on its first batch, unshuffled


def mlp(widths: tuple[int, ...], dropout: float, kind: str = "plain") -> nn.Sequential:
    """Returns linear layers with ReLU and dropout between them; of the kind `batch-norm` as AVG's release has them, see the settings."""
    layers: list[nn.Module] = []
    for row, (width, to) in enumerate(pairwise(widths)):
        layers += [nn.ReLU()] if row else []
        if kind == "batch-norm":
            layers += [nn.Dropout(dropout), nn.Linear(width, to), nn.BatchNorm1d(to)]
            nn.init.xavier_uniform_(layers[-2].weight)  # type: ignore[arg-type]
        else:
            layers += [*([nn.Dropout(dropout)] if row else []), nn.Linear(width, to)]
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Losses:
    """The terms of Eq. 6, each a mean over the batch, unweighted; squared Euclidean norms unless the settings say otherwise."""

    reconstruction: Tensor
    commitment: Tensor
    codebook: Tensor
    alignment: Tensor


class Tokenizer(nn.Module):
    """Turns picture vectors into codes of L vokens.

    Args:
        settings: its shape and the weights of its losses.
        width: D.
    """

    def __init__(self, settings: TokenizerSettings, width: int):
        super().__init__()
        self.settings, self.width = settings, width
        widths = (width, *settings.hidden, settings.code_width)
        self.encoder, self.decoder = (mlp(each, settings.dropout, settings.mlp) for each in (widths, widths[::-1]))
        self.quantizer = ResidualQuantizer(
            width=settings.code_width, levels=settings.voken_length, rows=settings.codebook_size, shared=settings.shared_codebook
        )

    def prepare(self, vectors: Tensor) -> Tensor:
        """Returns frozen vectors as the tokenizer sees them: of length 1 where so set."""
        return nn.functional.normalize(vectors, dim=-1) if self.settings.normalize else vectors

    def forward(self, images_BD: Tensor, texts_BD: Tensor) -> tuple[Losses, Quantized]:
        images_BD, texts_BD = self.prepare(images_BD), self.prepare(texts_BD)
        z_BE = self.encoder(images_BD)
        quantized = self.quantizer(z_BE)
        sums_BLE, sum_BE = quantized.sums_NLD, quantized.sums_NLD[:, -1]
        if self.settings.gradient == "sums":
            # straight through: the decoder's gradient reaches the codebook by the sum and the encoder by z
            rebuilt_BD = self.decoder(sum_BE + z_BE - z_BE.detach())
            errors_BLE = z_BE[:, None] - sums_BLE.detach()
            pulls_BLE = z_BE.detach()[:, None] - sums_BLE
        else:
            # A residual formed of values passed straight through has no gradient: what reaches the encoder are the decoder's and the
            # first level's, and a row is moved by its own level only. Values are those of the other branch.
            rebuilt_BD = self.decoder(sum_BE.detach() + z_BE - z_BE.detach())
            errors_BLE = z_BE[:, None] - sums_BLE.detach()
            errors_BLE = torch.cat([errors_BLE[:, :1], errors_BLE[:, 1:].detach()], 1)
            pulls_BLE = z_BE.detach()[:, None] - (sums_BLE - quantized.rows_NLD).detach() - quantized.rows_NLD
        losses = Losses(
            reconstruction=self._squared(images_BD - rebuilt_BD).mean(),
            commitment=self._over_levels(self._squared(errors_BLE)).mean(),
            codebook=self._over_levels(self._squared(pulls_BLE)).mean(),
            alignment=self._squared(rebuilt_BD - texts_BD).mean(),
        )
        return losses, quantized

    def _squared(self, errors: Tensor) -> Tensor:
        return errors.square().sum(-1) if self.settings.squared_error == "norm" else errors.square().mean(-1)

    def _over_levels(self, errors_BL: Tensor) -> Tensor:
        return errors_BL.sum(-1) if self.settings.over_levels == "sum" else errors_BL.mean(-1)

    def loss(self, losses: Losses) -> Tensor:
        """Returns Eq. 6 with the weights set."""
        weights = self.settings
        return (
            weights.reconstruction * losses.reconstruction
            + weights.commitment * losses.commitment
            + weights.codebook_loss * losses.codebook
            + weights.alignment * losses.alignment
        )

    @torch.inference_mode()
    def tokenize(self, images_ND: np.ndarray) -> np.ndarray:
        """Returns the codes of picture vectors, int64 (N, L)."""
        return self._quantized(images_ND).codes_NL.cpu().numpy()

    @torch.inference_mode()
    def rebuild(self, images_ND: np.ndarray, vokens: int | None = None) -> np.ndarray:
        """Returns what the codes of picture vectors decode to, (N, D); of each code the first so many vokens, or all."""
        return self.decoder(self._quantized(images_ND).sums_NLD[:, (vokens or self.settings.voken_length) - 1]).cpu().numpy()

    def _quantized(self, images_ND: np.ndarray) -> Quantized:
        return self.quantizer(self.encoder(self.prepare(torch.from_numpy(images_ND).to(self.quantizer.codebooks_CKD.device))))

    def codebooks(self) -> np.ndarray:
        """Returns the rows, (1 or L, K, E)."""
        return self.quantizer.codebooks_CKD.detach().cpu().numpy()

    def save(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(json.dumps({"settings": self.settings.model_dump(mode="json"), "width": self.width}))
        save_file(self.state_dict(), folder / "tokenizer.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        stored = json.loads((folder / "tokenizer.json").read_text())
        tokenizer = cls(TokenizerSettings(**stored["settings"]), stored["width"])
        tokenizer.load_state_dict(load_file(folder / "tokenizer.safetensors"))
        return tokenizer.eval()


class Keeper(Protocol):
    """What keeps a training after its epochs, so that an interrupted one goes on."""

    def found(self, **parts: Any) -> dict[str, Any] | None:
        """Gives parts of a training the states that were kept, and returns what it was `done` with then; None where nothing was kept."""

    def done(self, epochs: int, **values: Any) -> None:
        """Takes note that so many epochs are done, and keeps the parts' states and the values if it is time."""


def train_tokenizer(
    settings: TokenizerSettings, images_ND: np.ndarray, texts_QD: np.ndarray, caption_rows_Q: np.ndarray, keeper: Keeper | None = None
) -> tuple[Tokenizer, dict]:
    """Returns a tokenizer trained on pairs of picture and caption vectors, and a report of losses and codebook usage by epoch.

    A pair per caption: `caption_rows_Q` is the row of the picture it describes. An epoch passes every picture once, with one of its
    captions drawn at random. A training that goes on from what the keeper kept ends as it would have without.
    """
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    tokenizer = Tokenizer(settings, images_ND.shape[1]).to(device())
    images, texts = torch.from_numpy(images_ND).to(device()), torch.from_numpy(texts_QD).to(device())
    draw = caption_draws(caption_rows_Q, len(images))
    rng = np.random.default_rng(settings.seed)
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    steps = settings.epochs * -(-len(images) // settings.batch)
    schedule = warm_cosine(optimizer, steps)
    curve: list[list[float]] = []
    parts = {"tokenizer": tokenizer, "optimizer": optimizer, "schedule": schedule, "generator": generator}
    if stored := keeper and keeper.found(**parts):
        curve, rng.bit_generator.state = stored["curve"], stored["rng"]
    else:
        _start(tokenizer, images, caption_rows_Q)
    for epoch in tqdm(range(len(curve), settings.epochs), desc="tokenizer", unit="epoch", leave=False):
        tokenizer.train()
        captions_N = torch.from_numpy(draw(rng))
        # both stay on the device, which is not waited for before the epoch's end
        used_CK = torch.zeros(tokenizer.quantizer.codebooks_CKD.shape[:2], dtype=torch.bool, device=images.device)
        totals = torch.zeros(4, dtype=torch.float64, device=images.device)
        for rows_B in torch.randperm(len(images), generator=generator).split(settings.batch):
            if settings.mlp == "batch-norm" and len(rows_B) == 1:
                continue  # one row has no variance
            losses, quantized = tokenizer(images[rows_B], texts[captions_N[rows_B]])
            optimizer.zero_grad()
            tokenizer.loss(losses).backward()
            optimizer.step()
            schedule.step()
            for level, codes_B in enumerate(quantized.codes_NL.T):
                used_CK[0 if settings.shared_codebook else level, codes_B] = True
            terms = (losses.reconstruction, losses.commitment, losses.codebook, losses.alignment)
            totals += torch.stack([term.detach() for term in terms]).double() * len(rows_B) / len(images)
        curve.append([round(total, 4) for total in totals.tolist()])
        # not in the last fifth: a row revived late would never be trained
        if settings.keep_alive == "revive" and epoch < 0.8 * settings.epochs:
            with torch.no_grad():
                sample = tokenizer.prepare(images[torch.randint(len(images), (settings.batch,), generator=generator)])
                tokenizer.quantizer.revive(tokenizer.eval().encoder(sample), ~used_CK.cpu(), generator)
        if keeper:
            keeper.done(epoch + 1, curve=curve, rng=rng.bit_generator.state)
    tokenizer.eval().cpu()
    codes_NL = tokenizer.tokenize(images_ND)
    report = {
        "losses by epoch (reconstruction, commitment, codebook, alignment)": curve,
        "usage": usage(codes_NL, settings.codebook_size),
        "unique codes": len(np.unique(codes_NL, axis=0)) / len(codes_NL),
    }
    return tokenizer, report


def caption_draws(caption_rows_Q: np.ndarray, images: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Returns a function that draws a caption of each picture, (N,): at once, those that `choice` gives picture by picture."""
    by_image_Q, count_N = np.argsort(caption_rows_Q, kind="stable"), np.bincount(caption_rows_Q, minlength=images)
    first_N = np.cumsum(count_N) - count_N
    return lambda rng: by_image_Q[first_N + rng.integers(count_N)]


@torch.no_grad()
def _start(tokenizer: Tokenizer, images: Tensor, caption_rows_Q: np.ndarray) -> None:
    """Sets the codebooks before the first update, as the settings say."""
    settings = tokenizer.settings
    if settings.start == "random":
        # As VQ-VAE starts (van den Oord et al. 2017). With rows of length 1 and a commitment loss alone, every vector was pulled to the
        # row that it had chosen before any row moved: all pictures of the default data set ended under one code.
        nn.init.uniform_(tokenizer.quantizer.codebooks_CKD, -1 / settings.codebook_size, 1 / settings.codebook_size)
    elif settings.start == "kmeans":
        tokenizer.quantizer.start_from(tokenizer.eval().encoder(tokenizer.prepare(images)), settings.seed)
    elif settings.start == "kmeans-first-batch":
        # A row is a (picture, caption) pair, in the data's order. In training mode: without dropout the pairs of a picture coincide, and
        # a batch of 2,048 holds some 410 vectors for 1,024 rows.
        first_BD = tokenizer.prepare(images[torch.from_numpy(caption_rows_Q[:FIRST_ROWS])])
        tokenizer.quantizer.start_from(tokenizer.train().encoder(first_BD), settings.seed, divided=False, iterations=FIRST_ITERATIONS)
