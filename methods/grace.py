"""GRACE: images have predefined identifiers, and the generator memorises picture -> identifier besides caption -> identifier.

Learning picture -> identifier *is* GRACE's indexing: it sees the gallery's pictures under every protocol, never their captions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from avg.settings import GeneratorSettings, Settings
from methods.data import Exposure, Gallery, rows_in
from methods.encoder import EncoderSettings, encoder_needs, encoder_stages
from methods.files.codes import CodesFile
from methods.generative import GenerativeRetriever
from methods.generator import generator_needs, generator_stage
from methods.needs import Need
from methods.pseudo_queries import NEAREST, captioner_needs, pseudo_query_stages
from methods.stage import Stage

GENERATOR = GeneratorSettings(discriminative="none", copy_codebook=False, epochs=6, patience=1000)
"""In six epochs a picture is shown 8.6 times, about as often as in GRACE's release (8). Nothing ends them early: before identifiers are
memorised, recall on validation is chance."""


class GRACESettings(Settings):
    """Encoder, identifiers and generator."""

    encoder: EncoderSettings = EncoderSettings()
    generator: GeneratorSettings = GENERATOR
    identifier: Literal["numeric", "string", "semantic", "structured"] = "structured"
    branches: int = Field(30, gt=1, description="k of the hierarchical k-means")
    leaf: int = Field(30, gt=1, description="images of a cluster that is enumerated rather than divided")
    pseudo_queries: int = Field(5, gt=0, description="made-up captions of an image, as semantic identifiers or to be trained on")
    pseudo_queries_by: str = Field(NEAREST, description="nearest: training captions in CLIP space; else a captioning model")
    seed: int = 0

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {"encoder": EncoderSettings.tiny(), "generator": GeneratorSettings.tiny()}


def _of(queries: Mapping[str, Stage], splits: Sequence[str]) -> dict[str, Stage]:
    return {name: stage for name, stage in queries.items() if stage.config["split"] in splits}


class GRACE(GenerativeRetriever):
    """GRACE's identifiers with this suite's generator (Li et al. 2024)."""

    Config = GRACESettings
    config: GRACESettings
    exposed_to_gallery = True

    def needs(self) -> list[Need]:
        config = self.config
        return [*encoder_needs(config.encoder), *generator_needs(config.generator), *captioner_needs(config.pseudo_queries_by)]

    def stages(self, data: Stage, exposure: Exposure) -> dict[str, Stage]:
        if self.config.generator.copy_codebook:
            raise ValueError("generator.copy_codebook: GRACE's identifiers have no codebook to copy: leave it false")
        config, stages = self.config, encoder_stages(self.config.encoder, data)
        named = list(exposure.pseudo_queries)
        queries = pseudo_query_stages(
            list(dict.fromkeys([*named, *exposure.learned])),
            stages,
            data,
            count=config.pseudo_queries,
            by=config.pseudo_queries_by,
            seed=config.seed,
        )
        codes = Stage(
            "codes",
            "methods.grace_codes:assign",
            {
                **config.model_dump(mode="json", exclude={"encoder", "generator", "pseudo_queries", "pseudo_queries_by"}),
                "exposed": list(exposure.images),
            },
            {"data": data, "encoder": stages["encoder"], "features": stages["features"], **_of(queries, named)},
            version=2 if config.identifier == "structured" else 1,
        )
        generator = generator_stage(
            config.generator,
            data,
            stages,
            codes,
            pictures_of=["train", *exposure.images],
            learned=exposure.learned,
            selection=exposure.selection,
            queries=_of(queries, exposure.learned),
            seed=config.seed,
        )
        return {"encoder": stages["encoder"], "codes": codes, "generator": generator}

    def _load_parts(self) -> None:
        super()._load_parts()
        self.codes = CodesFile.load(self.parts["codes"])

    def identifiers(self, gallery: Gallery) -> tuple[np.ndarray, np.ndarray]:
        rows_X = rows_in(gallery.image_ids_N, self.codes.image_ids_X)
        missing = gallery.image_ids_N[~np.isin(gallery.image_ids_N, self.codes.image_ids_X)]
        if len(missing):
            raise ValueError(
                f"GRACE has no identifier for image {missing[0]} and {len(missing) - 1} more: fit it with them in its exposure"
            )
        codes_XL = self.codes.codes_XL[rows_X >= 0]
        return codes_XL[:, : (codes_XL >= 0).sum(1).max()], rows_X[rows_X >= 0]
