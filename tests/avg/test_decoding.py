"""T5's decoder run for many sequences a source has the states and gradients of transformers' own forward."""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401

import pytest
import torch
from torch import nn

from avg.decoding import CachedDecoding, Source, T5Decoding, of

B, M, L, T, W = 3, 4, 5, 6, 16


@pytest.fixture(params=["relu", "gated-gelu"])
def stack(request):
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Stack

    torch.manual_seed(0)
    config = T5Config(
        d_model=W, d_kv=8, d_ff=20, num_layers=3, num_heads=2, dropout_rate=0.0, is_decoder=True, is_encoder_decoder=False, vocab_size=1,
        feed_forward_proj=request.param, relative_attention_num_buckets=4, relative_attention_max_distance=6,
    )  # fmt: skip
    found = T5Stack(config)
    for parameter in found.parameters():
        nn.init.normal_(parameter, std=0.5)
    return found.eval()


@pytest.fixture
def source():
    mask_BT = torch.arange(T) < torch.tensor([[6], [1], [4]])
    return Source(torch.randn(B, T, W), mask_BT)


def test_whole_sequences(stack, source):
    embeds_BMLW = torch.randn(B, M, L, W)
    torch.testing.assert_close(T5Decoding(stack).teach(embeds_BMLW, source), CachedDecoding(stack).teach(embeds_BMLW, source))


def test_gradients(stack, source):
    embeds_BMLW, found = torch.randn(B, M, L, W), []
    for decoding in (T5Decoding(stack), CachedDecoding(stack)):
        stack.zero_grad()
        decoding.teach(embeds_BMLW, source).square().sum().backward()
        found.append({name: parameter.grad.clone() for name, parameter in stack.named_parameters() if parameter.grad is not None})
    assert found[0].keys() == found[1].keys()
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_token_by_token_with_beams_that_change_places_and_number(stack, source):
    ours, theirs = T5Decoding(stack), CachedDecoding(stack)
    states = ours.begin(source), theirs.begin(source)
    beams = 1
    for wanted in (1, 4, 4, 2, 3):
        parents_BM = torch.randint(beams, (B, wanted))
        embeds_BMW = torch.randn(B, wanted, W)
        found = [decoding.advance(embeds_BMW, state, parents_BM) for decoding, state in zip((ours, theirs), states, strict=True)]
        torch.testing.assert_close(*found)
        beams = wanted


def test_dropout_acts_in_training_alone(stack, source):
    for module in stack.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.5
    embeds_BMLW, decoding = torch.randn(B, M, L, W), of(stack)
    assert isinstance(decoding, T5Decoding)
    assert (decoding.teach(embeds_BMLW, source) == decoding.teach(embeds_BMLW, source)).all()
    stack.train()
    assert (decoding.teach(embeds_BMLW, source) != decoding.teach(embeds_BMLW, source)).any()
