"""BLIP: the one-tower row. Vectors choose a shortlist, and a cross-encoder orders it (Li et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from avg.settings import Settings
from methods.data import Exposure
from methods.lavis_list import LAVIS_MODELS
from methods.needs import Need, identity, resolve
from methods.rerank import RerankRetriever
from methods.stage import Stage

LAVIS_ENVIRONMENT = Need("environment", "lavis")
NO_MODEL = (
    "blip has no checkpoint: give one with --set blip.model=FOLDER_OR_ID, e.g. Salesforce/blip-itm-base-flickr "
    "(`prefetch` with the same option downloads it), a folder in that format, a .pth file of BLIP's original code, or a name of LAVIS's, "
    "e.g. blip_retrieval/flickr"
)


class BLIPSettings(Settings):
    """Which checkpoint, computed by which code, and how far the cross-encoder reads. Nothing is trained."""

    model: str = Field("", description="hub id or folder in transformers' format, file of BLIP's original code, or LAVIS's MODEL/TYPE")
    backend: Literal["transformers", "lavis"] = Field("transformers", description="lavis: in the environment of `make lavis`")
    mode: Literal["itc", "rerank", "exhaustive"] = Field("rerank", description="vectors alone; cross-encoder on the shortlist or on all")
    precision: Literal["fast", "float32"] = Field("fast", description="of the towers; fast: bfloat16 where the hardware has it")
    enc_token: bool = Field(True, description="matched captions begin with [ENC], as in BLIP; transformers' own forward leaves [CLS]")


class BLIP(RerankRetriever):
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
        if not self.config.model:
            raise ValueError(NO_MODEL)
        if self.config.backend == "lavis" and not self.config.enc_token:
            raise ValueError("blip.enc_token=false is transformers' way of matching; LAVIS always writes [ENC]")
        what = {**self.config.model_dump(include={"model", "backend"}), "identity": identity(self._need)}
        return {"blip": Stage("blip", "methods.blip:prepare", what)}

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
    """Stage: the checkpoint as its backend reads it, whole and checked. A fine-tuning stage would take its place as the part `blip`."""
    from baselines.blip_checkpoint import save_for_lavis, save_for_transformers

    source = resolve(model_need(config["model"]))
    {"transformers": save_for_transformers, "lavis": save_for_lavis}[config["backend"]](source, out)
    return {"model": config["model"], "identity": config["identity"]}
