"""The cluster of one node beside another's: what belongs to somebody else is neither installed over nor stopped. Needs no SLURM."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.slurm.made import SCRIPT

MARK = "# written by one_node.sh\n"


@pytest.fixture
def machine(tmp_path):
    """Copies of the scripts that see folders of the test's own in place of /etc/slurm and /run/munge, and take the user for root."""
    (tmp_path / "slurm" / "cluster").mkdir(parents=True)
    for name in ("one_node.sh", "demo.sh"):
        text = SCRIPT.with_name(name).read_text().replace("/etc/slurm", f"{tmp_path}/etc").replace(" /run/munge", f" {tmp_path}/munge")
        (tmp_path / "slurm" / "cluster" / name).write_text(text)
        (tmp_path / "slurm" / "cluster" / name).chmod(0o755)
    for name, text in {
        ".ci/packages": f"touch {tmp_path}/installed; exit 1",
        "bin/id": "echo 0",
        "bin/python": f"touch {tmp_path}/ran",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    for name in ("etc", "munge", "base/run"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def munged(machine):
    """A process of that name, that whoever holds its number may stop."""
    shutil.copy(shutil.which("sleep"), machine / "munged")
    process = subprocess.Popen([machine / "munged", "100"])
    (machine / "munge" / "munged.pid").write_text(f"{process.pid}\n")
    yield process
    process.kill()
    process.wait()


def run(machine: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "PATH": f"{machine}/bin:{os.environ['PATH']}", "BASE": str(machine / "base")}
    return subprocess.run([machine / "slurm" / "cluster" / script, *arguments], env=given, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["slurm.conf", "gres.conf", "slurmdbd.conf"])
@pytest.mark.parametrize("script", [("one_node.sh", "up"), ("demo.sh", "python")])
def test_a_node_of_another_cluster_goes_on_undisturbed(machine, munged, name, script):
    (machine / "etc" / name).write_text("ClusterName=theirs\n")
    done = run(machine, *script)
    assert done.returncode == 1
    assert done.stderr == f"one_node.sh: {machine}/etc/{name} belongs to another cluster; not touching it: try on a machine without SLURM\n"
    assert not (machine / "installed").exists() and not (machine / "ran").exists()
    assert munged.poll() is None
    assert [path.name for path in (machine / "etc").iterdir()] == [name]


def test_what_did_not_come_up_is_taken_down_but_for_what_ran_before(machine, munged):
    """The packages cannot be installed; munged was there already."""
    (machine / "etc" / "slurm.conf").write_text(MARK)
    assert run(machine, "demo.sh", "python").returncode == 1
    assert (machine / "installed").exists() and not (machine / "ran").exists()
    assert munged.poll() is None


def test_what_this_script_started_it_stops(machine, munged):
    shutil.copy(machine / "munge" / "munged.pid", machine / "base" / "run" / "munged.pid")
    asker = threading.Thread(target=munged.wait, daemon=True)  # as an init does: `down` waits until the process is gone
    asker.start()
    assert run(machine, "one_node.sh", "down").returncode == 0
    asker.join(timeout=20)
    assert munged.poll() is not None
