"""Where the heavy work runs, and which number format its products are computed in. Torch is imported inside functions: plans ask too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VARIABLE = "VOKENBENCH_PRECISION"
FORMATS = ("float32", "bfloat16")
GPUS = "CUDA_VISIBLE_DEVICES"


def asked() -> str | None:
    """Returns the number format that the environment variable `VOKENBENCH_PRECISION` asks for, None where the processor is to decide.

    Raises:
        ValueError: the variable says neither `fast`, which is the default, nor a format.
    """
    said = os.environ.get(VARIABLE, "fast")
    if said != "fast" and said not in FORMATS:
        raise ValueError(f"{VARIABLE}={said}: not a number format; set it to fast, {' or '.join(FORMATS)}")
    return None if said == "fast" else said


def lost_gpu() -> str:
    """Returns that this process was given a GPU which torch cannot use, and what may be wrong; nothing where all is well."""
    import torch

    given = os.environ.get(GPUS, "")
    if torch.cuda.is_available() or given in ("", "-1", "NoDevFiles"):
        return ""
    build = "is a build for processors" if torch.version.cuda is None else f"wants a driver for CUDA {torch.version.cuda} or newer"
    return f"{GPUS}={given}, but torch {torch.__version__} finds no GPU: it {build}"


def device() -> torch.device:
    """Returns the device of heavy work: the first CUDA device, else the CPU.

    Raises:
        ValueError: if this process was given a GPU that torch cannot use: on a processor, hours of work would be weeks of it.
    """
    import torch

    if lost := lost_gpu():
        raise ValueError(f"{lost}; to compute on the processor, set {GPUS} to nothing")
    # of several processes each has a current device of its own (`methods.fitting.processes.take_gpu`)
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def fast_dtype(where: str | torch.device | None = None) -> torch.dtype:
    """Returns bfloat16 where the processor multiplies it in hardware (AMX or AVX-512 BF16; CUDA), else float32, or what is `asked` for.

    With float32, machines agree up to the order of sums. A stage that the store has already is not made again in another format.
    """
    import torch

    if format_ := asked():
        return getattr(torch, format_)
    if torch.device(where or device()).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def search_precision() -> str:
    """Returns how queries are answered, as printed under a table: towers in the fast format, scores that decide ranks in float32."""
    return f"{str(fast_dtype()).removeprefix('torch.')} towers, float32 scores"


def autocast(where: str | torch.device | None = None) -> torch.autocast:
    """Returns a context in which matrix products run in `fast_dtype`; a no-op where that is float32."""
    import torch

    where = torch.device(where or device())
    dtype = fast_dtype(where)
    return torch.autocast(where.type, dtype=dtype, enabled=dtype is not torch.float32)
