"""Which number format the heavy products are computed in."""

from __future__ import annotations

import torch


def fast_dtype(device: str = "cpu") -> torch.dtype:
    """Returns bfloat16 where the processor multiplies it in hardware (AMX or AVX-512 BF16; CUDA), else float32."""
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def search_precision() -> str:
    """Returns how queries are answered, as printed under a table: towers in the fast format, scores that decide ranks in float32."""
    return f"{str(fast_dtype()).removeprefix('torch.')} towers, float32 scores"


def autocast(device: str = "cpu") -> torch.autocast:
    """Returns a context in which matrix products run in `fast_dtype`; a no-op where that is float32."""
    dtype = fast_dtype(device)
    return torch.autocast(device.split(":")[0], dtype=dtype, enabled=dtype is not torch.float32)


def device() -> torch.device:
    """Returns the device of heavy work: the first CUDA device, else the CPU."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
