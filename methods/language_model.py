"""Stage: a small LLaMA, pretrained as a language model on the training captions. The stand-in for LLaMA-2-7b on the default data.

LoRA leaves a network as it is but for a few directions, so it asks for one that has learned something:
of a random one it would say nothing.

B batch, T tokens of a caption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from tqdm import tqdm

from avg.precision import autocast, device
from avg.schedule import warm_cosine
from methods.data import Dataset
from methods.fitting.batching import batches
from methods.reads import selecting

WORDS = 2048
"""Word pieces at most: captions of one data set need few, and the softmax over them is most of a small model's work."""
BATCH, RATE = 128, 2e-3
CLIP_GRADIENT = 1.0


def pretrain(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: writes `model`, a transformers folder with weights and a tokenizer of its own; reports losses in nats a token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(config["seed"])
    random = torch.Generator().manual_seed(config["seed"])
    data = Dataset(inputs["data"])
    captions = list(data.split("train").captions)
    tokenizer = _tokenizer(captions)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config["width"],
        intermediate_size=config["feed_forward"],
        num_hidden_layers=config["layers"],
        num_attention_heads=config["heads"],
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: Any = LlamaForCausalLM(shape)
    model.to(device())
    words = _ended(tokenizer, captions)
    lengths_Q = torch.tensor([len(row) for row in words])
    steps = -(-len(words) // BATCH) * config["epochs"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = warm_cosine(optimizer, steps)
    losses = []
    for epoch in range(config["epochs"]):
        total = torch.zeros((), device=device())
        order = batches(lengths_Q, lengths_Q, BATCH, random)
        for rows_B in tqdm(order, desc=f"language model {epoch + 1}/{config['epochs']}", unit="step", leave=False):
            batch = [words[row] for row in rows_B.tolist()]
            loss = _loss(model.train(), batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_GRADIENT)
            optimizer.step()
            schedule.step()
            total += loss.detach() * _predicted(batch)  # captions of a batch are of like length: some have few tokens
        losses.append(round(float(total) / _predicted(words), 4))
    with selecting():  # nothing is chosen by it: it is only said
        told = list(data.split("val").captions)
    val = _ended(tokenizer, told)
    with torch.inference_mode():
        parts = [val[first : first + BATCH] for first in range(0, len(val), BATCH)]
        val_total = sum(float(_loss(model.eval(), part)) * _predicted(part) for part in parts)
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    return {
        "loss by epoch": losses,
        "val loss": round(val_total / _predicted(val), 4),
        "words": len(tokenizer),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _tokenizer(captions: Sequence[str]) -> Any:
    """Returns a tokenizer of LLaMA's kind, byte-level BPE, learned on the captions: the same of the same captions.

    The trainer of WordPiece numbers pieces in an order that differs from run to run, and decides ties by it.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    pad, begin, end = "<pad>", "<s>", "</s>"
    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.Lowercase()
    learned.pre_tokenizer, learned.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learned.train_from_iterator(
        captions,
        trainers.BpeTrainer(vocab_size=WORDS, special_tokens=[pad, begin, end], initial_alphabet=alphabet, show_progress=False),
    )
    # as LLaMA's: a caption that is a prompt does not end, and the first voken follows its last word
    learned.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, learned.token_to_id(begin))])
    return PreTrainedTokenizerFast(tokenizer_object=learned, pad_token=pad, bos_token=begin, eos_token=end)


def _ended(tokenizer: Any, captions: Sequence[str]) -> list[list[int]]:
    """Returns the tokens of captions as they are pretrained on: each ends."""
    return [[*row, tokenizer.eos_token_id] for row in tokenizer(list(captions), truncation=True, max_length=127)["input_ids"]]


def _loss(model: Any, words: Sequence[Sequence[int]]) -> torch.Tensor:
    """Returns the mean of -log p(next token) over a batch of captions."""
    longest = max(map(len, words))
    ids_BT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in words], device=device())
    mask_BT = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in words], device=device())
    with autocast():
        return model(input_ids=ids_BT, attention_mask=mask_BT, labels=ids_BT.masked_fill(mask_BT == 0, -100)).loss


def _predicted(words: Sequence[Sequence[int]]) -> int:
    """Returns how many tokens of some captions are predicted: all but the first of each."""
    return sum(len(row) - 1 for row in words)
