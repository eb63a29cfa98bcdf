"""BLIP: the one-tower row. Vectors choose a shortlist, and a cross-encoder orders it (Li et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from avg.settings import Settings
from methods.blip_settings import TrainingSettings
from methods.cross_encoder import CrossEncoderRetriever
from methods.data import Exposure
from methods.lavis_list import LAVIS_MODELS
from methods.needs import Need, identity, resolve
from methods.stage import Stage

LAVIS_ENVIRONMENT = Need("environment", "lavis")
NO_MODEL = (
    "blip.backend=lavis reads published checkpoints, not the BLIP that is trained here: name one with --set blip.model=MODEL/TYPE, "
    "e.g. blip_retrieval/flickr (`prefetch` with the same option downloads it), or a checkpoint file of BLIP's original code"
)


class BLIPSettings(Settings):
    """Which checkpoint, computed by which code, and how far the cross-encoder reads. A named model is taken as it is."""

    model: str = Field(
        "",
        description="hub id or folder in transformers' format, file of BLIP's original code, or LAVIS's MODEL/TYPE; "
        "empty: a small BLIP, trained on the training split",
    )
    backend: Literal["transformers", "lavis"] = Field("transformers", description="lavis: in the environment of `make lavis`")
    mode: Literal["itc", "rerank", "exhaustive"] = Field("rerank", description="vectors alone; cross-encoder on the shortlist or on all")
    precision: Literal["fast", "float32"] = Field("fast", description="of the towers; fast: bfloat16 where the hardware has it")
    enc_token: bool = Field(True, description="matched captions begin with [ENC], as in BLIP; transformers' own forward leaves [CLS]")
    training: TrainingSettings = TrainingSettings()
    seed: int = 0

    def meaning(self) -> dict[str, Any]:
        stated = super().meaning()
        if self.model:  # nothing is trained, and nothing drawn
            del stated["training"], stated["seed"]
        return stated

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {"training": TrainingSettings.tiny()}


class BLIP(CrossEncoderRetriever):
    """ITC similarity and ITM logit of one BLIP model, through transformers or through LAVIS."""

    Config = BLIPSettings
    config: BLIPSettings

    @property
    def mode(self) -> str:
        return self.config.mode

    def needs(self) -> list[Need]:
        """Returns the checkpoint, if one is set, and LAVIS's environment where that computes."""
        return ([self._need] if self.config.model else []) + ([LAVIS_ENVIRONMENT] if self.config.backend == "lavis" else [])

    @property
    def _need(self) -> Need:
        return model_need(self.config.model)

    def stages(self, data: Stage, exposure: Exposure) -> dict[str, Stage]:
        config = self.config
        if config.backend == "lavis" and not config.model:
            raise ValueError(NO_MODEL)
        if config.backend == "lavis" and not config.enc_token:
            raise ValueError("blip.enc_token=false is transformers' way of matching; LAVIS always writes [ENC]")
        if config.model:
            what = {**config.model_dump(include={"model", "backend"}), "identity": identity(self._need)}
            return {"blip": Stage("blip", "methods.blip:prepare", what)}
        side = {"image_size": config.training.image_size}
        maps = Stage("maps", "methods.blip_training:feature_maps", side, {"data": data})
        settings = {**config.training.meaning(), "seed": config.seed}
        return {"blip": Stage("blip", "methods.blip_training:train", settings, {"data": data, "maps": maps}, version=2, resumes=True)}

    def _load_parts(self) -> None:
        if self.config.backend == "lavis":
            from baselines.lavis.client import LavisBLIP

            self.matcher = LavisBLIP(self.parts["blip"], resolve(LAVIS_ENVIRONMENT), self.config.precision)
        else:
            from baselines.blip import BLIP as Model

            self.matcher = Model(self.parts["blip"], self.config.precision, self.config.enc_token)
        self.precision = self.matcher.precision


def model_need(name: str) -> Need:
    """Returns the need of a checkpoint: one of LAVIS's names, a hub id, a folder or a file.

    Raises:
        ValueError: if the name is none of these.
    """
    return Need("lavis", name) if name in LAVIS_MODELS else Need.of_model(name)


def prepare(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: a named checkpoint as its backend reads it, whole and checked."""
    from baselines.blip_checkpoint import save_for_lavis, save_for_transformers

    source = resolve(model_need(config["model"]))
    {"transformers": save_for_transformers, "lavis": save_for_lavis}[config["backend"]](source, out)
    return {"model": config["model"], "identity": config["identity"]}
