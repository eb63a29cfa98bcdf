"""GRACE's atomic identifiers: one class an image. A two-tower model in disguise, so no generative baseline and not in Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from avg.settings import Settings
from methods.data import Exposure, Gallery, rows_in
from methods.dense import DenseRetriever, unit
from methods.encoder import EncoderSettings, encoder_needs, encoder_stages
from methods.needs import Need
from methods.stage import Stage


class AtomicSettings(Settings):
    """Encoder and the linear classifier over all images."""

    encoder: EncoderSettings = EncoderSettings()
    epochs: int = Field(3, gt=0)
    batch: int = Field(512, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    seed: int = 0

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {"encoder": EncoderSettings.tiny(), "epochs": 1, "batch": 64}


class GRACEAtomic(DenseRetriever):
    """Class weights start as the frozen picture vectors and are trained as the images' classes (facts of GRACE's release)."""

    paradigm = "two-tower"
    Config = AtomicSettings
    config: AtomicSettings
    exposed_to_gallery = True

    def needs(self) -> list[Need]:
        return encoder_needs(self.config.encoder)

    def stages(self, data: Stage, exposure: Exposure) -> dict[str, Stage]:
        stages = encoder_stages(self.config.encoder, data)
        config = {**self.config.model_dump(mode="json", exclude={"encoder"}), "exposed": list(exposure.images)}
        atomic = Stage("atomic", "methods.atomic_training:train", config, {"features": stages["features"]})
        return {"encoder": stages["encoder"], "atomic": atomic}

    def _load_parts(self) -> None:
        from avg.precision import search_precision
        from baselines.clip import CLIP

        self.towers, self.precision = CLIP(self.parts["encoder"]), search_precision()
        with np.load(self.parts["atomic"] / "atomic.npz", allow_pickle=False) as stored:
            self.classes_ND, self.image_ids_N, self.projection_DD = stored["classes_ND"], stored["image_ids_N"], stored["projection_DD"]

    def image_vectors(self, gallery: Gallery) -> np.ndarray:
        rows_N = rows_in(self.image_ids_N, gallery.image_ids_N)
        missing = gallery.image_ids_N[rows_N < 0]
        if len(missing):
            raise ValueError(f"GRACE has no class for image {missing[0]} and {len(missing) - 1} more: fit it with them in its exposure")
        return self.classes_ND[rows_N]

    def encode(self, queries: Sequence[str]) -> np.ndarray:
        return unit(self.towers.text_states(queries).vectors_BD.numpy()) @ self.projection_DD
