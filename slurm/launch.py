"""Hands functions to SLURM through submitit: arrays of like jobs, not more at once than the profile says, after the jobs they need."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submitit.core.utils import FailedJobError, FailedSubmissionError, JobPaths
from submitit.helpers import clean_env
from submitit.slurm.slurm import SlurmExecutor, _make_sbatch_string

from slurm.profile import Profile, Resources

MAX_ARRAY = 1001
"""SLURM's default MaxArraySize: one more than the largest array."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a group of like jobs has in common.

    Args:
        name: of the jobs.
        after: ids of jobs and arrays that must have ended, in whatever way.
        folder: where the jobs run.
        logs: of scripts, pickles and logs; shared by all nodes.
        variables: set in the jobs; a value may name variables of the node's.
        restarts: how often one that ran out of time is put back into the queue; one that was pre-empted always is, unless late in its time.
    """

    name: str
    resources: Resources
    folder: Path
    logs: Path
    restarts: int
    after: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def parameters(order: Order, profile: Profile) -> dict[str, Any]:
    """Returns submitit's parameters for a group of jobs."""
    asked = order.resources
    stays = profile.sbatch.get("no-requeue") or profile.sbatch.get("no_requeue")
    further: dict[str, Any] = {"chdir": str(order.folder), "requeue": not stays}
    if profile.reservation:
        further["reservation"] = profile.reservation
    exports = [f'export {name}="{value}"' for name, value in order.variables.items()]
    found = {
        "job_name": order.name,
        "time": asked.minutes,
        "nodes": 1,
        "ntasks_per_node": asked.processes,
        "cpus_per_task": asked.cpus,
        "mem": None if asked.memory_gb is None else f"{round(asked.memory_gb * 1024)}M",
        "gpus_per_node": asked.gpus if asked.gpus and asked.gres is None else None,
        "gres": asked.gres,
        "account": profile.account,
        "partition": asked.partition or profile.partition,
        "qos": asked.qos or profile.qos,
        "constraint": asked.constraint or profile.constraint,
        "exclude": profile.exclude,
        "mail_user": profile.mail_user,
        "mail_type": profile.mail_type,
        "wckey": None,
        "signal_delay_s": profile.notice_seconds,
        "array_parallelism": profile.parallel,
        "dependency": f"afterany:{':'.join(order.after)}" if order.after else None,
        # srun of SLURM 22.05 and later no longer takes the processors a task from sbatch
        "setup": [*exports, 'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"', *profile.setup],
        # one that dies would leave its siblings waiting for it
        "srun_args": ["--kill-on-bad-exit=1", *profile.srun],
        "additional_parameters": {name: value for name, value in {**further, **profile.sbatch}.items() if value is not False},
    }
    return {name: value for name, value in found.items() if value is not None or name == "wckey"}


def script(count: int, order: Order, profile: Profile) -> str:
    """Returns the script that sbatch is given for an array of so many jobs. Needs no SLURM."""
    command = f"{profile.python or shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(order.logs))}"
    return _make_sbatch_string(command, order.logs, map_count=count if count > 1 else None, **parameters(order, profile))


def submit(functions: Sequence[Callable[[], Any]], order: Order, profile: Profile) -> list[str]:
    """Returns the ids of the jobs, `ARRAY_INDEX` where there are several.

    Args:
        functions: picklable; no more than `largest_array()`.

    Raises:
        ValueError: if SLURM refuses them: in its own words.
    """
    executor = SlurmExecutor(order.logs, max_num_timeout=order.restarts, python=profile.python)
    executor.update_parameters(**parameters(order, profile))
    try:
        with clean_env():
            jobs = executor.submit_array(functions)
    except (FailedJobError, FailedSubmissionError) as error:
        words = re.findall(r"sbatch: (?:error: |fatal: )?(.+)", str(error)) or [str(error).strip().splitlines()[-1]]
        raise ValueError(f"sbatch refused {order.name}: {'; '.join(dict.fromkeys(words))}") from error
    return [job.job_id for job in jobs]


def logs(folder: Path, job_id: str, task: int = 0) -> tuple[Path, Path]:
    """Returns where a job's standard output and error go."""
    paths = JobPaths(folder, job_id, task)
    return paths.stdout, paths.stderr


def cancel(job_ids: Sequence[str]) -> None:
    """Cancels jobs; those that have ended are left alone.

    Raises:
        ValueError: if SLURM refuses: in its own words.
    """
    if job_ids:
        done = subprocess.run(["scancel", *job_ids], capture_output=True, text=True)
        if done.returncode and "Invalid job id" not in done.stderr and "already completed" not in done.stderr:
            raise ValueError(f"scancel: {' '.join(done.stderr.split())}")


def check_commands() -> None:
    """Raises a ValueError if this machine cannot submit."""
    for command in ("sbatch", "srun", "squeue", "scancel"):
        if shutil.which(command) is None:
            raise ValueError(f"no {command} on PATH: submit on a login node of the cluster, or take --executor local or inline")


def largest_array() -> int:
    """Returns how many jobs an array of this cluster may have."""
    try:
        answer = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer, re.MULTILINE)
    return max((int(found[1]) if found else MAX_ARRAY) - 1, 1)
