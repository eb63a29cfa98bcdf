"""The generator on a transformers decoder, LLaMA above all: a caption is the prompt, its image's identifier what follows.

B batch, T prompt tokens, W model width, V identifier tokens, L identifier length, M beams, D width of a picture vector.

    <s> a carrot and a palm tree │ c_17 c_803 c_4 c_66      the vocabulary is extended by the V vokens; only their rows of the head count
"""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from torch import Tensor, nn

from avg.backbone import TEXT_TOKENS, open_backbone, scaled_head
from avg.captions import CaptionBatch
from avg.decoding import NONE, Source, numbered, taken
from avg.generator import BACKBONE, Generator, fitted_rows
from avg.precision import autocast
from avg.settings import GeneratorSettings

ADAPTER = "adapter"


@dataclass
class Prompted:
    """Where a batch of queries stands: the prompt, its last hidden state, and what is kept of it and of all beams' tokens.

    The cache holds one row a query: a beam's tokens are columns of it, which the other beams' do not see (tree attention), so that nothing
    of it is ever moved or copied. A model without explicit positions has none; it is given the embeddings again.
    """

    source: Source
    last_BW: Tensor
    cache: Any
    embeds_BSW: Tensor


def _counted(mask_BS: Tensor) -> Tensor:
    """Returns positions counted from the first token that does not pad."""
    return (mask_BS.cumsum(1) - 1).clamp(min=0)


