"""T5's decoder, run with the modules and weights of transformers' own stack and with the same result, for beams that share a source.

B queries, M sequences or beams, L tokens, n new tokens of a beam, t tokens before them, S room for positions, T source positions,
W model width, h heads, d width of a head.

Keys and values of the source are projected once a query, and all its beams attend to them at once. Keys and values of the identifier's
tokens stand where they were first written; a beam gathers those of its own past.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from torch import Tensor, nn

from avg.decoding import NONE, Decoding, Source, numbered, taken

KeysValues = tuple[Tensor, Tensor]


def is_t5(decoder: nn.Module) -> bool:
    """Says whether a decoder is T5's or mT5's, whose layers are the same."""
    from transformers.models.mt5.modeling_mt5 import MT5Stack
    from transformers.models.t5.modeling_t5 import T5Stack

    return isinstance(decoder, T5Stack | MT5Stack)


@dataclass(frozen=True)
class _Memory:
    """Keys and values of every layer's cross-attention, (B, 1, h, T, d), and 0 or -inf for each source position."""

    keys_values: list[KeysValues]
    bias_B111T: Tensor


@dataclass
class _Written:
    """The source, and keys and values, (B, S, h, d), of every layer's positions, `used` of which are written."""

    memory: _Memory
    bias_hLL: Tensor
    room: int
    keys_values: list[KeysValues] = field(default_factory=list)
    used: int = 0


