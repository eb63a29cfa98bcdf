"""Energy that this machine's meters counted while something ran: NVIDIA's of each visible GPU, Intel's and AMD's of the processors.

The meters count for everybody who uses the device at the time, not for one process.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

RAPL = Path("/sys/class/powercap")


def joules() -> dict[str, float]:
    """Returns what each meter stands at; meters that are not there or may not be read are left out."""
    return {**_processors(), **_gpus()}


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float] | None:
    """Returns joules by meter between two readings; None where there is no meter. One that ran over its end is left out."""
    found = {name: round(after[name] - before[name], 1) for name in before if after.get(name, -1.0) >= before[name]}
    return found or None


def _processors() -> dict[str, float]:
    found = {}
    for path in sorted(RAPL.glob("intel-rapl:?/energy_uj")):  # AMD's too, under this name; only root may read it on most machines
        try:
            found[path.parent.name] = int(path.read_text()) / 1e6
        except (OSError, ValueError):
            continue
    return found


def _gpus() -> dict[str, float]:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return {}
    if nvml.nvmlInit_v2() != 0:
        return {}
    found, count = {}, ctypes.c_uint()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = None if visible is None else [name.strip() for name in visible.split(",")]
    if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0:
        for index in range(count.value):
            handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
            if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != 0:
                continue
            if named is not None and str(index) not in named:
                uuid = ctypes.create_string_buffer(96)
                if nvml.nvmlDeviceGetUUID(handle, uuid, 96) != 0 or not any(n and uuid.value.decode().startswith(n) for n in named):
                    continue
            if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)) == 0:  # Volta and newer
                found[f"gpu{index}"] = millijoules.value / 1e3
    nvml.nvmlShutdown()
    return found
