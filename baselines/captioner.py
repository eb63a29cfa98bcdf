"""Captions of pictures by BLIP's captioning model, for pseudo-queries.

B pictures, n captions of each, R = B * n rows of a batch, S steps, P patches and the class token, H width of a vision state, V words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import avg.torchvision_schema  # noqa: F401  (before transformers, which may import torchvision)

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import BlipForConditionalGeneration, LogitsProcessor, LogitsProcessorList, TopPLogitsWarper
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from avg.precision import autocast, device
from avg.tokenizer_files import opened
from baselines.blip import Precision, loaded, pixel_batch

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPT = "a picture of "  # BLIP's captioners are trained behind it (salesforce/BLIP, configs/caption_coco.yaml)
TOP_P, LONGEST, SHORTEST, REPETITION = 0.9, 30, 10, 1.1  # nucleus sampling as in LAVIS's BlipCaption.generate; lengths with the prompt


class Captioner:
    """`BlipForConditionalGeneration`, e.g. `Salesforce/blip-image-captioning-base`, sampling.

    Args:
        folder: a checkpoint in transformers' format.
        precision: of the products. In `float32` a picture's captions are the same in any batch; `fast` rounds differently for
            differing batches, which now and then is another word.

    Raises:
        ValueError: if the folder holds another model, or lacks weights of this one.
    """

    def __init__(self, folder: Path, precision: Precision = "float32"):
        self.device = device()
        self.model = loaded(BlipForConditionalGeneration, folder).to(self.device)
        self.tokenizer = opened(folder)
        self.process = BlipImageProcessorPil.from_pretrained(folder, local_files_only=True)
        self.fast = precision == "fast"

    @torch.inference_mode()
    def captions(self, pictures: Iterable[Image], count: int, n: int, seed: int, batch: int = 16) -> list[list[str]]:
        """Returns n sampled captions of each picture, in the pictures' order.

        What is drawn depends on the picture's content, `seed` and the caption's number, not on other pictures or their order.
        """
        captions: list[list[str]] = []
        waiting: list[Image] = []
        for picture in tqdm(pictures, total=count, desc="captioning", unit="img", leave=False, disable=None):
            waiting.append(picture)
            if len(waiting) == batch:
                captions += self._batch(waiting, n, seed)
                waiting = []
        return captions + (self._batch(waiting, n, seed) if waiting else [])

    def _batch(self, pictures: Sequence[Image], n: int, seed: int) -> list[list[str]]:
        text = self.model.config.text_config
        prompt = self.tokenizer(PROMPT.strip(), return_tensors="pt").input_ids[:, :-1]  # without [SEP]: the sentence goes on
        prompt[:, 0] = text.bos_token_id
        uniform_RS = np.stack([uniforms(picture, seed, caption, LONGEST) for picture in pictures for caption in range(n)])
        with autocast(self.device.type) if self.fast else nullcontext():
            states_BPH = self.model.vision_model(pixel_values=pixel_batch(self.process, pictures).to(self.device)).last_hidden_state
            tokens_RT = self.model.text_decoder.generate(
                input_ids=prompt.expand(len(uniform_RS), -1).to(self.device),
                encoder_hidden_states=states_BPH.repeat_interleave(n, dim=0),
                eos_token_id=text.sep_token_id,
                pad_token_id=text.pad_token_id,
                max_length=LONGEST,
                min_length=SHORTEST,
                repetition_penalty=REPETITION,
                num_beams=1,
                do_sample=False,  # the last processor has drawn: it leaves one word
                logits_processor=LogitsProcessorList([TopPLogitsWarper(TOP_P), Drawn(uniform_RS, prompt.shape[1])]),
            )
        texts = self.tokenizer.batch_decode(tokens_RT[:, prompt.shape[1] :], skip_special_tokens=True)
        return [[text.strip() for text in texts[start : start + n]] for start in range(0, len(texts), n)]


class Drawn(LogitsProcessor):
    """Leaves the one word of each row that its own uniform number of this step picks, by the inverse of the cumulative probability.

    transformers' sampling draws all rows from one global generator, so that a caption would depend on the batch it stands in.
    """

    def __init__(self, uniform_RS: np.ndarray, prompt_length: int):
        self.uniform_RS, self.prompt_length = torch.from_numpy(uniform_RS), prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        uniform_R = self.uniform_RS[:, input_ids.shape[1] - self.prompt_length].to(scores.device)
        cumulative_RV = scores.double().softmax(-1).cumsum(-1)
        # `right`: a word of probability zero is never picked, not even by a zero
        word_R = torch.searchsorted(cumulative_RV, (uniform_R * cumulative_RV[:, -1])[:, None], right=True)
        return torch.full_like(scores, float("-inf")).scatter(1, word_R, 0.0)


def uniforms(picture: Image, seed: int, caption: int, steps: int) -> np.ndarray:
    """Returns numbers in [0, 1) that depend on a picture's content, the seed and the caption's number, (S,)."""
    picture = picture.convert("RGB")
    digest = hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).digest()
    return np.random.default_rng([seed, caption, *np.frombuffer(digest, np.uint32).tolist()]).random(steps)
