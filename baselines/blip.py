"""BLIP's retrieval model through transformers: vectors that compare (ITC) and a cross-encoder that matches pairs (ITM).

B pictures or captions, K pairs, T token positions, P patches and the class token, H width of a vision state, D width of the shared space.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import avg.torchvision_schema  # noqa: F401  (before transformers, which may import torchvision)

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from avg.precision import autocast, device, fast_dtype
from avg.tokenizer_files import opened
from baselines.blip_checkpoint import BLIP_HEADS, MAX_TOKENS, enc_token_id
from baselines.blip_text import prepared

if TYPE_CHECKING:
    from PIL.Image import Image

PAIRS = 128  # at a time in the cross-encoder: BLIP's own shortlist
Precision = Literal["fast", "float32"]


class BLIP:
    """`BlipForImageTextRetrieval` with its preprocessing and tokenizer, in inference mode (Li et al. 2022).

    Args:
        folder: a checkpoint in transformers' format, as `Salesforce/blip-itm-base-flickr` is, or as `blip_checkpoint.convert` writes it.
        precision: `fast` computes the towers in bfloat16 where the hardware does; projections and the matching head are always float32,
            since their outputs decide ranks.
        enc_token: let a caption that is matched begin with `[ENC]`, as BLIP was trained and as LAVIS does. transformers' own forward
            leaves `[CLS]` there, which gives other scores.

    Raises:
        ValueError: if the folder holds another model, or lacks weights of this one.
    """

    def __init__(self, folder: Path, precision: Precision = "fast", enc_token: bool = True):
        from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

        self.device = device()
        self.model = loaded(model_class(folder), folder).to(self.device)
        self.tokenizer = opened(folder)
        self.process = BlipImageProcessorPil.from_pretrained(folder, local_files_only=True)
        self.enc_token = enc_token_id(self.tokenizer, self.model.config) if enc_token else None
        self.fast = precision == "fast"
        dtype = fast_dtype(str(self.device)) if self.fast else torch.float32
        self.precision = f"{str(dtype).removeprefix('torch.')} towers, float32 scores"

    @torch.inference_mode()
    def picture_batches(self, pictures: Iterable[Image], count: int, batch: int = 32) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields unit vectors for ITC, float32 (B, D), and hidden states for ITM, float16 (B, P, H), of pictures in their order."""
        for pixels_BCHW in self._pixels(pictures, count, batch):
            with self._autocast():
                states_BPH = self.model.vision_model(pixel_values=pixels_BCHW.to(self.device)).last_hidden_state.float()
            yield _unit(self.model.vision_proj(states_BPH[:, 0])), states_BPH.half().cpu().numpy()

    @torch.inference_mode()
    def caption_vectors(self, captions: Sequence[str]) -> np.ndarray:
        """Returns unit vectors of captions, float32 (B, D)."""
        tokens = self._tokens(captions)
        with self._autocast():
            states_BTH = self.model.text_encoder(**tokens).last_hidden_state
        return _unit(self.model.text_proj(states_BTH[:, 0].float()))

    def use_states(self, states_UPH: np.ndarray) -> None:
        """Takes the hidden states that `match_logits` reads; on a GPU they move there where they fill less than half of what is free."""
        self._states: np.ndarray | Tensor = states_UPH
        if self.device.type == "cuda" and states_UPH.nbytes < torch.cuda.mem_get_info(self.device)[0] / 2:
            self._states = torch.from_numpy(np.array(states_UPH)).to(self.device)

    @torch.inference_mode()
    def match_logits(self, caption: str, rows_K: np.ndarray) -> np.ndarray:
        """Returns the logit of "this caption is of this picture" for rows of the states in use, float32 (K,).

        Index 1 of the two logits of BLIP's matching head, as its evaluation takes it (salesforce/BLIP, train_retrieval.py).
        """
        tokens = self._tokens([caption])
        if self.enc_token is not None:
            tokens["input_ids"][:, 0] = self.enc_token
        logits = []
        for start in range(0, len(rows_K), PAIRS):
            states_KPH = self._rows(rows_K[start : start + PAIRS])
            pairs = {name: value.expand(len(states_KPH), -1) for name, value in tokens.items()}
            with self._autocast():
                hidden_KTH = self.model.text_encoder(**pairs, encoder_hidden_states=states_KPH).last_hidden_state
            logits.append(self.model.itm_head(hidden_KTH[:, 0].float())[:, 1].cpu().numpy())
        return np.concatenate(logits)

    def _rows(self, rows_K: np.ndarray) -> Tensor:
        if isinstance(self._states, Tensor):
            return self._states[torch.from_numpy(rows_K).to(self.device)].float()
        return torch.from_numpy(np.asarray(self._states[rows_K])).to(self.device).float()

    def _tokens(self, captions: Sequence[str]) -> dict[str, Tensor]:
        texts = [prepared(caption) for caption in captions]
        batch = self.tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        return {name: batch[name].to(self.device) for name in ("input_ids", "attention_mask")}

    def _pixels(self, pictures: Iterable[Image], count: int, batch: int) -> Iterator[Tensor]:
        waiting: list[Image] = []
        for picture in tqdm(pictures, total=count, desc="pictures through BLIP", unit="img", leave=False, disable=None):
            waiting.append(picture)
            if len(waiting) == batch:
                yield pixel_batch(self.process, waiting)
                waiting = []
        if waiting:
            yield pixel_batch(self.process, waiting)

    def _autocast(self) -> Any:
        return autocast(self.device.type) if self.fast else nullcontext()


def pixel_batch(process: Any, pictures: Sequence[Image]) -> Tensor:
    """Returns pictures as the vision tower reads them, float32 (B, 3, S, S)."""
    return process(images=list(pictures), return_tensors="pt")["pixel_values"]


def model_class(folder: Path) -> Any:
    """Returns the class whose weights a folder holds: BLIP's, or that of a small one which was trained here."""
    from transformers import AutoConfig, BlipForImageTextRetrieval

    from baselines.blip_grid import GridBlip

    try:
        architectures = AutoConfig.from_pretrained(folder, local_files_only=True).architectures
    except (OSError, ValueError):
        return BlipForImageTextRetrieval  # which says what is wrong with the folder
    return GridBlip if architectures == [GridBlip.__name__] else BlipForImageTextRetrieval


def loaded(cls: Any, folder: Path) -> Any:
    """Returns a model of transformers' BLIP family in inference mode, with every weight from the folder.

    Raises:
        ValueError: if the folder's weights are another model's (transformers would fill what is missing at random), or if its
            configuration is one of those that give BLIP's text tower 8 heads.
    """
    import transformers

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # what is missing is named below, as an error
    try:
        model, info = cls.from_pretrained(folder, local_files_only=True, dtype=torch.float32, output_loading_info=True)
    except (OSError, TypeError) as error:
        raise ValueError(f"{folder} is no checkpoint in transformers' format: {error}") from error
    finally:
        transformers.logging.set_verbosity(before)
    lacking = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    if lacking:
        raise ValueError(f"{folder} is no {cls.__name__}: it lacks {len(lacking)} weights, {', '.join(lacking[:3])} among them")
    text = model.config.text_config
    if (text.hidden_size, text.num_attention_heads) == (768, 8):
        # transformers' issue 22625: weights load under any number of heads, and score wrongly.
        raise ValueError(f"{folder}: text_config.num_attention_heads is 8, and BLIP's is {BLIP_HEADS}: correct config.json")
    return model.eval().requires_grad_(False)


def _unit(vectors_BD: Tensor) -> np.ndarray:
    return nn.functional.normalize(vectors_BD.float(), dim=-1).cpu().numpy()
