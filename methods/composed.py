"""Two procedures that the paper leaves out: CLIP's list ordered by BLIP, and AVG's list ordered by the encoder that AVG starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from methods.avg import AVG, TokenizedSettings
from methods.blip import BLIP, BLIPSettings
from methods.clip import CLIP, CLIPSettings
from methods.dense import unit
from methods.rerank import ComposedRetriever


class CLIPBLIPSettings(CLIPSettings):
    """CLIP's encoder, and the whole of BLIP."""

    blip: BLIPSettings = BLIPSettings()
    seed: int = 0

    def meaning(self) -> dict[str, Any]:
        stated = super().meaning()
        if self.blip.model:  # nothing is drawn but the encoder, which has a seed of its own
            del stated["seed"]
        return stated

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {**super().tiny(), "blip": BLIPSettings.tiny()}


class CLIPBLIP(ComposedRetriever):
    """CLIP's shortlist in the order of BLIP's own score of a pair, ITC similarity + ITM logit."""

    paradigm = "one-tower"
    version = CLIP.version + BLIP.version
    Config = CLIPBLIPSettings
    config: CLIPBLIPSettings

    @property
    def shortlists(self) -> bool:
        return True

    def composed(self) -> tuple[CLIP, BLIP]:
        blip = self.config.blip.model_copy(update={"seed": self.config.seed})
        return CLIP(CLIPSettings(encoder=self.config.encoder)), BLIP(blip)


class AVGCLIP(ComposedRetriever):
    """The images that AVG's beam finds, by the cosine of the encoder whose vectors AVG's tokenizer quantises."""

    paradigm = "generative"
    version = AVG.version + CLIP.version
    Config = TokenizedSettings
    config: TokenizedSettings
    first: AVG

    def composed(self) -> tuple[AVG, CLIP]:
        return AVG(self.config), CLIP(CLIPSettings(encoder=self.config.encoder))

    def encode(self, queries: Sequence[str]) -> tuple[Any, Any]:
        states = self.first.towers.text_states(queries)
        return states, unit(states.vectors_BD.numpy())  # one encoder: a caption is read once
