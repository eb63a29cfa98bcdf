"""Packed linear layers against PyTorch's own, and where they stand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avg.generators import create
from avg.packed import PackedLinear, pack
from tests.methods.made_up import SETTINGS, STATE, WIDTH, splits

ROUNDED = pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bfloat16 products on this processor")


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=ROUNDED)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3, 5), (0,), (3, 0)], ids=str)
@torch.inference_mode()
def test_products_are_those_of_pytorch(dtype, bias, shape):
    torch.manual_seed(0)
    linear = nn.Linear(33, 20, bias=bias).to(dtype)
    states = torch.randn(*shape, 33).to(dtype)
    rounding = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(PackedLinear(linear)(states), linear(states), rtol=rounding, atol=rounding)
    turned = torch.randn(33, 6).to(dtype).T
    torch.testing.assert_close(PackedLinear(linear)(turned), linear(turned), rtol=rounding, atol=rounding)


def test_what_is_asked_of_weights_is_known_and_their_numbers_are_kept_once():
    linear = nn.Linear(33, 20)
    packed = PackedLinear(linear)
    assert packed.weight.shape == linear.weight.shape and packed.weight.dtype == linear.weight.dtype
    assert packed.weight.device.type == "meta" and not list(packed.parameters()) and not packed.state_dict()


def test_layers_that_others_read_the_weights_of_stay_and_others_are_replaced():
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2), "feed": nn.Sequential(nn.Linear(8, 8), nn.ReLU())})
    pack(model)
    assert isinstance(model["attention"].out_proj, nn.Linear) and isinstance(model["feed"][0], PackedLinear)
    model["attention"](*[torch.ones(3, 1, 8)] * 3)


def test_what_no_processor_packs_stays():
    halves = nn.Sequential(nn.Linear(8, 8).half())
    elsewhere = nn.Sequential(nn.Linear(8, 8, device="meta"))
    for model in (halves, elsewhere):
        pack(model)
        assert type(model[0]) is nn.Linear


@torch.inference_mode()
def test_a_packed_generator_says_what_it_said():
    torch.manual_seed(0)
    model, val = create(SETTINGS, tokens=5, state_width=STATE, vector_width=WIDTH).eval(), splits()["val"]
    source, codes = val.text_source(model, torch.arange(3)), torch.tensor([[0, 1], [2, 3], [4, 4]])
    expected = model(source, codes)
    model.pack()
    assert any(isinstance(module, PackedLinear) for module in model.decoder.modules())
    torch.testing.assert_close(model(source, codes), expected, rtol=1e-5, atol=1e-5)
