"""The generator on a transformers encoder-decoder, T5 above all, whose vocabulary is extended by the vokens (§3.2).

B batch, T source tokens, W model width, V identifier tokens, D width of a picture vector.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from torch import Tensor, nn

from avg.backbone import TEXT_TOKENS, open_backbone, scaled_head
from avg.captions import CaptionBatch
from avg.decoding import Source
from avg.generator import BACKBONE, Generator, fitted_rows
from avg.packed import pack
from avg.precision import autocast
from avg.settings import GeneratorSettings


class Seq2SeqGenerator(Generator):
    """A checkpoint, or a new model of a configuration, with V rows more in its embedding table; encoder and decoder are trained whole.

    Args:
        settings: `backbone` is a folder with `config.json`, tokenizer files and, for a checkpoint, weights.
        tokens: V.
        vector_width: D.
        codebook_VE: rows to start the vokens' embeddings from; a random start where None.
        saved: whether the folder was written by `save`: its vocabulary ends with the V rows already.

    Raises:
        ValueError: if the folder holds no configuration or no tokenizer that transformers reads, or a model that this one cannot score.
    """

    reads_words = True

    def __init__(
        self,
        settings: GeneratorSettings,
        *,
        tokens: int,
        vector_width: int,
        codebook_VE: Tensor | None = None,
        saved: bool = False,
    ):
        super().__init__()
        from transformers import AutoModelForSeq2SeqLM

        if settings.lora_rank:
            raise ValueError(f"backbone {settings.backbone} is an encoder-decoder, which is trained whole: set lora_rank to 0")

        opened = open_backbone(Path(settings.backbone), AutoModelForSeq2SeqLM, "an encoder-decoder", settings.dropout)
        self.model, self.tokenizer = opened
        if scaled := scaled_head(self.model.config, self.model.get_decoder().config):
            raise ValueError(f"backbone {settings.backbone} changes its logits by {scaled}, which this generator does not know")
        if getattr(self.model.config, "decoder_start_token_id", None) is None:
            raise ValueError(f"backbone {settings.backbone} does not say how its decoder starts: set decoder_start_token_id in config.json")
        self.settings, self.tokens = settings, tokens
        self.stored = {"vector_width": vector_width}
        self.first = self._table.num_embeddings - (tokens if saved else 0)
        if not saved:
            self._resize(self.first + tokens)
        self.from_picture = nn.Linear(vector_width, self.width * settings.prefix)
        if codebook_VE is not None:
            self.copy_codebook(codebook_VE)

    def _resize(self, words: int) -> None:
        # mean_resizing would start the new rows near the mean of the old ones, which is neither a copy nor a random start
        self.model.resize_token_embeddings(words, mean_resizing=False)
        if self._table.num_embeddings != words:  # neither the encoder's table nor tied to the head
            self.model.get_decoder().resize_token_embeddings(words, mean_resizing=False)
        if len(self.model.get_output_embeddings().weight) != words:
            raise ValueError(f"backbone {self.settings.backbone} writes other words than it reads: take one with a single vocabulary")
        # transformers notes the new size in one place, and reads it in others when the folder is opened again
        parts: list[Any] = [self.model.config, *(getattr(self.model.config, name, None) for name in ("encoder", "decoder"))]
        for part in parts:
            if hasattr(part, "vocab_size"):
                part.vocab_size = words

    @property
    def decoder(self) -> nn.Module:  # type: ignore[override]
        # no attribute: its weights would stand twice in the state
        return self.model.get_decoder()

    @property
    def _table(self) -> nn.Embedding:
        """The embeddings of what the decoder writes; T5Gemma's encoder has a table of its own."""
        return self.model.get_decoder().get_input_embeddings()

    @property
    def width(self) -> int:
        """Of the source, what the encoder returns."""
        return self.model.get_input_embeddings().embedding_dim

    @torch.no_grad()
    def copy_codebook(self, codebook_VE: Tensor) -> None:
        """Starts the vokens' embeddings from codebook rows, scaled together to the spread of the model's own words."""
        table = self._table.weight
        rows_VW = fitted_rows(codebook_VE, table.shape[1])
        table[self.first :] = rows_VW / rows_VW.std() * table[: self.first].std()

    def text_source(self, captions: CaptionBatch) -> Source:
        words = self.tokenizer(list(captions.texts), padding=True, truncation=True, max_length=TEXT_TOKENS, return_tensors="pt")
        words = words.to(self.device)
        with autocast(self.device) if self.training else nullcontext():
            encoded = self.model.get_encoder()(input_ids=words["input_ids"], attention_mask=words["attention_mask"])
        return Source(encoded.last_hidden_state, words["attention_mask"].bool())

    def picture_source(self, vectors_BD: Tensor) -> Source:
        return self._prefix(self.from_picture, vectors_BD)

    def embed(self, tokens: Tensor) -> Tensor:
        start = self.model.config.decoder_start_token_id
        return self._table(torch.where(tokens == self.tokens, start, tokens + self.first))

    @property
    def vocabulary(self) -> int:
        return self.first + self.tokens

    def logits(self, hidden: Tensor) -> Tensor:
        return self._said(hidden, self.model.get_output_embeddings().weight[self.first :])

    def whole_logits(self, hidden: Tensor) -> Tensor:
        return self._said(hidden, self.model.get_output_embeddings().weight)

    def _said(self, hidden: Tensor, rows_XW: Tensor) -> Tensor:
        # T5 scales what it hands to an output head that was tied when it was pretrained; T5 v1.1's and Flan-T5's were not
        config = self.model.config
        scaled = getattr(config, "scale_decoder_outputs", config.model_type == "umt5" and config.tie_word_embeddings)
        return (hidden @ rows_XW.to(hidden.dtype).T * (rows_XW.shape[1] ** -0.5 if scaled else 1.0)).float()

    def pack(self) -> None:
        super().pack()
        pack(self.model.get_encoder())

    def save(self, folder: Path) -> None:
        """Writes model, tokenizer and projection, so that the folder needs the checkpoint that it came from no more."""
        super().save(folder)
        self.model.save_pretrained(folder / BACKBONE)
        self.tokenizer.save_pretrained(folder / BACKBONE)

    def own_weights(self) -> dict[str, Tensor]:
        return {f"from_picture.{name}": value for name, value in self.from_picture.state_dict().items()}
