"""A copy of the code as it is when work is submitted: what runs hours later is this copy, whatever happens to the checkout meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from benchmarks.environment import CODE, PROJECT, SNAPSHOT, git


def take(folder: Path) -> Path:
    """Returns the folder, with a copy of the code, its commit, and what differs from that commit in `changes.diff`."""
    folder.mkdir(parents=True)
    for part in CODE:
        source = PROJECT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():  # not where the package was installed without its project's files
            shutil.copyfile(source, folder / part)
    if (PROJECT / SNAPSHOT).exists():
        shutil.copyfile(PROJECT / SNAPSHOT, folder / SNAPSHOT)
        return folder
    state = git()
    (folder / SNAPSHOT).write_text(json.dumps(state) + "\n")
    if state["dirty"]:
        done = subprocess.run(["git", "-C", str(PROJECT), "diff", "HEAD", "--", *CODE], capture_output=True, text=True)
        (folder / "changes.diff").write_text(done.stdout)
    return folder
