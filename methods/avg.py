"""AVG: image tokens by the cross-modal aligned tokenizer, written by a generator with discriminative training."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from avg.settings import GeneratorSettings, Settings, TokenizerSettings
from methods.data import Exposure, Gallery
from methods.encoder import EncoderSettings, encoder_needs, encoder_stages
from methods.generative import GenerativeRetriever
from methods.generator import generator_needs, generator_stage
from methods.needs import Need
from methods.pseudo_queries import NEAREST, captioner_needs, pseudo_query_stages
from methods.stage import Stage


class TokenizedSettings(Settings):
    """Encoder, tokenizer and generator."""

    encoder: EncoderSettings = EncoderSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    generator: GeneratorSettings = GeneratorSettings()
    pseudo_queries: int = Field(5, gt=0, description="made-up captions of an exposed picture, where the protocol trains on them")
    pseudo_queries_by: str = Field(NEAREST, description="nearest: training captions in CLIP space; else a captioning model")
    seed: int = 0

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {"encoder": EncoderSettings.tiny(), "tokenizer": TokenizerSettings.tiny(), "generator": GeneratorSettings.tiny()}


class TokenizedRetriever(GenerativeRetriever):
    """Images have the codes that a residual quantiser gives to their vectors. The gallery is seen in training only if the protocol exposes
    it: then its pictures are learned with pseudo-queries, by tokenizer and generator both."""

    config: TokenizedSettings

    def needs(self) -> list[Need]:
        config = self.config
        return [*encoder_needs(config.encoder), *generator_needs(config.generator), *captioner_needs(config.pseudo_queries_by)]

    def stages(self, data: Stage, exposure: Exposure) -> dict[str, Stage]:
        config, seed, stages = self.config, self.config.seed, encoder_stages(self.config.encoder, data)
        learned, selection = list(exposure.learned), exposure.selection
        queries = pseudo_query_stages(learned, stages, data, count=config.pseudo_queries, by=config.pseudo_queries_by, seed=seed)
        tokenizer = Stage(
            "tokenizer",
            "methods.tokens:train",
            {"tokenizer": {**config.tokenizer.meaning(), "seed": seed}, "learned": learned},
            {"features": stages["features"], **queries},
            resumes=True,
        )
        codes = Stage(
            "codes",
            "methods.tokens:codes",
            {"splits": ["train", *learned], "selection": selection},
            {"features": stages["features"], "tokenizer": tokenizer},
        )
        generator = generator_stage(
            config.generator, data, stages, codes, pictures_of=[], learned=learned, selection=selection, queries=queries, seed=seed
        )
        return {"encoder": stages["encoder"], "features": stages["features"], "tokenizer": tokenizer, "generator": generator}

    def _load_parts(self) -> None:
        from avg.tokenizer import Tokenizer

        super()._load_parts()
        self.tokenizer = Tokenizer.load(self.parts["tokenizer"])

    def identifiers(self, gallery: Gallery) -> tuple[np.ndarray, np.ndarray]:
        from methods.split_features import image_features
        from methods.tokens import flat_codes

        vectors_ND = image_features(self.parts["features"], self.parts["encoder"], gallery)
        return flat_codes(self.tokenizer, vectors_ND), np.arange(len(gallery))


class AVG(TokenizedRetriever):
    """The paper's method (§3)."""

    Config = TokenizedSettings
