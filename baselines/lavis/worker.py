"""BLIP's retrieval model through salesforce-lavis: answers requests on stdin until it is closed.

Runs in the environment of `make lavis`. Nothing of this project is imported but three small files by their paths, since its other packages
need newer libraries. The scoring is that of LAVIS's `compute_sim_matrix` (models/albef_models): ITC from `[CLS]`, ITM from `[ENC]`, index 1
of the matching head.

B pictures or captions, K pairs, T token positions, P patches and the class token, H width of a vision state, D width of the shared space.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
PAIRS = 128


def by_path(path: Path) -> Any:
    """Returns a module of this project without its package, whose neighbours may need what this environment lacks."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Model:
    """LAVIS's `BlipITM`, with the operations that a re-ranker asks for.

    Args:
        folder: as `baselines.blip_checkpoint.save_for_lavis` writes it, and the working directory: LAVIS looks there for its tokenizer.
        precision: `fast` or `float32`, as in `baselines.blip.BLIP`.
    """

    def __init__(self, folder: Path, precision: str):
        by_path(HERE.parents[1] / "avg" / "torchvision_schema.py")  # runs when it is imported
        numbers = by_path(HERE.parents[1] / "avg" / "precision.py")
        from lavis.models.blip_models.blip_image_text_matching import BlipITM
        from lavis.models.med import XBertEncoder
        from lavis.models.vit import VisionTransformerEncoder
        from lavis.processors.blip_processors import BlipImageEvalProcessor
        from safetensors.torch import load_file

        shape = json.loads((folder / "shape.json").read_text())
        config = {**shape, "med_config_path": str(folder / "med_config.json")}
        self.model = BlipITM(
            image_encoder=VisionTransformerEncoder.from_config(config),
            text_encoder=XBertEncoder.from_config(config),
            embed_dim=shape["embed_dim"],
        )
        # LAVIS's own loading is not strict: what a file lacks would stay random.
        found = self.model.load_state_dict(load_file(folder / "blip.safetensors"), strict=False)
        lacking = [name for name in found.missing_keys if not name.endswith("position_ids")] + found.unexpected_keys
        if lacking:
            raise ValueError(f"weights missing or unknown: {', '.join(lacking[:3])}")
        self.device = numbers.device()
        self.model = self.model.eval().requires_grad_(False).to(self.device)
        self.process = BlipImageEvalProcessor(image_size=shape["image_size"])
        dtype = numbers.fast_dtype(str(self.device)) if precision == "fast" else torch.float32
        self.autocast = (lambda: numbers.autocast(self.device.type)) if precision == "fast" else nullcontext
        self.precision = f"{str(dtype).removeprefix('torch.')} towers, float32 scores"

    def pictures(self, message: dict, arrays: dict) -> dict[str, np.ndarray]:
        with self.autocast():
            states_BPH = self.model.visual_encoder.forward_features(self._pixels(arrays)).float()
        return {"vectors": _unit(self.model.vision_proj(states_BPH[:, 0])), "states": states_BPH.half().cpu().numpy()}

    def captions(self, message: dict, arrays: dict) -> dict[str, np.ndarray]:
        text = self._tokens(message["captions"])
        with self.autocast():
            states_BTH = self.model.text_encoder(
                text.input_ids, attention_mask=text.attention_mask, return_dict=True, mode="text"
            ).last_hidden_state
        return {"vectors": _unit(self.model.text_proj(states_BTH[:, 0].float()))}

    def use_states(self, message: dict, arrays: dict) -> dict[str, np.ndarray]:
        """Maps a file of hidden states: they are too many to be sent with each query."""
        shape = tuple(message["shape"])
        self.states = np.memmap(message["path"], dtype=np.dtype(message["dtype"]), mode="r", offset=message["offset"], shape=shape)
        return {}

    def match(self, message: dict, arrays: dict) -> dict[str, np.ndarray]:
        text, rows_K = self._tokens([message["caption"]]), arrays["rows"]
        text.input_ids[:, 0] = self.model.tokenizer.enc_token_id
        logits = []
        for start in range(0, len(rows_K), PAIRS):
            states_KPH = torch.from_numpy(np.asarray(self.states[rows_K[start : start + PAIRS]])).to(self.device).float()
            with self.autocast():
                hidden_KTH = self.model.text_encoder(
                    text.input_ids.repeat(len(states_KPH), 1),
                    attention_mask=text.attention_mask.repeat(len(states_KPH), 1),
                    encoder_hidden_states=states_KPH,
                    encoder_attention_mask=torch.ones(states_KPH.shape[:2], dtype=torch.long, device=self.device),
                    return_dict=True,
                ).last_hidden_state
            logits.append(self.model.itm_head(hidden_KTH[:, 0].float())[:, 1].cpu().numpy())
        return {"logits": np.concatenate(logits)}

    def forward(self, message: dict, arrays: dict) -> dict[str, np.ndarray]:
        """LAVIS's own forward pass, untouched, in float32: what parity is measured against."""
        samples = {"image": self._pixels(arrays), "text_input": message["captions"]}
        return {"out": self.model(samples, match_head=message["head"]).float().cpu().numpy()}

    def _pixels(self, arrays: dict) -> torch.Tensor:
        from PIL import Image

        pictures = [arrays[f"picture{row}"] for row in range(len(arrays))]
        return torch.stack([self.process(Image.fromarray(picture)) for picture in pictures]).to(self.device)

    def _tokens(self, captions: list[str]) -> Any:
        limit = self.model.max_txt_len
        return self.model.tokenizer(captions, padding="longest", truncation=True, max_length=limit, return_tensors="pt").to(self.device)


def _unit(vectors_BD: torch.Tensor) -> np.ndarray:
    return nn.functional.normalize(vectors_BD.float(), dim=-1).cpu().numpy()


@torch.inference_mode()
def main() -> None:
    frames = by_path(HERE / "frames.py")
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not fall between frames
    model: Any = None
    while (request := frames.read(requests)) is not None:
        message, arrays = request
        try:
            if message["do"] == "load":
                model = Model(Path(message["folder"]), message["precision"])
                frames.write(answers, {"precision": model.precision})
            else:
                frames.write(answers, {}, getattr(model, message["do"])(message, arrays))
        except Exception as error:
            traceback.print_exc()
            frames.write(answers, {"error": f"{type(error).__name__}: {error}".splitlines()[0]})  # the rest is in the log


if __name__ == "__main__":
    sys.exit(main())
