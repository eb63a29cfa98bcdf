"""Where the heavy work runs, and which number format its products are computed in."""

from __future__ import annotations

import torch


def device() -> torch.device:
    """Returns the device of heavy work: the first CUDA device, else the CPU."""
    # of several processes each has a current device of its own, which accelerate sets
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def fast_dtype(where: str | torch.device | None = None) -> torch.dtype:
    """Returns bfloat16 where the processor multiplies it in hardware (AMX or AVX-512 BF16; CUDA), else float32."""
    if torch.device(where or device()).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def search_precision() -> str:
    """Returns how queries are answered, as printed under a table: towers in the fast format, scores that decide ranks in float32."""
    return f"{str(fast_dtype()).removeprefix('torch.')} towers, float32 scores"


def autocast(where: str | torch.device | None = None) -> torch.autocast:
    """Returns a context in which matrix products run in `fast_dtype`; a no-op where that is float32."""
    where = torch.device(where or device())
    dtype = fast_dtype(where)
    return torch.autocast(where.type, dtype=dtype, enabled=dtype is not torch.float32)
