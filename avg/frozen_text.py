"""The default generator: a new T5 decoder over the frozen text tower's states.

B batch, T source positions, H width of a frozen text state, D width of a picture or caption vector, W width of the decoder,
E width of a codebook's rows, V identifier tokens.
"""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from torch import Tensor, nn

from avg.captions import CaptionBatch
from avg.decoding import Source
from avg.generator import Generator, fitted_rows
from avg.settings import GeneratorSettings


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