class T5Decoding(Decoding):
    """T5's decoder; see the top of the file."""

    def __init__(self, stack: Any):
        self.stack, self.heads = stack, stack.config.num_heads

    def teach(self, embeds_BMLW: Tensor, source: Source) -> Tensor:
        bias_hLL = self._positions(embeds_BMLW.shape[2])
        memory, hidden_BMLW = self._read(source), self.stack.dropout(embeds_BMLW)
        for block, kept in zip(self.stack.block, memory.keys_values, strict=True):
            hidden_BMLW, _ = self._block(block, hidden_BMLW, None, bias_hLL, kept, memory.bias_B111T)
        return self.stack.dropout(self.stack.final_layer_norm(hidden_BMLW))

    def begin(self, source: Source, length: int, room: int = 0) -> _Written:
        return _Written(self._read(source), self._positions(length), room)

    def advance(self, embeds_BMnW: Tensor, state: _Written, past_BMt: Tensor, ragged: bool = False) -> tuple[Tensor, Tensor]:
        batch, beams, new = embeds_BMnW.shape[:3]
        first, last = state.used, state.used + beams * new
        bias = self._ragged(state.bias_hLL, past_BMt, new) if ragged else self._after(state.bias_hLL, past_BMt.shape[2], new)
        hidden_BMnW = embeds_BMnW
        for number, block in enumerate(self.stack.block):
            past: KeysValues | None = None
            if past_BMt.shape[2]:
                # (B, M, t, h, d) -> (B, M, h, t, d)
                keys, values = (taken(kept_BShd, past_BMt).transpose(2, 3) for kept_BShd in state.keys_values[number])
                past = keys, values
            memory = state.memory
            hidden_BMnW, now = self._block(block, hidden_BMnW, past, bias, memory.keys_values[number], memory.bias_B111T)
            if number == len(state.keys_values):
                shape = (batch, max(state.room, last), *now[0].shape[2:3], now[0].shape[4])
                state.keys_values.append((now[0].new_empty(shape), now[1].new_empty(shape)))
            state.keys_values[number] = self._kept(state.keys_values[number], now, first, last)
        state.used = last
        return self.stack.final_layer_norm(hidden_BMnW), numbered(first, beams, new, embeds_BMnW.device)

    @staticmethod
    def _kept(kept: KeysValues, now: KeysValues, first: int, last: int) -> KeysValues:
        """Writes the new tokens' (B, M, h, n, d) keys and values, into more room where there is none left."""
        found = []
        for kept_BShd, now_BMhnd in zip(kept, now, strict=True):
            room = kept_BShd.shape[1]
            if last > room:
                kept_BShd = torch.cat([kept_BShd, kept_BShd.new_empty(len(kept_BShd), max(room, last - room), *kept_BShd.shape[2:])], 1)
            kept_BShd[:, first:last] = now_BMhnd.transpose(2, 3).flatten(1, 2)
            found.append(kept_BShd)
        return found[0], found[1]

    def _read(self, source: Source) -> _Memory:
        states_B1TW = source.states_BTW[:, None]
        crosses = [block.layer[1].EncDecAttention for block in self.stack.block]
        keys_values = [(self._split(cross.k(states_B1TW)), self._split(cross.v(states_B1TW))) for cross in crosses]
        bias_BT = torch.zeros(source.mask_BT.shape, device=source.mask_BT.device).masked_fill(~source.mask_BT, float("-inf"))
        return _Memory(keys_values, bias_BT[:, None, None, None])

    def _positions(self, length: int) -> Tensor:
        """Returns the relative position bias, -inf where a token would see a later one, (h, L, L)."""
        attention = self.stack.block[0].layer[0].SelfAttention  # T5 learns one, in its first layer, for all of them
        device = self.stack.final_layer_norm.weight.device
        unseen_LL = torch.full((length, length), float("-inf"), device=device).triu(1)
        return attention.compute_bias(length, length, device=device)[0] + unseen_LL

    @staticmethod
    def _after(bias_hLL: Tensor, before: int, new: int) -> Tensor:
        return bias_hLL[:, before : before + new, : before + new]

    @staticmethod
    def _ragged(bias_hLL: Tensor, past_BMt: Tensor, new: int) -> Tensor:
        """Returns the bias of beams of differing lengths, (B, M, h, n, t + n)."""
        before, device = past_BMt.shape[2], past_BMt.device
        length_BM1 = (past_BMt != NONE).sum(2, keepdim=True)
        query_BMn = length_BM1 + torch.arange(new, device=device)
        key_BMs = torch.cat([torch.arange(before, device=device).expand(*past_BMt.shape), query_BMn], 2)
        bias_hBMns = bias_hLL[:, query_BMn[..., :, None], key_BMs[..., None, :]]
        filled_BMs = nn.functional.pad(past_BMt == NONE, (0, new))
        return bias_hBMns.masked_fill(filled_BMs[..., None, :], float("-inf")).permute(1, 2, 0, 3, 4)

    def _block(
        self, block: Any, hidden_BMLW: Tensor, past: KeysValues | None, bias: Tensor, kept: KeysValues, mask: Tensor
    ) -> tuple[Tensor, KeysValues]:
        own, cross = block.layer[0], block.layer[1]
        normed_BMLW, attention = own.layer_norm(hidden_BMLW), own.SelfAttention
        now = self._split(attention.k(normed_BMLW)), self._split(attention.v(normed_BMLW))
        keys, values = now if past is None else (torch.cat([past[0], now[0]], 3), torch.cat([past[1], now[1]], 3))
        read = self._attend(attention, self._split(attention.q(normed_BMLW)), keys, values, bias)
        hidden_BMLW = hidden_BMLW + own.dropout(attention.o(read.transpose(2, 3).flatten(3)))

        attention, shape = cross.EncDecAttention, hidden_BMLW.shape[1:3]
        # to the source all tokens of all beams are one row of queries: (B, 1, h, M * L, d)
        queries = self._split(attention.q(cross.layer_norm(hidden_BMLW)).flatten(1, 2)[:, None])
        read = self._attend(attention, queries, kept[0], kept[1], mask)
        read_BMLW = read.transpose(2, 3).flatten(3).unflatten(2, shape)[:, 0]
        hidden_BMLW = hidden_BMLW + cross.dropout(attention.o(read_BMLW))
        return block.layer[2](hidden_BMLW), now

    def _split(self, projected: Tensor) -> Tensor:
        """(B, M, L, W) -> (B, M, h, L, d)"""
        return projected.unflatten(-1, (self.heads, -1)).transpose(2, 3)

    def _attend(self, attention: Any, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        # T5 does not scale; its weights are computed in float32
        weights = (queries @ keys.transpose(-1, -2)).float() + bias
        weights = nn.functional.dropout(weights.softmax(-1).to(values.dtype), attention.dropout, self.stack.training)
        return weights @ values
