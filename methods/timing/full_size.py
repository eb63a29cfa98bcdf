"""Models of the paper's shapes with random weights, for timing: what they answer means nothing, how long it takes does not depend on it.

Q queries, T tokens, D vector width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before open_clip and transformers)

import numpy as np
import torch
from transformers import BlipConfig, BlipForImageTextRetrieval, CLIPTextConfig, CLIPTextModelWithProjection

from avg.captions import CaptionBatch
from avg.decoding import Source
from avg.precision import autocast, device
from avg.reader import Reader
from baselines.blip import BLIP
from baselines.blip_checkpoint import BLIP_HEADS, bert_tokenizer
from methods.avg import AVG
from methods.dense import unit
from methods.machine import product_format
from methods.timing.decoders import Decoders
from methods.timing.made_galleries import LENGTH
from methods.timing.serving import Models, Pairs
from methods.timing.shapes import BLIP_BASE, BLIP_TINY, T5, TEXT_TINY, VIT_L_TEXT

BLIP_PIXELS, BLIP_PIXELS_TINY = 384, 32
PICTURES = 16
"""Whose hidden states a cross-encoder with random weights is given."""


class TextTower:
    """CLIP's text tower, alone: pictures are encoded before any query comes.

    It reads no padding that a whole batch has: attention is causal and the vector is the end token's, which sees nothing after it.
    """

    def __init__(self, shape: Mapping[str, Any]):
        import open_clip

        torch.manual_seed(0)
        self.model = CLIPTextModelWithProjection(CLIPTextConfig(hidden_act="quick_gelu", **shape)).eval().to(device())
        self.tokenize = open_clip.get_tokenizer("ViT-L-14-336")

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns unit vectors, float32 (Q, D)."""
        tokens_QT = self.tokenize(list(texts))
        longest = int(tokens_QT.argmax(1).max()) + 1  # the end token has the highest number
        with autocast():
            vectors_QD = self.model(input_ids=tokens_QT[:, :longest].to(self.model.device)).text_embeds
        return unit(vectors_QD.float().cpu().numpy())


class BackboneAVG(AVG):
    """AVG on a transformers encoder-decoder, which reads captions itself: its encoder's states are what `encode` gives.

    The towers, which such a generator does not ask, are not there; nor are fitted parts.
    """

    def __init__(self, generator: Any):
        super().__init__()
        self.generator = generator

    def encode(self, queries: Sequence[str]) -> Source:  # type: ignore[override]
        with torch.inference_mode():
            return self.generator.text_source(CaptionBatch.of_texts(queries))

    def _reader(self, encoded: Source, room: int = 0) -> Reader:  # type: ignore[override]
        with torch.inference_mode():
            return self.generator.reader(encoded, self._trie.length, room)


def models(tiny: bool = False) -> Models:
    """Returns models of the paper's shapes: T5-base as generator of AVG and of GRACE, ViT-L/14-336's text tower, no real gallery."""
    tower = TextTower(TEXT_TINY if tiny else VIT_L_TEXT)
    generator = Decoders(T5["tiny" if tiny else "t5-base"], dtype=product_format()).generator
    width = tower.model.config.projection_dim
    nothing_RL = np.empty((0, LENGTH), np.int64)
    return Models(tower, np.empty((0, width), np.float32), BackboneAVG(generator), nothing_RL, BackboneAVG(generator))


def blip(tiny: bool = False) -> Pairs:
    """Returns pairs of BLIP's shape (ViT-B of 384 px and a text tower of BERT-base's) over states of random pictures."""
    pixels = BLIP_PIXELS_TINY if tiny else BLIP_PIXELS
    text = {**(BLIP_TINY if tiny else BLIP_BASE), "num_attention_heads": BLIP_HEADS, "vocab_size": 30_524, "max_position_embeddings": 512}
    # a vision tower of one layer: its states are drawn, and only their shape is asked of it
    vision = {"hidden_size": 64 if tiny else 768, "num_attention_heads": 1 if tiny else 12, "num_hidden_layers": 1}
    torch.manual_seed(0)
    config = BlipConfig(
        image_text_hidden_size=256,
        vision_config={**vision, "intermediate_size": 64, "image_size": pixels, "patch_size": 16},
        text_config=text,
    )
    with TemporaryDirectory() as name:
        BlipForImageTextRetrieval(config).save_pretrained(name)
        bert_tokenizer().save_pretrained(name)
        _preprocessing(Path(name), pixels)
        matcher = BLIP(Path(name))
    states_UPH = np.random.default_rng(0).standard_normal((PICTURES, (pixels // 16) ** 2 + 1, vision["hidden_size"])).astype(np.float16)
    matcher.use_states(states_UPH)
    return Pairs.of_index(matcher, states_UPH)


def _preprocessing(folder: Path, pixels: int) -> None:
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    BlipImageProcessorPil(size={"height": pixels, "width": pixels}).save_pretrained(folder)
