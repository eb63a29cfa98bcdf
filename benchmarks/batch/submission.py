"""Submits what is missing of some tables: to SLURM as arrays that wait for each other, or to a queue on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.batch.batch import FOLDER, Batch, Group, Request, batches, create, grouped, kind_of, missing_of, submitting
from benchmarks.batch.job import StageJob, shared
from benchmarks.environment import PROJECT
from benchmarks.options import STORE_VARIABLE
from benchmarks.prefetch import needed, refuse_missing
from benchmarks.results_folder import writable
from benchmarks.stages import DEFAULT_ROOT, Store
from benchmarks.user_error import UserError
from methods.stage import Stage
from slurm import accounting, launch
from slurm.profile import Profile, read_profile

Say = Callable[[str], None]


def to_slurm(requests: Sequence[Request], store: Store, profile: Profile) -> Batch | None:
    """Returns the batch, or None if nothing is missing. What a job of another batch is about to make is waited for, not made again.

    Raises:
        ValueError: if SLURM refuses, in its words; then nothing of the batch is left in its queue.
    """
    launch.check_commands()
    with submitting(store):
        missing = missing_of(requests, store)
        if not missing:
            return None
        elsewhere = running(store)
        batch = create(requests, store, "slurm", missing)
        _submit(batch, missing, store, profile, elsewhere)
        return batch


def again(batch: Batch, stages: Sequence[Stage], store: Store, profile: Profile) -> None:
    """Submits some of a batch's stages once more, with the code as it is now; inputs come first."""
    launch.check_commands()
    with submitting(store):
        _submit(batch, stages, store, profile, running(store))


def _submit(batch: Batch, stages: Sequence[Stage], store: Store, profile: Profile, elsewhere: Mapping[str, str]) -> None:
    record, code, submitted = batch.record(), batch.new_code(), []
    job_of = dict(elsewhere)
    record["cancelled"] = None
    for stage in stages:
        if stage.key in elsewhere:
            record["stages"][stage.key]["jobs"].append(elsewhere[stage.key])
    todo = [stage for stage in stages if stage.key not in elsewhere]
    try:
        for group in grouped(todo, launch.largest_array()):
            order = _order(batch, group, code, profile, job_of)
            ids = launch.submit([_task(batch, stage, store, profile) for stage in group.stages], order, profile)
            submitted += ids
            for stage, job in zip(group.stages, ids, strict=True):
                job_of[stage.key] = job
                record["stages"][stage.key]["jobs"].append(job)
            batch.write(record)  # after each: who is killed here leaves no job that nobody knows
    except ValueError:
        launch.cancel(submitted)
        raise
    batch.write(record)


def _order(batch: Batch, group: Group, code: Path, profile: Profile, job_of: Mapping[str, str]) -> launch.Order:
    inputs = [job_of[before.key] for stage in group.stages for before in stage.inputs.values() if before.key in job_of]
    variables = {
        "PYTHONPATH": f"{code}${{PYTHONPATH:+:$PYTHONPATH}}",
        "OMP_NUM_THREADS": "${SLURM_CPUS_PER_TASK:-1}",
        "TQDM_DISABLE": "1",
    }
    variables |= _lavis()
    return launch.Order(
        name=f"{batch.id}-{group.name}",
        resources=getattr(profile.classes, group.kind),
        # a whole array stands for each of its elements: the list stays short, and no more arrays run at once than levels
        after=tuple(dict.fromkeys(job.partition("_")[0] for job in inputs)),
        folder=code,
        logs=batch.logs,
        variables=variables,
        # what begins anew runs out of time again; once, since a late pre-emption looks like that too
        restarts=profile.restarts if group.resumes else min(profile.restarts, 1),
    )


def _lavis() -> dict[str, str]:
    """Returns the variable that names LAVIS's environment to the copied code, of which it is no part; nothing where the user named one."""
    folder = PROJECT / ".venv-lavis"
    return {"VOKENBENCH_LAVIS": str(folder)} if folder.is_dir() and "VOKENBENCH_LAVIS" not in os.environ else {}