class DecoderOnlyGenerator(Generator):
    """A checkpoint, or a new model of a configuration, with V rows more; trained whole, or by LoRA with its embeddings and head.

    Prompts are padded on the left and positions counted from their first token, so that a batch scores as its captions one by one.

    Args:
        settings: `backbone` is a folder with `config.json`, tokenizer files and, for a checkpoint, weights. `lora_rank` > 0 puts LoRA on
            the attention projections that peft names for the architecture, and leaves embeddings and head trainable (as AVG's release).
        tokens: V.
        vector_width: D.
        codebook_VE: rows to start the vokens from, in embeddings and head; a random start where None (AVG's released LLaMA).
        saved: whether the folder was written by `save`: its vocabulary ends with the V rows already, an adapter stands beside it.

    Raises:
        ValueError: if the folder holds no decoder or no tokenizer that transformers reads, or LoRA does not know its architecture.
    """

    reads_words = True

    def __init__(
        self,
        settings: GeneratorSettings,
        *,
        tokens: int,
        vector_width: int,
        codebook_VE: Tensor | None = None,
        saved: bool = False,
    ):
        super().__init__()
        folder = Path(settings.backbone)
        model, self.tokenizer = self._opened(folder, settings.dropout)
        if scaled := scaled_head(model.config):
            raise ValueError(f"backbone {folder} changes its logits by {scaled}, which this generator does not know")
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.unk_token  # any: what pads is masked
        self.settings, self.tokens = settings, tokens
        self.stored = {"vector_width": vector_width}
        self.first = model.get_input_embeddings().num_embeddings - (tokens if saved else 0)
        if not saved:
            # mean_resizing would start the new rows near the mean of the old ones, which is neither a copy nor a random start
            model.resize_token_embeddings(self.first + tokens, mean_resizing=False)
        # what `model` holds is registered as a module; with LoRA that is peft's wrapper around it
        self.model = self._adapted(model, folder.parent / ADAPTER if saved else None) if settings.lora_rank else model
        self.from_picture = nn.Linear(vector_width, self.width * settings.prefix)
        if codebook_VE is not None:
            self.copy_codebook(codebook_VE)

    def _opened(self, folder: Path, dropout: float) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM

        return open_backbone(folder, AutoModelForCausalLM, "a decoder", dropout)

    def _adapted(self, model: Any, adapter: Path | None) -> nn.Module:
        from peft import LoraConfig, PeftModel, get_peft_model

        settings = self.settings
        config = LoraConfig(r=settings.lora_rank, lora_alpha=settings.lora_alpha, lora_dropout=settings.lora_dropout)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`")  # peft 0.21 asks by a name that transformers 5 deprecates
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")  # and turns GPT-2's transposed layers by itself
            if adapter is not None:
                return PeftModel.from_pretrained(model, adapter)
            try:
                adapted = get_peft_model(model, config)
            except ValueError as error:
                raise ValueError(f"backbone {settings.backbone}: no LoRA for {model.config.model_type}: {error}") from error
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            table.weight.requires_grad_(True)
        return adapted

    @property
    def language_model(self) -> Any:
        """The transformers model, under peft's wrapper where there is one."""
        return self.model.get_base_model() if self.settings.lora_rank else self.model  # type: ignore[operator]

    @property
    def decoder(self) -> nn.Module:  # type: ignore[override]
        return self.language_model.base_model

    @property
    def width(self) -> int:
        return self.language_model.get_input_embeddings().embedding_dim

    @torch.no_grad()
    def copy_codebook(self, codebook_VE: Tensor) -> None:
        """Starts the vokens' rows from codebook rows, in each table scaled together to the spread of the model's own words."""
        rows_VW = fitted_rows(codebook_VE, self.width)
        for table in (self.language_model.get_input_embeddings().weight, self.language_model.get_output_embeddings().weight):
            table[self.first :] = rows_VW / rows_VW.std() * table[: self.first].std()

    def text_source(self, captions: CaptionBatch) -> Source:
        words = self.tokenizer(list(captions.texts), padding=True, truncation=True, max_length=TEXT_TOKENS, return_tensors="pt")
        states_BTW = self.language_model.get_input_embeddings()(words["input_ids"].to(self.device))
        return Source(states_BTW, words["attention_mask"].bool().to(self.device))

    def picture_source(self, vectors_BD: Tensor) -> Source:
        return self._prefix(self.from_picture, vectors_BD)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.language_model.get_input_embeddings()(tokens + self.first)

    @property
    def vocabulary(self) -> int:
        return self.first + self.tokens

    def logits(self, hidden: Tensor) -> Tensor:
        return self._said(hidden, self.first)

    def whole_logits(self, hidden: Tensor) -> Tensor:
        return self._said(hidden, 0)

    def _said(self, hidden: Tensor, first: int) -> Tensor:
        head = self.language_model.get_output_embeddings()
        bias_V = None if head.bias is None else head.bias[first:].to(hidden.dtype)
        return nn.functional.linear(hidden, head.weight[first:].to(hidden.dtype), bias_V).float()

    def forward(self, source: Source, codes: Tensor) -> Tensor:
        several, length = codes.ndim == 3, codes.shape[-1]
        beams, codes_XL = codes.shape[1] if several else 1, codes.flatten(0, -2)
        prompt_XTW = source.states_BTW.repeat_interleave(beams, 0)
        mask_XT = source.mask_BT.repeat_interleave(beams, 0)
        states_XSW = torch.cat([prompt_XTW, self.embed(codes_XL[:, :-1].clamp(min=0)).to(prompt_XTW.dtype)], 1)
        mask_XS = torch.cat([mask_XT, mask_XT.new_ones(len(codes_XL), length - 1)], 1)
        with autocast(self.device):
            hidden_XSW = self._hidden(states_XSW, mask_XS, _counted(mask_XS))
            # what the prompt's last token says is the identifier's first
            logits_XLV = self.logits(hidden_XSW[:, -length:])
        return logits_XLV.unflatten(0, codes.shape[:-1])

    def begin(self, source: Source, length: int, room: int) -> Prompted:
        from transformers import DynamicCache

        cache = DynamicCache() if self._takes_positions else None
        hidden_BTW = self._hidden(source.states_BTW, source.mask_BT, _counted(source.mask_BT), past_key_values=cache)
        return Prompted(source, hidden_BTW[:, -1], cache, source.states_BTW[:, -1:])

    def advance(self, tokens_BMn: Tensor, state: Prompted, past_BMt: Tensor, ragged: bool) -> tuple[Tensor, Tensor]:
        if not past_BMt.shape[2]:
            # the start is the prompt's last token: what follows it was computed with the prompt
            return state.last_BW[:, None, None], numbered(0, 1, 1, tokens_BMn.device)
        if state.cache is None:
            return self._again(tokens_BMn, state, past_BMt)
        batch, beams, new = tokens_BMn.shape
        prompt = state.source.mask_BT
        width = prompt.shape[1] - 1  # columns of the prompt before its last token, which is position 0
        first = state.cache.get_seq_length() - width
        places_Mn = numbered(first, beams, new, tokens_BMn.device)
        length_BM = (past_BMt != NONE).sum(2)
        seen_BMS = torch.zeros(batch, beams, first + beams * new, dtype=torch.bool, device=tokens_BMn.device)
        seen_BMS.scatter_(2, past_BMt.clamp(min=0), True)  # what fills points to position 0, which all see
        seen_BMnS = seen_BMS[:, :, None].repeat(1, 1, new, 1)
        for token in range(new):
            # a beam's new tokens see those of it that are before them
            seen_BMnS[:, :, token].scatter_(2, places_Mn[:, : token + 1].expand(batch, -1, -1), True)
        mask_BXS = torch.cat([prompt[:, None, :-1].expand(-1, beams * new, -1), seen_BMnS.flatten(1, 2)], 2)
        positions_BMn = prompt.sum(1)[:, None, None] + (length_BM[..., None] - 1) + torch.arange(new, device=tokens_BMn.device)
        embeds_BXW = self.embed(tokens_BMn.flatten(1))
        hidden_BXW = self._hidden(embeds_BXW, mask_BXS[:, None], positions_BMn.flatten(1), past_key_values=state.cache)
        return hidden_BXW.unflatten(1, (beams, new)), places_Mn

    def _again(self, tokens_BMn: Tensor, state: Prompted, past_BMt: Tensor) -> tuple[Tensor, Tensor]:
        """Does what `advance` does with a model that counts positions by itself: prompt and identifiers so far are computed again."""
        batch, beams, new = tokens_BMn.shape
        places_Mn = numbered(state.embeds_BSW.shape[1], beams, new, tokens_BMn.device)
        state.embeds_BSW = torch.cat([state.embeds_BSW, self.embed(tokens_BMn.flatten(1))], 1)
        path_BMs = torch.cat([past_BMt, places_Mn.expand(batch, -1, -1)], 2)[:, :, 1:]  # position 0 stands in the prompt
        states_XSW = torch.cat([state.source.states_BTW.repeat_interleave(beams, 0), taken(state.embeds_BSW, path_BMs).flatten(0, 1)], 1)
        mask_XS = torch.cat([state.source.mask_BT.repeat_interleave(beams, 0), (path_BMs != NONE).flatten(0, 1)], 1)
        hidden_XSW = self._hidden(states_XSW, mask_XS, _counted(mask_XS))
        return hidden_XSW[:, -new:].unflatten(0, (batch, beams)), places_Mn

    @property
    def _takes_positions(self) -> bool:
        # models that bias attention by distance (ALiBi) take no positions: the mask tells them
        return "position_ids" in inspect.signature(self.decoder.forward).parameters

    def _hidden(self, states_BTW: Tensor, mask: Tensor, positions_BT: Tensor, past_key_values: Any = None) -> Tensor:
        """Runs the decoder under a mask of positions, (B, S), or of what each new position sees, (B, 1, T, S)."""
        given: dict[str, Any] = {"position_ids": positions_BT} if self._takes_positions else {}
        if mask.ndim == 4:
            mask = torch.zeros(mask.shape, dtype=states_BTW.dtype, device=mask.device).masked_fill(~mask, torch.finfo(states_BTW.dtype).min)
        else:
            mask = mask.long()
        given |= {"use_cache": False} if past_key_values is None else {"use_cache": True, "past_key_values": past_key_values}
        return self.decoder(inputs_embeds=states_BTW, attention_mask=mask, **given).last_hidden_state

    def save(self, folder: Path) -> None:
        """Writes model, tokenizer, adapter and projection, so that the folder needs the checkpoint that it came from no more.

        With LoRA the whole model is written besides the adapter, in float32: 27 GB of LLaMA-2-7b.
        """
        super().save(folder)
        model = self.language_model
        weights = {
            name.replace(".base_layer", ""): value.contiguous() for name, value in model.state_dict().items() if ".lora_" not in name
        }
        model.save_pretrained(folder / BACKBONE, state_dict=weights, save_peft_format=False)
        self.tokenizer.save_pretrained(folder / BACKBONE)
        if self.settings.lora_rank:
            self.model.save_pretrained(folder / ADAPTER, save_embedding_layers=False)  # type: ignore[operator]

    def own_weights(self) -> dict[str, Tensor]:
        return {f"from_picture.{name}": value for name, value in self.from_picture.state_dict().items()}
