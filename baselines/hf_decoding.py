"""Constrained generation by transformers' `generate`, as AVG's code was released: `prefix_allowed_tokens_fn` over a prefix tree in Python.

Q queries, T source tokens, M beams, N codes, L code length. Voken v is token `first + v` of the model's vocabulary.

What this costs beside a search of one's own: `generate` asks Python for the children of every beam at every step, masks the whole
vocabulary with them, and keeps a copy of those (Q * M, vocabulary) scores for each of the L steps.
"""

from __future__ import annotations

from typing import Protocol

import avg.torchvision_schema  # noqa: F401  (before transformers)

import marisa_trie
import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from avg.padding import PAD

# `generate` starts beams 2 to M at a score of -1e9, and a sum of log-probabilities never gets near
DEAD = -5e8


class PrefixTree(Protocol):
    """The codes of a gallery, as tokens of the model's vocabulary."""

    first: int
    length: int

    def allowed(self, prefix: list[int]) -> list[int]:
        """Returns the tokens that follow this beginning of a code, in any order; none after a whole code or after what begins none."""


class DictionaryTree:
    """A dictionary of dictionaries, a level for each token.

    Args:
        codes_NL: vokens from 0, int; repeats allowed.
        first: the token that voken 0 is.

    Raises:
        ValueError: if there are no codes, or a code is shorter than L.
    """

    def __init__(self, codes_NL: np.ndarray, first: int):
        tokens_NL = _tokens(codes_NL, first)
        self.first, self.length = first, tokens_NL.shape[1]
        self.root: dict = {}
        for tokens in tokens_NL.tolist():
            node = self.root
            for token in tokens:
                node = node.setdefault(token, {})

    def allowed(self, prefix: list[int]) -> list[int]:
        node = self.root
        for token in prefix:
            if token not in node:
                return []
            node = node[token]
        return list(node)


class MarisaTree:
    """A succinct trie of strings, one character a token, as GENRE's (De Cao et al. 2021).

    The trie lists whole strings only, so the children of a prefix are the next characters of all codes that begin with it: a step costs as
    much as the subtree has codes. The first level, which would cost N for every query, is worked out once.

    Args, errors: as of `DictionaryTree`.
    """

    def __init__(self, codes_NL: np.ndarray, first: int):
        tokens_NL = _tokens(codes_NL, first)
        self.first, self.length = first, tokens_NL.shape[1]
        self.trie = marisa_trie.Trie("".join(map(_character, tokens)) for tokens in tokens_NL.tolist())
        self.roots = np.unique(tokens_NL[:, 0]).tolist()

    def allowed(self, prefix: list[int]) -> list[int]:
        if not prefix:
            return list(self.roots)
        depth = len(prefix)
        following = {code[depth] for code in self.trie.keys("".join(map(_character, prefix))) if len(code) > depth}
        return [_token(character) for character in following]


class HfDecoder:
    """Beam search by `model.generate`, constrained to the codes of a tree.

    Codes have one length, so there is no end-of-sequence token to generate: `generate` is told of none, which is the only way that it
    neither ends a beam early nor keeps places for ended ones, and stops after exactly L tokens. Padding cannot occur then.
    Summed log-probabilities are not divided by the length (`length_penalty=0`), which would change scores but no order.

    Args:
        model: an encoder-decoder; is put into evaluation mode.
        tree: the codes of the gallery.
        beams: M.
        use_cache: whether the decoder keeps keys and values of earlier steps, or runs over the whole prefix at each.
    """

    def __init__(self, model: PreTrainedModel, tree: PrefixTree, beams: int, use_cache: bool = True):
        if beams < 1:
            raise ValueError(f"beams is {beams}: set at least 1")
        self.model, self.tree, self.beams, self.use_cache = model.eval(), tree, beams, use_cache

    def __call__(self, input_ids_QT: Tensor, attention_mask_QT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns codes, best first, int64 (Q, M, L), and scores float32 (Q, M), on the model's device.

        A score is the sum of the tokens' log-probabilities, each normalised over the whole vocabulary. Where the gallery has fewer than M
        codes, codes are -1 and scores -inf.
        """
        queries, length = len(input_ids_QT), self.tree.length
        kept = self.model.generation_config
        # A checkpoint's own defaults would join in: BART forces an end and forbids n-grams to be repeated. What is not set here is off.
        self.model.generation_config = GenerationConfig(decoder_start_token_id=self.model.config.decoder_start_token_id)
        try:
            found = self.model.generate(
                input_ids=input_ids_QT.to(self.model.device),
                attention_mask=attention_mask_QT.to(self.model.device),
                prefix_allowed_tokens_fn=self._allowed,
                num_beams=self.beams,
                num_return_sequences=self.beams,
                min_new_tokens=length,
                max_new_tokens=length,
                length_penalty=0.0,
                do_sample=False,
                use_cache=self.use_cache,
                return_dict_in_generate=True,
                output_scores=self.beams > 1,  # without them `generate` keeps its beams' sums to itself
                output_logits=self.beams == 1,
            )
        finally:
            self.model.generation_config = kept
        tokens_QML = found.sequences[:, 1:].reshape(queries, self.beams, length)
        scores_QM = found.sequences_scores.reshape(queries, self.beams) if self.beams > 1 else _greedy_scores(found.logits, tokens_QML)
        dead_QM = scores_QM < DEAD
        codes_QML = (tokens_QML - self.tree.first).masked_fill(dead_QM[..., None], PAD)
        return codes_QML, scores_QM.masked_fill(dead_QM, float("-inf"))

    def _allowed(self, query: int, tokens: Tensor) -> list[int]:
        return self.tree.allowed(tokens.tolist()[1:])  # after the token that starts the decoder


def _greedy_scores(logits: tuple[Tensor, ...], tokens_Q1L: Tensor) -> Tensor:
    """Returns the scores (Q, 1) of what `generate` found with one beam, where it takes another path that sums up nothing."""
    logs_QLV = torch.stack(logits, 1).float().log_softmax(-1)
    return logs_QLV.gather(-1, tokens_Q1L[:, 0, :, None]).sum((1, 2))[:, None]


def _tokens(codes_NL: np.ndarray, first: int) -> np.ndarray:
    codes_NL = np.asarray(codes_NL, np.int64)
    if codes_NL.ndim != 2 or not codes_NL.size or codes_NL.min() < 0:
        raise ValueError(f"codes of shape {codes_NL.shape} are not (N, L) vokens from 0 without padding: give codes of one length")
    return codes_NL + first


# UTF-8 has no place for the 2,048 surrogates from 0xD800 on: what lies beyond is moved up by as many
def _character(token: int) -> str:
    return chr(token if token < 0xD800 else token + 0x800)


def _token(character: str) -> int:
    return ord(character) if ord(character) < 0xD800 else ord(character) - 0x800