def _task(batch: Batch, stage: Stage, store: Store, profile: Profile) -> Any:
    from methods.fitting.interruption import Interrupted, ask
    from slurm.task import Task

    several = kind_of(stage) == "gpus"
    if several:
        stage = shared(stage, profile.classes.gpus.processes)
    job = StageJob(store=store.root, stage=stage, jobs=batch.jobs)
    return Task(job, Interrupted, ask, profile.notice_seconds, job.follow if several else None)


def running(store: Store) -> dict[str, str]:
    """Returns the job of each stage that waits or runs in SLURM for some batch of the store.

    Raises:
        UserError: if squeue does not answer.
    """
    # one of an old batch that was submitted again may live where a newer batch's has ended
    last = [
        (key, stage["jobs"][-1])
        for batch in batches(store)
        if (record := batch.record())["executor"] == "slurm"
        for key, stage in record["stages"].items()
        if stage["jobs"]
    ]
    answer = accounting.ask([job for _, job in last])
    if answer.unknown:
        raise UserError(f"squeue does not answer ({answer.unknown}), so that jobs might be submitted twice: try again when it does")
    return {key: job for key, job in last if job in answer.jobs and answer.jobs[job].active}


def to_queue(requests: Sequence[Request], store: Store, slots: int) -> Batch | None:
    """Returns the batch, or None if nothing is missing. A process of its own works it off, and outlives this one.

    Args:
        slots: stages at once; 0: one a GPU, or as many as `workers.usual` gives.
    """
    with submitting(store):
        missing = missing_of(requests, store)
        if not missing:
            return None
        batch = create(requests, store, "local", missing)
        batch.write({**batch.record(), "slots": slots})
    begin_queue(batch, [stage.key for stage in missing], store, slots)
    return batch


