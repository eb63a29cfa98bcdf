"""What every test runs under: no hub is asked for anything, and hypothesis draws the same examples each time."""

from __future__ import annotations

import os

# Before any test imports transformers or open_clip; the processes that tests start inherit it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker a core: threads of several pools that wait for each other would take most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# A deadline on a shared machine of two cores fails at random.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
