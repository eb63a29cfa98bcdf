"""CLIP: the two-tower row, and the encoder that AVG and IRGen start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from avg.settings import Settings
from methods.data import Exposure, Gallery
from methods.dense import DenseRetriever, unit
from methods.encoder import EncoderSettings, encoder_needs, encoder_stages
from methods.needs import Need
from methods.stage import Stage


class CLIPSettings(Settings):
    """Its encoder."""

    encoder: EncoderSettings = EncoderSettings()

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {"encoder": EncoderSettings.tiny()}


class CLIP(DenseRetriever):
    """Cosine of the two towers' projected vectors (Radford et al. 2021)."""

    paradigm = "two-tower"
    Config = CLIPSettings
    config: CLIPSettings
    build_resumes = True

    def needs(self) -> list[Need]:
        return encoder_needs(self.config.encoder)

    def stages(self, data: Stage, exposure: Exposure) -> dict[str, Stage]:
        stages = encoder_stages(self.config.encoder, data)
        if data not in stages["encoder"].ancestors():  # taken as it is: of the training split nothing is read
            return {"encoder": stages["encoder"]}
        return {"encoder": stages["encoder"], "features": stages["features"]}

    def _load_parts(self) -> None:
        from avg.precision import search_precision
        from baselines.clip import CLIP as Towers

        self.towers, self.precision = Towers(self.parts["encoder"]), search_precision()

    def image_vectors(self, gallery: Gallery) -> np.ndarray:
        from methods.extraction import picture_shards
        from methods.split_features import image_features

        if "features" in self.parts:
            return unit(image_features(self.parts["features"], self.parts["encoder"], gallery))
        if self.workplace is None:
            return unit(self.towers.picture_feats(gallery.pictures, len(gallery)))
        shards = picture_shards(self.towers.picture_feats, gallery.pictures, self.workplace, "pictures")
        return unit(shards.join("vectors", self.workplace / "pictures.npy"))

    def encode(self, queries: Sequence[str]) -> np.ndarray:
        return unit(self.towers.text_states(queries).vectors_BD.numpy())
