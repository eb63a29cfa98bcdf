"""The token-to-voken model: a decoder that writes the identifier of the image that a source describes (Eq. 7).

B batch, T source positions, H width of a frozen text state, D width of a picture or caption vector, W width of the decoder,
L identifier length, V identifier tokens, M beams.

The source is a caption (frozen states of the text tower, before them its projected vector) or a picture (its vector, projected to a few
prefix positions: what GRACE's first training step reads). AVG, GRACE and IRGen differ in identifiers and training, not in this model.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from avg.captions import CaptionBatch
from avg.decoding import Decoding, OwnDecoding, Source
from avg.packed import pack
from avg.precision import autocast
from avg.reader import Reader
from avg.settings import GeneratorSettings
from avg.t5_decoding import T5Decoding, is_t5

BACKBONE = "backbone"
"""Where a generator's folder holds the transformers model that it was made of."""


class Generator(nn.Module, ABC):
    """Writes identifiers of L tokens out of V.

    Attributes:
        decoder: a transformers decoder that takes `inputs_embeds` and attends to a source.
        tokens: V; token V starts an identifier.
        own_forward: whether the decoder is run by transformers' own forward alone: what recomputes activations or shards weights has its
            hooks there.
        reads_pixels: whether `picture_source` takes `pixels` rather than vectors.
        reads_words: whether `text_source` asks for a caption's words alone, and not for what the text tower says of them.
    """

    decoder: nn.Module
    tokens: int
    settings: GeneratorSettings
    stored: dict[str, Any]
    own_forward: bool = False
    reads_pixels: bool = False
    reads_words: bool = False

    @property
    def device(self) -> torch.device:
        """Where it computes; sources and states live there, captions and pictures are brought there."""
        return next(self.parameters()).device

    @abstractmethod
    def text_source(self, captions: CaptionBatch) -> Source:
        """Returns captions as a source."""

    @abstractmethod
    def picture_source(self, vectors_BD: Tensor) -> Source:
        """Returns pictures as a source: their vectors, projected to prefix positions."""

    def pixels(self, pictures: Sequence[Any]) -> Tensor:
        """Returns pictures as the model's own vision tower takes them; only where `reads_pixels`."""
        raise AssertionError("this generator reads vectors")

    @abstractmethod
    def embed(self, tokens: Tensor) -> Tensor:
        """Returns the embeddings of identifier tokens and of the start."""

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Returns the V logits of hidden states, float32."""

    @property
    def vocabulary(self) -> int:
        """How many words the model has, identifier tokens among them."""
        return self.tokens

    def whole_logits(self, hidden: Tensor) -> Tensor:
        """Returns the logits of all words of hidden states, float32."""
        return self.logits(hidden)

    @property
    def decoding(self) -> Decoding:
        """What runs the decoder."""
        decoder = self.decoder
        return T5Decoding(decoder) if is_t5(decoder) and not self.own_forward else OwnDecoding(decoder)

    def forward(self, source: Source, codes: Tensor) -> Tensor:
        """Returns the logits of every step given the true tokens before it, float32 (..., L, V).

        Args:
            codes: one identifier a source, (B, L), or M of them, (B, M, L).
        """
        before = torch.cat([torch.full_like(codes[..., :1], self.tokens), codes[..., :-1].clamp(min=0)], -1)
        with autocast(self.device):
            embeds = self.embed(before)
            several = codes.ndim == 3
            hidden_BMLW = self.decoding.teach(embeds if several else embeds[:, None], source)
            return self.logits(hidden_BMLW if several else hidden_BMLW[:, 0])

    def reader(self, source: Source, length: int, room: int = 0, whole_vocabulary: bool = False) -> Reader:
        """Returns the generator before these sources, ready to read identifiers.

        Args:
            length: of the longest identifier, in tokens.
            room: positions a query for which memory is laid out at once; more may come.
            whole_vocabulary: see `Reader`.
        """
        return Reader(self, self.begin(source, length, room), len(source.mask_BT), whole_vocabulary)

    def begin(self, source: Source, length: int, room: int) -> Any:
        """Returns the state before the first token, as `advance` takes it."""
        return self.decoding.begin(source, length, room)

    def advance(self, tokens_BMn: Tensor, state: Any, past_BMt: Tensor, ragged: bool) -> tuple[Tensor, Tensor]:
        """Returns hidden states after n tokens more of each beam, (B, M, n, W), and their positions' numbers; see `Decoding.advance`."""
        return self.decoding.advance(self.embed(tokens_BMn), state, past_BMt, ragged)

    def pack(self) -> None:
        """Lays weights out for searches on a CPU, see `avg.packed`; the generator can be neither trained nor saved afterwards."""
        pack(self.decoder)

    def _prefix(self, projection: nn.Linear, vectors_BD: Tensor, drop: float = 0.0) -> Source:
        """Returns picture or caption vectors, scaled to components near 1, projected to prefix positions."""
        unit_BD = nn.functional.normalize(vectors_BD.to(self.device), dim=-1) * vectors_BD.shape[-1] ** 0.5
        states_BTW = projection(nn.functional.dropout(unit_BD, drop)).unflatten(-1, (self.settings.prefix, -1))
        return Source(states_BTW, torch.ones(states_BTW.shape[:2], dtype=torch.bool, device=self.device))

    def recompute_activations(self) -> None:
        """Makes training keep no activations of the transformer's layers but compute them again for the gradient."""
        from transformers import PreTrainedModel

        self.own_forward = True
        for module in self.modules():
            if isinstance(module, PreTrainedModel) and module.supports_gradient_checkpointing:
                module.activation_checkpointing_enable()

    def save(self, folder: Path) -> None:
        settings = self.settings.model_dump(mode="json")
        if settings["backbone"]:
            settings["backbone"] = BACKBONE  # a copy of its own, so that the folder may move
        stored = {"settings": settings, "tokens": self.tokens, **self.stored}
        (folder / "generator.json").write_text(json.dumps(stored))
        save_file({name: value.contiguous() for name, value in self.own_weights().items()}, folder / "generator.safetensors")

    def own_weights(self) -> dict[str, Tensor]:
        """Returns the weights that `save` writes to `generator.safetensors`: all, but for a part that is saved in a format of its own."""
        return self.state_dict()


def fitted_rows(codebook_VE: Tensor, width: int) -> Tensor:
    """Returns codebook rows at the width of an embedding table, by a random orthogonal projection where the two differ, (V, width)."""
    if codebook_VE.shape[1] == width:
        return codebook_VE
    return codebook_VE @ nn.init.orthogonal_(torch.empty(width, codebook_VE.shape[1])).T
