"""Whole tables on SLURM and on the local queue, to the bytes that they have inline."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.stages import Store
from tests.slurm.made import command, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]  # minutes each

TABLE = ("all", "--tiny", "--tables", "table3")


@pytest.fixture(scope="module")
def inline(tmp_path_factory, tiny_features):
    """The folder of Table 3 as one process makes it."""
    folder = tmp_path_factory.mktemp("inline")
    shutil.copytree(tiny_features, folder / "store")
    done = command(folder / "store", *TABLE, "--results", "results", timeout=600, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    return folder


def tables(folder):
    return {path.name: path.read_bytes() for path in (folder / "results" / "openmoji-scenes-tiny").glob("table3.*")}


def test_a_table_on_slurm_is_the_table_inline(cluster, inline, tmp_path, tiny_features):
    root = shutil.copytree(tiny_features, tmp_path / "store")
    done = command(root, *TABLE, "--results", "results", "--executor", "slurm", "--profile", "one-node")
    assert done.returncode == 0, done.stderr
    assert "16 stages" in done.stdout
    watched = command(root, "status", "--watch", "--every", "3", timeout=900)
    assert watched.returncode == 0, watched.stdout[-3000:]
    assert "16 done of 16 stages" in watched.stdout
    assert command(root, "collect").returncode == 0
    assert tables(tmp_path) == tables(inline) != {}


def test_collect_marks_what_is_missing_and_keeps_it(inline, tmp_path):
    """A batch of the local queue, cancelled before all of it is made; finished stages are those of the inline run."""
    shutil.copytree(inline, tmp_path, dirs_exist_ok=True)
    store = Store(tmp_path / "store")
    for path in (store.root / "ranking").iterdir():
        shutil.rmtree(path)
    done = command(store, *TABLE, "--results", "results", "--executor", "local", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: " done" in command(store, "status").stdout)
    assert "cancelled" in command(store, "cancel").stdout
    done = command(store, "collect")
    assert done.returncode == 1 and "are not done" in done.stdout
    assert command(store, "resubmit", "--failed").returncode == 0
    assert command(store, "status", "--watch", "--every", "1", timeout=300).returncode == 0
    assert command(store, "collect").returncode == 0
    assert tables(tmp_path) == tables(inline) != {}
