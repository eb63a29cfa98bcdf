"""Settings of the tokenizer and the generator, readable without torch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """A configuration: frozen, keyword-only; an unknown key or an impossible value raises and is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    HOW: ClassVar[frozenset[str]] = frozenset()
    """Fields that say how something is computed and not what: no part of a stage's key."""

    def meaning(self) -> dict[str, Any]:
        """Returns what a result depends on, JSON-able: every field but those of `HOW`, its own and its parts'."""
        stated = self.model_dump(mode="json", exclude=set(self.HOW))
        parts = {name: value.meaning() for name, value in self if isinstance(value, Settings)}
        return {**stated, **parts}

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        """Returns overrides with which everything still happens, in seconds."""
        return {}


class TokenizerSettings(Settings):
    """The cross-modal aligned image tokenizer, Eq. 1-6, and its training."""

    codebook_size: int = Field(1024, gt=0, description="rows K of a codebook (the paper's N)")
    voken_length: int = Field(4, gt=0, description="code length L (the paper's M)")
    code_width: int = Field(256, gt=0, description="width of a codebook row; the generator's width where rows are copied into it")
    shared_codebook: bool = Field(True, description="one codebook for all levels (Eq. 2), or one each")
    hidden: tuple[int, ...] = Field((512,), description="hidden widths of the encoder MLP; the decoder mirrors it")
    mlp: Literal["plain", "batch-norm"] = Field(
        "plain", description="batch-norm: dropout, linear (Xavier) and BatchNorm in every layer, the last too"
    )
    dropout: float = Field(0.1, ge=0, lt=1)
    normalize: bool = Field(True, description="L2-normalise the frozen vectors first")
    start: Literal["random", "kmeans", "kmeans-first-batch"] = Field(
        "kmeans",
        description="kmeans: on all pictures, a shared codebook divided among levels; first-batch: on the first rows as they lie; "
        "random: uniform in ±1/K",
    )
    keep_alive: Literal["none", "revive"] = Field("revive", description="what is done about rows that no vector uses")
    reconstruction: float = Field(1.0, ge=0, description="weight of Eq. 3")
    commitment: float = Field(1.0, ge=0, description="weight of Eq. 4")
    codebook_loss: float = Field(1.0, ge=0, description="weight of Eq. 4 with the stop-gradient on the other side; 0 in the paper")
    alignment: float = Field(1.0, ge=0, description="weight of Eq. 5")
    squared_error: Literal["norm", "element-mean"] = Field("norm", description="of Eq. 3-5: summed over a vector's elements, or their mean")
    over_levels: Literal["sum", "mean"] = Field("sum", description="of Eq. 4")
    gradient: Literal["sums", "levels"] = Field(
        "sums", description="levels: straight-through inside each level, so that only the first level's commitment reaches the encoder"
    )
    epochs: int = Field(60, gt=0)
    batch: int = Field(2048, gt=1)
    learning_rate: float = Field(1e-3, gt=0)
    seed: int = 0

    @model_validator(mode="after")
    def _rows_for_every_level(self) -> TokenizerSettings:
        if self.start == "kmeans" and self.shared_codebook and self.codebook_size < self.voken_length:
            raise ValueError(
                f"codebook_size: {self.codebook_size} rows of a shared codebook cannot be divided among {self.voken_length} levels: "
                "set codebook_size to at least voken_length"
            )
        return self

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {"codebook_size": 32, "code_width": 64, "hidden": (64,), "epochs": 3, "batch": 128}


SHAPE = frozenset({"width", "layers", "heads", "feed_forward"})
OF_FROZEN_STATES = frozenset({"source_dropout", "caption_vector"})
"""Settings of the default generator's source."""


