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
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from avg.captions import CaptionBatch
from avg.decoding import Decoding, OwnDecoding, Source
from avg.packed import pack
from avg.padding import PAD
from avg.precision import autocast
from avg.reader import Reader
from avg.settings import OF_FROZEN_STATES, SHAPE, GeneratorSettings
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


class FrozenTextGenerator(Generator):
    """The default: a new T5 decoder over the frozen text tower's token states, before them the projected caption vector.

    Args:
        settings: shape.
        tokens: V.
        state_width, vector_width: H and D of the frozen encoder.
        codebook_VE: rows to start the tokens' embeddings from (the copied vokens of §3.2); a random start where None.
    """

    def __init__(self, settings: GeneratorSettings, *, tokens: int, state_width: int, vector_width: int, codebook_VE: Tensor | None = None):
        super().__init__()
        from transformers import T5Config
        from transformers.models.t5.modeling_t5 import T5Stack

        self.settings, self.tokens = settings, tokens
        self.stored = {"state_width": state_width, "vector_width": vector_width}
        width = settings.width
        config = T5Config(
            d_model=width,
            d_kv=width // settings.heads,
            d_ff=settings.feed_forward,
            num_layers=settings.layers,
            num_decoder_layers=settings.layers,
            num_heads=settings.heads,
            dropout_rate=settings.dropout,
            is_decoder=True,
            use_cache=True,
            is_encoder_decoder=False,
            vocab_size=1,
            eos_token_id=None,
            pad_token_id=0,
        )
        self.decoder = T5Stack(config)
        # the start token is row V
        self.embedding = nn.Embedding(tokens + 1, width)
        nn.init.normal_(self.embedding.weight, std=1.0)
        self.bias_V = nn.Parameter(torch.zeros(tokens))
        self.from_states = nn.Linear(state_width, width)
        self.from_caption = nn.Linear(vector_width, width * settings.prefix)
        self.from_picture = nn.Linear(vector_width, width * settings.prefix)
        if codebook_VE is not None:
            self.copy_codebook(codebook_VE)

    @torch.no_grad()
    def copy_codebook(self, codebook_VE: Tensor) -> None:
        """Starts the identifier tokens' embeddings from codebook rows, by a random orthogonal projection where widths differ.

        Rows are scaled together to the spread of a random start: relations between them are kept, and the softmax starts neither flat
        nor hard.
        """
        rows_VW = fitted_rows(codebook_VE, self.settings.width)
        self.embedding.weight[: self.tokens] = rows_VW / rows_VW.std()

    def text_source(self, captions: CaptionBatch) -> Source:
        captions = captions.to(self.device)
        drop = self.settings.source_dropout if self.training else 0.0
        states_BTW = self.from_states(nn.functional.dropout(captions.states_BTH, drop))
        if not self.settings.caption_vector:
            return Source(states_BTW, captions.mask_BT)
        prefix = self._prefix(self.from_caption, captions.vectors_BD, drop)
        return Source(torch.cat([prefix.states_BTW, states_BTW], 1), torch.cat([prefix.mask_BT, captions.mask_BT], 1))

    def picture_source(self, vectors_BD: Tensor) -> Source:
        return self._prefix(self.from_picture, vectors_BD, self.settings.source_dropout if self.training else 0.0)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        # tied embeddings, scaled as T5 does
        logits = hidden @ self.embedding.weight[: self.tokens].to(hidden.dtype).T * self.settings.width**-0.5
        return logits.float() + self.bias_V


def fitted_rows(codebook_VE: Tensor, width: int) -> Tensor:
    """Returns codebook rows at the width of an embedding table, by a random orthogonal projection where the two differ, (V, width)."""
    if codebook_VE.shape[1] == width:
        return codebook_VE
    return codebook_VE @ nn.init.orthogonal_(torch.empty(width, codebook_VE.shape[1])).T


def create(
    settings: GeneratorSettings, *, tokens: int, state_width: int, vector_width: int, codebook_VE: Tensor | None = None
) -> Generator:
    """Returns a new generator: over frozen text states, or on the transformers model in the folder `settings.backbone`."""
    if settings.backbone:
        from avg.backbone import generator_class

        cls = generator_class(Path(settings.backbone))
        return cls(settings, tokens=tokens, vector_width=vector_width, codebook_VE=codebook_VE)
    return FrozenTextGenerator(settings, tokens=tokens, state_width=state_width, vector_width=vector_width, codebook_VE=codebook_VE)


def load(folder: Path) -> Generator:
    """Returns a saved generator, in inference mode, on the CPU."""
    stored = json.loads((folder / "generator.json").read_text())
    given = stored["settings"]
    if given["backbone"]:  # a language model that was pretrained here brings the shape that it was given
        given = {name: value for name, value in given.items() if name not in SHAPE | OF_FROZEN_STATES}
    settings = GeneratorSettings(**given)
    if settings.backbone:
        from avg.backbone import generator_class

        here = settings.model_copy(update={"backbone": str(folder / BACKBONE)})
        cls = generator_class(folder / BACKBONE)
        generator: Generator = cls(here, tokens=stored["tokens"], vector_width=stored["vector_width"], saved=True)
    else:
        shape = {name: stored[name] for name in ("tokens", "state_width", "vector_width")}
        generator = FrozenTextGenerator(settings, **shape)
    weights = load_file(folder / "generator.safetensors")
    expected = set(generator.own_weights())
    if set(weights) != expected:
        raise ValueError(f"{folder} holds no weights of this generator: {sorted(expected ^ set(weights))[:3]} differ")
    generator.load_state_dict(weights, strict=False)
    return generator.eval()


def sequence_scores(logits_BLV: Tensor, codes_BL: Tensor) -> Tensor:
    """Returns the sum of log-probabilities of each identifier's tokens, (B,); what pads counts nothing."""
    kept_BL = codes_BL != PAD
    picked_BL = logits_BLV.log_softmax(-1).gather(-1, codes_BL.clamp(min=0)[..., None])[..., 0]
    return (picked_BL * kept_BL).sum(-1)


def generative_loss(logits_BLV: Tensor, codes_BL: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Returns Eq. 7 as a mean over the tokens of the batch."""
    return nn.functional.cross_entropy(logits_BLV.flatten(0, 1), codes_BL.flatten(), ignore_index=PAD, label_smoothing=label_smoothing)
