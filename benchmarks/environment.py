"""Where and with what a result was made: package versions, git state, hardware, job, peak memory."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
CODE = ("avg", "baselines", "methods", "benchmarks", "slurm", "pyproject.toml", "constraints.txt")
SNAPSHOT = "snapshot.json"
"""In a copy of the code that was taken when work was submitted: what `git` said of the checkout then."""
SCHEDULER = ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID", "RESTART_COUNT", "CLUSTER_NAME", "JOB_PARTITION", "JOB_NODELIST", "NTASKS")
PACKAGES = ("numpy", "scipy", "torch", "transformers", "timm", "open_clip_torch", "pillow", "scikit-learn", "faiss-cpu")


def environment() -> dict[str, Any]:
    """Returns versions, git state and hardware as JSON-able values; call it in the process that did the work, when it is done."""
    return {"versions": versions(), "git": git(), "hardware": hardware(), "scheduler": scheduler()}


@cache
def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def git() -> dict[str, Any]:
    """Returns {"commit", "dirty"} of the code that runs, asked once per process; None where the code lies in no git checkout.

    Only code makes a checkout dirty: the suite writes tables and summaries into the same checkout.
    """

    with contextlib.suppress(FileNotFoundError):
        return dict(json.loads((PROJECT / SNAPSHOT).read_text()))

    def ask(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    changed = ask("status", "--porcelain", "--", *(part for part in CODE if (PROJECT / part).exists()))
    return {"commit": commit, "dirty": None if commit is None or changed is None else bool(changed)}


def hardware() -> dict[str, Any]:
    found: dict[str, Any] = {"platform": f"{platform.system()} {platform.machine()}", "cpu": _cpu(), "cores": cores()}
    try:
        found["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        found["memory_gib"] = None
    # A stage that did not import torch used no GPU, and asking would cost the seconds of that import.
    torch = sys.modules.get("torch")
    found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch else []
    with contextlib.suppress(OSError):
        found["driver"] = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    return found


def scheduler() -> dict[str, str] | None:
    """Returns SLURM's ids of the job that this process runs in, or None."""
    found = {name.lower(): os.environ[f"SLURM_{name}"] for name in SCHEDULER if f"SLURM_{name}" in os.environ}
    return found or None


@cache
def _cpu() -> str:
    try:
        match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match.group(1) if match else platform.processor()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def forget_peak_memory() -> None:
    """Starts this process's peak of resident memory anew, where the system can: on Linux. Elsewhere it runs from the process's begin."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Returns the peak of this process's resident memory in bytes since `forget_peak_memory`."""
    with contextlib.suppress(OSError):
        match = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
        if match:
            return int(match.group(1)) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
