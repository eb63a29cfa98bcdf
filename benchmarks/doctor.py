"""What this machine can do: versions, hardware, disk, the hub's cache, data, and which tables can run now or what they still need."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.environment import PROJECT, hardware
from benchmarks.options import DEFAULT_DATASET
from benchmarks.roots import roots
from benchmarks.spec import Row
from methods.machine import gpus, lost_gpu, product_format
from methods.needs import Need, hub_cache, is_met, missing

KEY_PACKAGES = ("torch", "torchvision", "transformers", "open_clip_torch", "timm", "huggingface_hub", "numpy", "scikit-learn", "pillow")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
ENVIRONMENTS = ("lavis",)


def examine(store: Path, results: Path) -> dict[str, Any]:
    """Returns everything as JSON-able values. Nothing is made, fetched or changed, and what is missing is no error."""
    return {
        "python": python(),
        "packages": packages(),
        "hardware": {**hardware(), "gpus": gpus(), "lost gpu": lost_gpu(), "precision": "" if lost_gpu() else product_format()},
        "disk": {"store": disk(store), "results": disk(results), "hub cache": disk(hub_cache())},
        "hub": hub(),
        "environments": {name: is_met(Need("environment", name)) for name in ENVIRONMENTS},
        "data roots": {name: str(root) for name, root in roots().items()},
        "tables": {name: readiness(name) for name in tables.TABLES},
    }


def python() -> dict[str, Any]:
    wanted = _pyproject().get("requires-python", "")
    version = sys.version.split()[0]
    least = tuple(int(part) for part in wanted.removeprefix(">=").split(".")) if wanted else ()
    return {"version": version, "wanted": wanted, "ok": sys.version_info[: len(least)] >= least, "executable": sys.executable}


def packages() -> list[dict[str, Any]]:
    """Returns name, installed version, and the version that was tested (`constraints.txt`) of the packages that decide results."""
    path = PROJECT / "constraints.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    tested = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    found = []
    for name in KEY_PACKAGES:
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = None
        pinned = tested.get(name.lower().replace("_", "-"))
        same = installed is not None and (pinned is None or installed.split("+")[0] == pinned.split("+")[0])
        found.append({"name": name, "installed": installed, "tested": pinned, "ok": same})
    return found


def disk(folder: Path) -> dict[str, Any]:
    """Returns where a folder is, or would be, and how much is free there."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return {"path": str(folder.absolute()), "exists": folder.exists(), "free_gb": round(shutil.disk_usage(there).free / 1e9, 1)}


def hub() -> dict[str, Any]:
    held = sorted(path.name.removeprefix("models--").replace("--", "/") for path in hub_cache().glob("models--*"))
    return {
        "cache": str(hub_cache()),
        "HF_HOME": os.environ.get("HF_HOME"),
        "offline": {name: os.environ[name] for name in OFFLINE if name in os.environ},
        "models": held,
    }


def readiness(name: str) -> dict[str, Any]:
    """Returns what a table's models lack, and for the default data set and those whose numbers it prints, what keeps it from running."""
    table = tables.table(name)
    lacking = {row.key: _models_lacking(row) for row in table.rows}
    wanting = [row for row in table.rows if lacking[row.key]]
    data = {dataset: _data_lacking(dataset) for dataset in dict.fromkeys([DEFAULT_DATASET, *table.reported])}
    return {
        "models lacking": list(dict.fromkeys(each for found in lacking.values() for each in found)),
        "rows that lack a model": [row.key for row in wanting],
        "data": {
            dataset: {"ready": not lack and not any(row.applies_to(dataset) for row in wanting), "needs": lack}
            for dataset, lack in data.items()
        },
    }


def _models_lacking(row: Row) -> list[str]:
    from benchmarks.prefetch import needs_of

    try:
        return [f"{need}: {need.remedy}" for need in missing(needs_of([row]))]
    except ValueError as error:
        return [str(error)]


def _data_lacking(dataset: str) -> str:
    from benchmarks.datasets import data_stage

    try:
        data_stage(dataset)
    except ValueError as error:
        return str(error)
    return ""


def text(found: Mapping[str, Any]) -> str:
    """Returns what `examine` found for people; what keeps something from running is marked by `!`."""
    from benchmarks.prefetch import remedied

    def mark(ok: bool) -> str:
        return " " if ok else "!"

    python, machine, hub, wrong = found["python"], found["hardware"], found["hub"], [each for each in found["packages"] if not each["ok"]]
    lines = [f"{mark(python['ok'])} Python {python['version']} (wanted {python['wanted']}), {python['executable']}"]
    lines += [f"  {len(found['packages']) - len(wrong)} of {len(found['packages'])} key packages as tested"]
    lines += [f"! {each['name']} {each['installed'] or 'missing'}, tested with {each['tested']}" for each in wrong]
    lines.append(f"  {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['precision'] or 'unknown'} products")
    lines += [f"  GPU {gpu['name']}, {gpu['memory_gib']} GiB, {'bf16' if gpu['bf16'] else 'no bf16'}" for gpu in machine["gpus"]] or [
        f"! {machine['lost gpu']}" if machine["lost gpu"] else "  no GPU"
    ]
    lines += [
        f"{mark(place['free_gb'] > 5)} {name}: {place['free_gb']:,} GB free at {place['path']}" for name, place in found["disk"].items()
    ]
    offline = ", ".join(f"{name}={value}" for name, value in hub["offline"].items()) or "online"
    lines.append(f"  hub: {len(hub['models'])} models in {hub['cache']} (HF_HOME {hub['HF_HOME'] or 'not set'}; {offline})")
    lines += [f"  environment {name}: {'there' if there else f'not made (`make {name}`)'}" for name, there in found["environments"].items()]
    lines += [f"  data {name}: {root}" for name, root in found["data roots"].items()] or ["  no roots of data sets are known"]
    for name, state in found["tables"].items():
        for dataset, facts in state["data"].items():
            told = "can run now" if facts["ready"] else facts["needs"] or "needs models, see below"
            lines.append(f"{mark(facts['ready'])} {name} on {dataset}: {told}")
        lines += [f"      {line}" for line in remedied(state["models lacking"], name)]
    return "\n".join(lines)


def _pyproject() -> dict[str, Any]:
    path = PROJECT / "pyproject.toml"
    return tomllib.loads(path.read_text())["project"] if path.is_file() else {}
