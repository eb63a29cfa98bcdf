"""How a transformers decoder is run for M sequences a source: any decoder through its own forward and cache, T5's more cheaply.

B batch, M sequences or beams, L tokens, T source positions, W model width, h heads, d width of a head, t tokens so far.

Beams of one query read the same source. `T5Decoding` projects its keys and values once a query and attends to them with all beams at once;
`CachedDecoding`, which works for any decoder, must repeat them for every beam.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Source:
    """What the decoder attends to: (B, T, W) vectors and (B, T) True where there is one."""

    states_BTW: Tensor
    mask_BT: Tensor


class Decoding(ABC):
    """Runs a decoder. What `begin` returns belongs to it, and is changed by every `advance`."""

    @abstractmethod
    def teach(self, embeds_BMLW: Tensor, source: Source) -> Tensor:
        """Returns the hidden states of whole sequences, each position seeing those before it, (B, M, L, W)."""

    @abstractmethod
    def begin(self, source: Source) -> Any:
        """Returns the state of one empty beam a query."""

    @abstractmethod
    def advance(self, embeds_BMW: Tensor, state: Any, parents_BM: Tensor) -> Tensor:
        """Returns the hidden states of one token more, (B, M, W).

        Args:
            parents_BM: which beam of the state each new beam continues.
        """


def of(decoder: nn.Module) -> Decoding:
    """Returns what runs a decoder."""
    from transformers.models.t5.modeling_t5 import T5Stack

    return T5Decoding(decoder) if isinstance(decoder, T5Stack) else CachedDecoding(decoder)


def flat_parents(parents_BM: Tensor, beams: int) -> Tensor:
    """Returns the rows, among all queries' beams end to end, that new beams continue, (B * M,)."""
    return (torch.arange(len(parents_BM), device=parents_BM.device)[:, None] * beams + parents_BM).flatten()


@dataclass
class _Cached:
    cache: Any
    source: Source
    beams: int


class CachedDecoding(Decoding):
    """A decoder that takes `inputs_embeds`, attends to a source and keeps a transformers cache."""

    def __init__(self, decoder: nn.Module):
        self.decoder = decoder

    def teach(self, embeds_BMLW: Tensor, source: Source) -> Tensor:
        batch, beams = embeds_BMLW.shape[:2]
        hidden_XLW = self.decoder(
            inputs_embeds=embeds_BMLW.flatten(0, 1),
            encoder_hidden_states=source.states_BTW.repeat_interleave(beams, 0),
            encoder_attention_mask=source.mask_BT.repeat_interleave(beams, 0).long(),
            use_cache=False,
        ).last_hidden_state
        return hidden_XLW.unflatten(0, (batch, beams))

    def begin(self, source: Source) -> _Cached:
        from transformers import DynamicCache, EncoderDecoderCache

        return _Cached(EncoderDecoderCache(DynamicCache(), DynamicCache()), source, 1)

    def advance(self, embeds_BMW: Tensor, state: _Cached, parents_BM: Tensor) -> Tensor:
        if state.cache.get_seq_length():
            rows_X = flat_parents(parents_BM, state.beams)
            state.cache.self_attention_cache.reorder_cache(rows_X)
            if state.beams != parents_BM.shape[1]:
                # beams of one query share its source, so its keys are copied when their number changes, and not moved when beams are
                state.cache.cross_attention_cache.reorder_cache(rows_X)
                state.source = Source(state.source.states_BTW[rows_X], state.source.mask_BT[rows_X])
        state.beams = parents_BM.shape[1]
        hidden_X1W = self.decoder(
            inputs_embeds=embeds_BMW.flatten(0, 1)[:, None],
            encoder_hidden_states=state.source.states_BTW,
            encoder_attention_mask=state.source.mask_BT.long(),
            past_key_values=state.cache,
            use_cache=True,
        ).last_hidden_state
        return hidden_X1W.unflatten(0, parents_BM.shape)[:, :, 0]


KeysValues = tuple[Tensor, Tensor]


def _taken(kept_BMhtd: Tensor, rows_X: Tensor, parents_BM: Tensor) -> Tensor:
    return kept_BMhtd.flatten(0, 1)[rows_X].unflatten(0, parents_BM.shape)


@dataclass(frozen=True)
class _Memory:
    """Keys and values of every layer's cross-attention, (B, 1, h, T, d), and 0 or -inf for each source position."""

    keys_values: list[KeysValues]
    bias_B111T: Tensor


@dataclass
class _Beams:
    """The source, and keys and values of every layer's self-attention so far, (B, M, h, t, d)."""

    memory: _Memory
    keys_values: list[KeysValues]


