"""Meters of energy: of the GPUs that a process may see, however they are named."""

from __future__ import annotations

import ctypes

import pytest

from benchmarks import energy

UUIDS = ("GPU-8a1b-0", "GPU-8a1b-1", "GPU-9c2d-0")


class Nvml:
    """Three GPUs; the meter of number n stands at n joules."""

    def nvmlInit_v2(self):
        return 0

    nvmlShutdown = nvmlInit_v2

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = len(UUIDS)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = index + 1
        return 0

    def nvmlDeviceGetUUID(self, handle, text, length):
        text.value = UUIDS[handle.value - 1].encode()
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, millijoules):
        millijoules._obj.value = 1000 * (handle.value - 1)
        return 0


@pytest.mark.parametrize(
    ("visible", "metered"),
    [(None, "012"), ("", ""), ("1", "1"), ("0, 2", "02"), ("GPU-9c2d", "2"), ("GPU-8a1b-1,GPU-9c2d-0", "12"), ("-1", "")],
)
def test_gpus_that_are_visible_are_metered(visible, metered, monkeypatch, tmp_path):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Nvml())
    monkeypatch.setattr(energy, "RAPL", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert energy.joules() == {f"gpu{number}": float(number) for number in metered}
