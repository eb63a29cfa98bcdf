"""What this machine computes with: its GPUs, and the number format of heavy products."""

from __future__ import annotations

import gc
import sys
from typing import Any


def gpus() -> list[dict[str, Any]]:
    """Returns name, memory and whether bfloat16 is computed in hardware, of every CUDA device that is visible."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        found.append({"name": facts.name, "memory_gib": round(facts.total_memory / 2**30, 1), "bf16": facts.major >= 8})
    return found


def free_memory() -> None:
    """Gives back what finished work held: a training's parts refer to each other, and go only when they are looked for."""
    if "torch" in sys.modules:
        gc.collect()
        sys.modules["torch"].cuda.empty_cache()


def lost_gpu() -> str:
    """Returns what `avg.precision.lost_gpu` does."""
    from avg import precision

    return precision.lost_gpu()


def check_product_format() -> None:
    """Raises a ValueError if the environment asks for an unknown format of heavy products: see `avg.precision.asked`."""
    from avg.precision import asked

    asked()


def product_format() -> str:
    """Returns the format of heavy products on the device that is used: `bfloat16`, or `float32` where that is not faster."""
    from avg.precision import fast_dtype

    return str(fast_dtype()).removeprefix("torch.")