class GeneratorSettings(Settings):
    """The token-to-voken model, Eq. 7-10, and its training."""

    HOW: ClassVar[frozenset[str]] = frozenset({"micro_batch", "recompute_activations", "processes", "sharding", "checkpoint_minutes"})

    backbone: str = Field(
        "",
        description="a transformers model that writes, a folder or a name on the hub: encoder-decoder, decoder-only or image-text; "
        "empty: a new T5 decoder over frozen states",
    )
    language_model: Literal["", "llama"] = Field(
        "",
        description="instead of a backbone: a small model of this kind, of the width, layers, heads and feed_forward given here, "
        "pretrained as a language model on the training captions",
    )
    language_model_epochs: int = Field(3, gt=0, description="of that pretraining")
    lora_rank: int = Field(0, ge=0, description="r of LoRA on a decoder-only backbone's attention (AVG's LLaMA: 8); 0: all is trained")
    lora_alpha: int = Field(16, gt=0)
    lora_dropout: float = Field(0.1, ge=0, lt=1)
    width: int = Field(256, gt=0)
    layers: int = Field(2, gt=0)
    heads: int = Field(4, gt=0)
    feed_forward: int = Field(512, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1, description="of the decoder; 0 leaves a backbone its own")
    source_dropout: float = Field(0.0, ge=0, lt=1, description="on the frozen states")
    caption_vector: bool = Field(True, description="the text tower's projected caption vector stands before the token states")
    prefix: int = Field(4, gt=0, description="source vectors that a picture or caption vector is projected to")
    copy_codebook: bool = Field(True, description="start the vokens' embeddings from the codebook, projected where widths differ")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    temperature: float = Field(1.0, gt=0, description="divides the logits in Eq. 7, in training only")
    epochs: int = Field(3, gt=0, description="at most; training stops when validation does not improve for `patience` epochs")
    patience: int = Field(2, gt=0)
    batch: int = Field(128, gt=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    discriminative: Literal["none", "joint", "second-stage"] = "second-stage"
    discriminative_weight: float = Field(1.0, ge=0, description="factor of Eq. 9 in Eq. 10")
    sequence_score: Literal["log-probabilities", "probabilities"] = Field(
        "log-probabilities", description="what is summed over an identifier's tokens in Eq. 9; the paper says probabilities"
    )
    softmaxes: Literal[1, 2] = Field(1, description="of the candidates' scores in Eq. 9")
    candidates: int = Field(10, gt=1, description="beams over the training codes, Eq. 8")
    discriminative_steps: int = Field(150, gt=0, description="updates of the second stage")
    discriminative_batch: int = Field(64, gt=1)
    discriminative_rate: float = Field(1e-4, gt=0)
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    micro_batch: int = Field(0, ge=0, description="captions at once on a device, gradients accumulate over the rest; 0: its whole share")
    recompute_activations: bool = Field(False, description="activation checkpointing: less memory, about a third more time")
    processes: int = Field(1, ge=0, description="that share a batch, one a GPU; 0: as many as there are GPUs")
    sharding: Literal["none", "fsdp"] = Field("none", description="whether processes share weights and optimizer states too")
    checkpoint_minutes: float = Field(5.0, ge=0, description="between checkpoints from which a killed training goes on; 0: every update")
    seed: int = 0

    @model_validator(mode="after")
    def _one_model(self) -> GeneratorSettings:
        if self.backbone and self.language_model:
            raise ValueError("backbone and language_model are two models: set one")
        if self.lora_rank and not (self.backbone or self.language_model):
            raise ValueError("lora_rank: the default generator is new, there is nothing to adapt: set a backbone or language_model")
        if self.backbone or self.language_model:
            self._refuse_ignored()
        if self.language_model and self.width % (2 * self.heads):
            raise ValueError(
                f"heads: {self.heads} of a language_model do not divide its width {self.width} into even parts: set heads or width"
            )
        return self

    def _refuse_ignored(self) -> None:
        fields, tiny = type(self).model_fields, self.tiny()
        for name in sorted(OF_FROZEN_STATES | (SHAPE if self.backbone else frozenset())):
            value = getattr(self, name)
            if value not in (fields[name].default, tiny.get(name)):
                what = "a backbone" if self.backbone else "a language_model"
                raise ValueError(f"{name} = {value}: {what} does not use it: leave it out")

    @classmethod
    def tiny(cls) -> dict[str, Any]:
        return {
            "width": 64,
            "layers": 1,
            "heads": 2,
            "feed_forward": 64,
            "epochs": 2,
            "batch": 64,
            "candidates": 4,
            "discriminative_steps": 4,
            "language_model_epochs": 1,
        }
