"""Where the heavy work runs, and which number format its products are computed in."""

from __future__ import annotations

import os

import torch

VARIABLE = "VOKENBENCH_PRECISION"
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def device() -> torch.device:
    """Returns the device of heavy work: the first CUDA device, else the CPU."""
    # of several processes each has a current device of its own, which accelerate sets
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def fast_dtype(where: str | torch.device | None = None) -> torch.dtype:
    """Returns bfloat16 where the processor multiplies it in hardware (AMX or AVX-512 BF16; CUDA), else float32.

    The environment variable `VOKENBENCH_PRECISION` asks for one of the two by name, wherever the work runs: with `float32`, machines
    agree up to the order of sums. A stage that the store has already is not made again.

    Raises:
        ValueError: the variable says neither `fast`, which is the default, nor one of the two.
    """
    asked = os.environ.get(VARIABLE, "fast")
    if asked != "fast":
        if asked not in FORMATS:
            raise ValueError(f"{VARIABLE}={asked}: not a number format; set it to fast, {' or '.join(FORMATS)}")
        return FORMATS[asked]
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