def begin_queue(batch: Batch, keys: Sequence[str], store: Store, slots: int) -> None:
    """Begins the process that computes some of a batch's stages, with the code as it is now."""
    from benchmarks.batch.queue import alive

    record, code = batch.record(), batch.new_code()
    path = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "TQDM_DISABLE": "1", **_lavis()}
    # the shell ends at once, so that the queue is nobody's child and goes on when this process and its terminal are gone
    begin = ["sh", "-c", '"$@" </dev/null >>"$0" 2>&1 & echo $!', str(batch.folder / "queue.log")]
    queue = [sys.executable, "-m", "benchmarks.batch.queue", str(store.root), batch.id, str(slots)]
    started = subprocess.run([*begin, *queue], cwd=code, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    process = int(started.stdout)
    while not alive(batch):  # it works once its jobs are written down, and until then it is not lost
        if not _lives(process):
            raise RuntimeError(f"the queue ended before it began: see {batch.folder / 'queue.log'}")
        time.sleep(0.1)
    record["cancelled"] = None
    for key in keys:
        record["stages"][key]["jobs"].append(str(process))
    batch.write(record)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
        stated = Path(f"/proc/{process}/stat").read_text()
    except ProcessLookupError:
        return False
    except OSError:  # where there is no /proc
        return True
    # one that has ended and that nobody asks for, as in a container without an init, is there for ever
    return stated.rpartition(")")[2].split()[0] != "Z"


def requeue(batch: Batch, stages: Sequence[Stage], store: Store) -> None:
    """Begins a new queue for some of a batch's stages.

    Raises:
        UserError: if its queue is still at work.
    """
    from benchmarks.batch.queue import alive

    with submitting(store):
        if alive(batch):
            raise UserError(f"the queue of {batch.id} is still at work: wait until it ends, or cancel it")
        begin_queue(batch, [stage.key for stage in stages], store, batch.record()["slots"])


def planned(requests: Sequence[Request], store: Store, profile: Profile) -> str:
    """Returns what `to_slurm` would submit: scripts, the graph and an estimate. Submits nothing, and needs no SLURM."""
    missing = missing_of(requests, store)
    groups = grouped(missing, launch.largest_array())
    job_of = {stage.key: f"${{{group.name}}}" for group in groups for stage in group.stages}
    batch = Batch(store.root / "batches" / "BATCH")
    lines, gpu_hours, hours = [], 0.0, 0.0
    for group in groups:
        order = _order(batch, group, batch.folder / "code", profile, job_of)
        lines += [f"# {'-' * 20} {group.name}", launch.script(len(group.stages), order, profile)]
    lines.append(f"# {'-' * 20} graph")
    place = {stage.key: f"{group.name}_{index}" for group in groups for index, stage in enumerate(group.stages)}
    for group in groups:
        for stage in group.stages:
            expected, asked = store.durations.expected(stage), getattr(profile.classes, group.kind)
            hours += expected / 3600
            gpu_hours += expected / 3600 * asked.gpus
            behind = ", ".join(place[before.key] for before in stage.inputs.values() if before.key in place)
            lines.append(
                f"{place[stage.key]:28} {stage.name:14} {stage.key}  about {expected:4.0f} s  {'after ' + behind if behind else ''}"
            )
    lines.append(
        f"{len(missing)} stages in {len(groups)} arrays and jobs, about {hours:.1f} hours of work and {gpu_hours:.1f} GPU-hours "
        f"by what such stages took in this store{store.durations.doubt(missing)}; nothing was submitted"
    )
    return "\n".join(line.rstrip() for line in lines)


def listed(requests: Sequence[Request], store: Store) -> str:
    """Returns what `to_queue` would compute."""
    missing = missing_of(requests, store)
    lines = [f"{stage.name:14} {stage.key}  about {store.durations.expected(stage):4.0f} s" for stage in missing]
    return "\n".join([*lines, f"{len(missing)} stages, nothing was submitted"])


def offer(
    requests: Sequence[Request], store: Store, executor: str, profile_name: str | None, slots: int, dry_run: bool, say: Say
) -> None:  # fmt: skip
    """Submits tables and says how to watch them, or says what it would submit.

    Args:
        executor: `slurm` or `local`.
        profile_name: as `read_profile` takes it.
        slots: of the local queue; 0: as many as the machine has GPUs or processors for.
    """
    profile = read_profile(Path(profile_name) if profile_name else None)
    _refuse_relative(requests, store)
    if dry_run:
        say(planned(requests, store, profile) if executor == "slurm" else listed(requests, store))
        return
    refuse_missing([plan for request in requests for plan in request.plans], store)
    writable(store.root / FOLDER, "--store, one that all nodes share")
    batch = to_slurm(requests, store, profile) if executor == "slurm" else to_queue(requests, store, slots)
    if batch is None:
        batch = create(requests, store, executor, [])
        say(f"nothing is missing; {batch.id} can be collected")
        return
    record = batch.record()["stages"]
    jobs = {job for stage in record.values() for job in stage["jobs"][-1:]}
    say(f"{batch.id}: {len(record)} stages in {len({job.partition('_')[0] for job in jobs})} jobs and arrays, recorded in {batch.folder}")
    say(f"go on with `python -m benchmarks.run status{_store_option(store)}`, and then collect, cancel, resubmit --failed, logs CELL")


def _refuse_relative(requests: Sequence[Request], store: Store) -> None:
    """Raises a UserError if a model lies at a path relative to this folder: jobs run in that of the copied code, and would not find it."""
    for need in needed([plan for request in requests for plan in request.plans], store):
        path = Path(need.name).expanduser()
        if need.kind == "file" and not path.is_absolute() and path.exists():
            raise UserError(f"{need.name} is a path relative to this folder, and a batch's jobs run in another: give {path.resolve()}")


def _store_option(store: Store) -> str:
    """Returns the option that later commands need to find a store; nothing where they look there anyway."""
    unasked = Path(os.environ.get(STORE_VARIABLE) or DEFAULT_ROOT).resolve()
    return "" if store.root == unasked else f" --store {shlex.quote(str(store.root))}"
