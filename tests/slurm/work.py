"""What the jobs of these tests do: functions of stages, found by jobs under the project's root."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from methods.fitting.heartbeat import beat
from methods.fitting.interruption import Interrupted, asked, listening


def note(config, inputs, out):
    """Waits and writes when and as what it ran; fails, dies or eats memory where its configuration says so."""
    begin = time.time()
    if config.get("fails_unless") and not Path(config["fails_unless"]).exists():
        raise RuntimeError("on purpose")
    if config.get("signal"):
        time.sleep(1)
        os.kill(os.getpid(), config["signal"])
    if config.get("gigabytes"):
        eaten = bytearray(int(config["gigabytes"] * 2**30))
        eaten[::4096] = b"1" * len(eaten[::4096])
    for number in range(int(10 * config.get("seconds", 0))):
        beat(config["name"], number, int(10 * config["seconds"]))
        time.sleep(0.1)
    (out / "said.txt").write_text(f"{config['name']}({','.join((inputs[name] / 'said.txt').read_text() for name in sorted(inputs))})")
    variables = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "PYTHONPATH")
    return {"begin": begin, "end": time.time(), **{name: os.environ.get(name) for name in variables}, "file": __file__}


def steps(config, inputs, out):
    """Counts in steps of a tenth of a second, and keeps its count when it is asked to stop."""
    kept, runs = out / "unfinished" / "steps.txt", out / "unfinished" / "runs.txt"
    first = int(kept.read_text()) if kept.exists() else 0
    runs.write_text((runs.read_text() if runs.exists() else "") + f"{first} ")
    with listening():
        for step in range(first, config["steps"]):
            time.sleep(0.1)
            if asked():
                kept.write_text(str(step + 1))
                if asked() == "stop":
                    raise Interrupted
    return {"runs": [int(start) for start in runs.read_text().split()]}


def train(config, inputs, out):
    """A real training on made-up features, each update of which takes a second longer."""
    from methods import training
    from methods.fitting.trainer import Trainer

    update = Trainer._update

    def slowly(self, *arguments):
        time.sleep(config["pause"])
        update(self, *arguments)

    Trainer._update = slowly
    folders = {name: Path(config["folder"]) / name for name in ("data", "trunks", "features", "codes")}
    report = training.train({name: value for name, value in config.items() if name not in ("pause", "folder", "name")}, folders, out)
    return {**report, "ranks": os.environ.get("SLURM_NTASKS"), "signal": signal.SIGUSR2}
