"""What SLURM says of jobs: squeue of those that live, sacct of those that ended; without sacct, what the controller still remembers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from submitit.slurm.slurm import SlurmInfoWatcher

WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
RUNNING = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")
DEGRADED = "sacct does not answer ({}): jobs that ended are known only as long as the controller remembers them, and from what they wrote"


@dataclass(frozen=True)
class Job:
    """One job as SLURM knows it. `exit` is CODE:SIGNAL, `reason` why it waits or how it ended, where SLURM says so."""

    state: str
    reason: str = ""
    node: str = ""
    exit: str = ""
    elapsed: str = ""

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def runs(self) -> bool:
        return self.state in RUNNING

    @property
    def active(self) -> bool:
        return self.waits or self.runs


@dataclass(frozen=True)
class Answer:
    """Jobs by id, those that nobody knows left out, and what could not be asked; `unknown` says why squeue did not answer."""

    jobs: dict[str, Job]
    complaints: tuple[str, ...] = ()
    unknown: str = ""


def ask(job_ids: Sequence[str]) -> Answer:
    """Returns the states of jobs, elements of arrays as `ARRAY_INDEX`."""
    if not job_ids:
        return Answer({})
    arrays = sorted({job_id.partition("_")[0] for job_id in job_ids}, key=int)
    complaints = []
    live, unknown = _live(arrays)
    if unknown:
        complaints.append(f"squeue does not answer ({unknown}): what waits and runs is not known")
    ended, trouble = _accounted(arrays)
    if trouble:
        complaints.append(DEGRADED.format(trouble))
        ended = _remembered(arrays)
    found = {**ended, **live}
    return Answer({job_id: found[job_id] for job_id in job_ids if job_id in found}, tuple(complaints), unknown)


def _live(arrays: Sequence[str]) -> tuple[dict[str, Job], str]:
    text, trouble = _run("squeue", "-h", "-r", "-o", "%i|%T|%r|%N|%M", "-j", ",".join(arrays))
    found = {}
    for line in text.splitlines():
        job_id, state, reason, node, elapsed = line.split("|")
        found[job_id] = Job(state, "" if reason == "None" else reason, node, elapsed=elapsed)
    return found, "" if "Invalid job id" in trouble else trouble  # all of them ended long ago


def _accounted(arrays: Sequence[str]) -> tuple[dict[str, Job], str]:
    text, trouble = _run("sacct", "-X", "-P", "-o", "JobID,State,ExitCode,NodeList,Elapsed,Reason", "-j", ",".join(arrays))
    found = {}
    for job_id, said in SlurmInfoWatcher().read_info(text).items():
        # "CANCELLED by 0"
        reason = "" if said["Reason"] == "None" else said["Reason"]
        found[job_id] = Job(said["State"].split()[0], reason, said["NodeList"], said["ExitCode"], said["Elapsed"])
    return found, trouble


def _remembered(arrays: Sequence[str]) -> dict[str, Job]:
    found = {}
    for array in arrays:
        for line in _run("scontrol", "-o", "show", "job", array)[0].splitlines():
            said = dict(re.findall(r"(?:^| )(\w+)=(\S*)", line))
            job = Job(said["JobState"], "" if said["Reason"] == "None" else said["Reason"], said.get("NodeList", ""), said["ExitCode"])
            task = said.get("ArrayTaskId", "")
            if not task:
                found[said["JobId"]] = job
            elif task.isdecimal():  # a range stands for elements that squeue lists one by one
                found[f"{said['ArrayJobId']}_{task}"] = job
    return found


def _run(*command: str) -> tuple[str, str]:
    """Returns what a command printed, and what went wrong."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return "", f"no {command[0]} on PATH"
    except subprocess.TimeoutExpired:
        return "", "no answer within a minute"
    return done.stdout, " ".join(done.stderr.split()) or f"exit code {done.returncode}" if done.returncode else ""
