"""Linear layers for inference on a CPU, whose weights are laid out for it once and not anew at every product.

I and O: width of input and output.

A matrix product on a CPU first copies its weights into blocks that fit registers and caches. In training, where they change, it has to; in
a search the same weights meet few rows thousands of times, and copying takes up to half of the time. PyTorch packs weights for its compiler
alone (`torch._inductor`, freezing), by the two oneDNN operators that are used here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FORMATS = (torch.float32, torch.bfloat16)


class PackedLinear(nn.Module):
    """`nn.Linear` with packed weights: it computes the same up to the order of sums, and neither learns nor is saved.

    Attributes:
        weight: shape and number format, which transformers and peft ask for, on no device: the numbers are packed.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight = torch.empty_like(linear.weight, device="meta")
        self.bias_O = None if linear.bias is None else linear.bias.detach()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())

    def forward(self, states: Tensor) -> Tensor:
        """Returns (..., O) of (..., I)."""
        return torch.ops.mkldnn._linear_pointwise(states, self._packed, self.bias_O, "none", [], "")


def pack(module: nn.Module) -> None:
    """Replaces the linear layers inside a module by packed ones where its processor computes them; elsewhere, as on a GPU, nothing is done.

    Linear layers of other classes stay: what holds them reads their weights, as `nn.MultiheadAttention` does.
    """
    for name, child in module.named_children():
        if type(child) is not nn.Linear:
            pack(child)
        elif _packs(child.weight):
            setattr(module, name, PackedLinear(child))


def _packs(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or weight.dtype not in FORMATS or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype is torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
