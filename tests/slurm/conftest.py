"""A real SLURM on this machine, brought up once for all tests that need one, and taken down behind the last."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

import pytest

from benchmarks.stages import Store
from tests.slurm.made import ROOT, SCRIPT, wait_for

DAEMONS = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd")


def pytest_collection_modifyitems(items):
    """Marks the tests that need the cluster."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture
def cluster(_cluster):
    """The host's name; SLURM runs. What a test leaves in the queue is cancelled."""
    yield _cluster
    subprocess.run("squeue -h -o %A | sort -u | xargs -r scancel", shell=True, check=True)
    wait_for(lambda: not subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout)


@pytest.fixture(scope="session")
def _cluster():
    """SLURM, while this lasts. A missing one is a failure, not a skip."""
    missing = [name for name in DAEMONS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing or os.geteuid():
        pytest.fail(f"these tests need a real SLURM, {', '.join(missing) or 'and root to start it'}: run `make slurm-test` as root", False)
    subprocess.run([SCRIPT, "up"], check=True)
    yield socket.gethostname().partition(".")[0]
    subprocess.run([SCRIPT, "down"], check=True)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # where jobs find `work.py`
    return Store(tmp_path / "store")