class T5Decoding(Decoding):
    """T5's decoder, with the modules and weights of transformers' `T5Stack` and the same result."""

    def __init__(self, stack: Any):
        self.stack, self.heads = stack, stack.config.num_heads

    def teach(self, embeds_BMLW: Tensor, source: Source) -> Tensor:
        length = embeds_BMLW.shape[2]
        unseen_LL = torch.full((length, length), float("-inf"), device=embeds_BMLW.device).triu(1)
        bias_hLL = self._positions(length) + unseen_LL
        memory, hidden_BMLW = self._read(source), self.stack.dropout(embeds_BMLW)
        for block, kept in zip(self.stack.block, memory.keys_values, strict=True):
            hidden_BMLW, _ = self._block(block, hidden_BMLW, None, bias_hLL, kept, memory.bias_B111T)
        return self.stack.dropout(self.stack.final_layer_norm(hidden_BMLW))

    def begin(self, source: Source) -> _Beams:
        return _Beams(self._read(source), [])

    def advance(self, embeds_BMW: Tensor, state: _Beams, parents_BM: Tensor) -> Tensor:
        hidden_BM1W, kept = embeds_BMW[:, :, None], []
        depth = state.keys_values[0][0].shape[3] if state.keys_values else 0
        bias_h1t = self._positions(depth + 1)[:, -1:]
        for number, block in enumerate(self.stack.block):
            past: KeysValues | None = None
            if depth:
                keys, values = state.keys_values[number]
                rows_X = flat_parents(parents_BM, keys.shape[1])
                past = _taken(keys, rows_X, parents_BM), _taken(values, rows_X, parents_BM)
            memory = state.memory
            hidden_BM1W, now = self._block(block, hidden_BM1W, past, bias_h1t, memory.keys_values[number], memory.bias_B111T)
            kept.append(now)
        state.keys_values = kept
        return self.stack.final_layer_norm(hidden_BM1W)[:, :, 0]

    def _read(self, source: Source) -> _Memory:
        states_B1TW = source.states_BTW[:, None]
        crosses = [block.layer[1].EncDecAttention for block in self.stack.block]
        keys_values = [(self._split(cross.k(states_B1TW)), self._split(cross.v(states_B1TW))) for cross in crosses]
        bias_BT = torch.zeros(source.mask_BT.shape, device=source.mask_BT.device).masked_fill(~source.mask_BT, float("-inf"))
        return _Memory(keys_values, bias_BT[:, None, None, None])

    def _positions(self, length: int) -> Tensor:
        """Returns the relative position bias, (h, L, L): T5 learns one, in its first layer, for all of them."""
        attention = self.stack.block[0].layer[0].SelfAttention
        return attention.compute_bias(length, length, device=self.stack.final_layer_norm.weight.device)[0]

    def _block(
        self, block: Any, hidden_BMLW: Tensor, past: KeysValues | None, bias: Tensor, kept: KeysValues, mask: Tensor
    ) -> tuple[Tensor, KeysValues]:
        own, cross = block.layer[0], block.layer[1]
        normed_BMLW, attention = own.layer_norm(hidden_BMLW), own.SelfAttention
        keys, values = self._split(attention.k(normed_BMLW)), self._split(attention.v(normed_BMLW))
        if past is not None:
            keys, values = torch.cat([past[0], keys], 3), torch.cat([past[1], values], 3)
        read = self._attend(attention, self._split(attention.q(normed_BMLW)), keys, values, bias)
        hidden_BMLW = hidden_BMLW + own.dropout(attention.o(read.transpose(2, 3).flatten(3)))

        attention, shape = cross.EncDecAttention, hidden_BMLW.shape[1:3]
        # to the source all tokens of all beams are one row of queries: (B, 1, h, M * L, d)
        queries = self._split(attention.q(cross.layer_norm(hidden_BMLW)).flatten(1, 2)[:, None])
        read = self._attend(attention, queries, kept[0], kept[1], mask)
        read_BMLW = read.transpose(2, 3).flatten(3).unflatten(2, shape)[:, 0]
        hidden_BMLW = hidden_BMLW + cross.dropout(attention.o(read_BMLW))
        return block.layer[2](hidden_BMLW), (keys, values)

    def _split(self, projected: Tensor) -> Tensor:
        """(B, M, L, W) -> (B, M, h, L, d)"""
        return projected.unflatten(-1, (self.heads, -1)).transpose(2, 3)

    def _attend(self, attention: Any, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        # T5 does not scale; its weights are computed in float32
        weights = (queries @ keys.transpose(-1, -2)).float() + bias
        weights = nn.functional.dropout(weights.softmax(-1).to(values.dtype), attention.dropout, self.stack.training)
        return weights @ values
