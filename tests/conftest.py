"""What every test runs under: no hub is asked for anything, products are float32, hypothesis draws the same examples each time."""

from __future__ import annotations

import os

# Before any test imports transformers or open_clip; the processes that tests start inherit it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# On any processor: bfloat16's rounding would hide what parity tests look for. Tests of bfloat16 ask for it.
os.environ["VOKENBENCH_PRECISION"] = "float32"
if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker a core: threads of several pools that wait for each other would take most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# A deadline on a shared machine of two cores fails at random.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def tiny_features(tmp_path_factory) -> Path:
    """A store with the tiny data set, its encoder and its features, made once for all workers: to be copied to where a test works."""
    from benchmarks import campaign, tables
    from benchmarks.options import TINY_DATASET
    from benchmarks.stages import Store

    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    with FileLock(root / "tiny-features.lock"):
        if not (whole := root / "tiny-features").exists():
            store = Store(root / "tiny-features.making")
            for plan in campaign.plan_cells(tables.table("table1"), (TINY_DATASET,), tiny=True):
                for stage in plan.ranking.ancestors():
                    if stage.name in ("data", "encoder", "trunks", "features"):
                        store.run(stage)
            store.root.rename(whole)
    return whole
