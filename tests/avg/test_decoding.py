"""T5's decoder run for many sequences a source has the states and gradients of transformers' own forward."""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401

import numpy as np
import pytest
import torch
from torch import nn

from avg.decoding import NONE, OwnDecoding, Source
from avg.t5_decoding import T5Decoding, is_t5

B, M, L, T, W = 3, 4, 5, 6, 16


@pytest.fixture(params=["relu", "gated-gelu", "mt5"])
def stack(request):
    from transformers import MT5Config, T5Config
    from transformers.models.mt5.modeling_mt5 import MT5Stack
    from transformers.models.t5.modeling_t5 import T5Stack

    torch.manual_seed(0)
    activation = "gated-gelu" if request.param == "mt5" else request.param
    config_class, stack_class = (MT5Config, MT5Stack) if request.param == "mt5" else (T5Config, T5Stack)
    config = config_class(
        d_model=W, d_kv=8, d_ff=20, num_layers=3, num_heads=2, dropout_rate=0.0, is_decoder=True, is_encoder_decoder=False, vocab_size=1,
        feed_forward_proj=activation, relative_attention_num_buckets=4, relative_attention_max_distance=6,
    )  # fmt: skip
    found = stack_class(config)
    for parameter in found.parameters():
        nn.init.normal_(parameter, std=0.5)
    return found.eval()


@pytest.fixture
def source():
    mask_BT = torch.arange(T) < torch.tensor([[6], [1], [4]])
    return Source(torch.randn(B, T, W), mask_BT)


def test_whole_sequences(stack, source):
    embeds_BMLW = torch.randn(B, M, L, W)
    torch.testing.assert_close(T5Decoding(stack).teach(embeds_BMLW, source), OwnDecoding(stack).teach(embeds_BMLW, source))


def test_gradients(stack, source):
    embeds_BMLW, found = torch.randn(B, M, L, W), []
    for decoding in (T5Decoding(stack), OwnDecoding(stack)):
        stack.zero_grad()
        decoding.teach(embeds_BMLW, source).square().sum().backward()
        found.append({name: parameter.grad.clone() for name, parameter in stack.named_parameters() if parameter.grad is not None})
    assert found[0].keys() == found[1].keys()
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("room", [0, 3, 50])
def test_tokens_of_beams_that_change_places_number_and_length(stack, source, room):
    """Both keep positions in their own ways, and must say the same of every tree."""
    ours, theirs = T5Decoding(stack), OwnDecoding(stack)
    states = ours.begin(source, 8, room), theirs.begin(source, 8)
    paths = [[]]  # of places read so far; the same for all queries
    random = np.random.default_rng(0)
    for wanted, new in ((1, 1), (4, 1), (4, 2), (2, 1), (3, 1)):
        chosen = [paths[random.integers(len(paths))] for _ in range(wanted)] if len(paths) > 1 else paths * wanted
        longest = max(map(len, chosen))
        past_BMt = torch.tensor([path + [NONE] * (longest - len(path)) for path in chosen]).expand(B, -1, -1).long()
        ragged = len(set(map(len, chosen))) > 1
        embeds_BMnW = torch.randn(B, wanted, new, W)
        found = [each.advance(embeds_BMnW, state, past_BMt, ragged) for each, state in zip((ours, theirs), states, strict=True)]
        torch.testing.assert_close(*(hidden for hidden, _ in found))
        places = found[0][1]
        assert places.tolist() == found[1][1].tolist()
        paths = [path for path in paths if path] + [path + row[: n + 1] for path, row in zip(chosen, places.tolist()) for n in range(new)]


def test_dropout_acts_in_training_alone(stack, source):
    for module in stack.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.5
    embeds_BMLW, decoding = torch.randn(B, M, L, W), T5Decoding(stack)
    assert is_t5(stack)
    assert (decoding.teach(embeds_BMLW, source) == decoding.teach(embeds_BMLW, source)).all()
    stack.train()
    assert (decoding.teach(embeds_BMLW, source) != decoding.teach(embeds_BMLW, source)).any()
