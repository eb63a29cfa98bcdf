"""One training in one or several processes of this machine: through accelerate, a process a GPU (gloo on CPUs).

P processes. A stage's function is started anew in each by torch's elastic launcher, and the first one's report is the stage's. Where a job
system has started P tasks, each of them starts one, and the tasks but the first `follow` what that one does.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (accelerate may import transformers)

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, FullyShardedDataParallelPlugin, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict

from avg.generator import Generator
from avg.settings import GeneratorSettings
from methods.fitting.interruption import ASK_FILE, Interrupted, listening
from methods.reads import absorb, recording

ROOT = Path(__file__).resolve().parent.parent
STOPPING = 60
"""Seconds in which the launcher ends its processes; it waits 30 for them."""
PR_SET_PDEATHSIG = 1
TASKS_FOLDER = "VOKENBENCH_TASKS_FOLDER"
"""Set where the tasks of a job wait to be led: a folder that all of them see."""
STAGE, OVER, ASK, STOPPED = "stage.json", "over", "ask", "stopped"
LOOK = 0.5
WRITING = timedelta(hours=2)
# looked up here, since between fork and exec a library may not be loaded
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Whole(nn.Module):
    """A generator as one module with one forward pass, so that what wraps it (DDP, FSDP) sees all of its work."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(self, work: Callable[[Generator], Any]) -> Any:
        return work(self.generator)


def count(settings: GeneratorSettings) -> int:
    """Returns P.

    Raises:
        ValueError: if there are fewer GPUs.
    """
    gpus = torch.cuda.device_count()
    if gpus and settings.processes > gpus:
        raise ValueError(f"processes = {settings.processes}, but {gpus} GPUs are visible: set 0 for one process on each")
    return settings.processes or max(gpus, 1)


def accelerator(settings: GeneratorSettings, model: Generator | None = None) -> Accelerator:
    """Returns accelerate's handle on this process and its siblings. Products are already in the fast format: it is told no precision."""
    sharded = settings.sharding == "fsdp"
    return Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no",
        # joint training and pictures leave parts of a model without gradient now and then
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=WRITING),  # the others wait while the first writes and hashes what may be 50 GB
        ],
        fsdp_plugin=_sharding(model) if sharded and model is not None else None,
        step_scheduler_with_optimizer=False,
    )


def _sharding(model: Generator) -> FullyShardedDataParallelPlugin:
    from transformers import PreTrainedModel

    blocks = {name for part in model.modules() if isinstance(part, PreTrainedModel) for name in part._no_split_modules or ()}
    present = {type(part).__name__ for part in model.modules()}
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=sorted(blocks & present),
        state_dict_type="SHARDED_STATE_DICT",
    )


def unwrapped(prepared: nn.Module) -> Generator:
    """Returns the generator under what accelerate put around it."""
    while not isinstance(prepared, Whole):
        prepared = prepared.module  # type: ignore[assignment]
    return prepared.generator


def sharded(handle: Accelerator) -> bool:
    return handle.is_fsdp2


def trained_weights(handle: Accelerator, prepared: nn.Module) -> dict[str, Tensor]:
    """Returns a copy of the trained weights by their names in the generator, on the CPU; if they are sharded, in the first process only."""
    model = unwrapped(prepared)
    names = {name for name, value in model.named_parameters() if value.requires_grad}
    if not sharded(handle):
        return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items() if name in names}
    full: dict[str, Any] = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {name: value for name, value in full.items() if name in names}


def restore_weights(handle: Accelerator, prepared: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Puts weights of `trained_weights` back."""
    model = unwrapped(prepared)
    if sharded(handle):
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
        set_model_state_dict(model, dict(weights), options=options)
    else:
        model.load_state_dict(dict(weights), strict=False)


def launch(function: str, config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path, processes: int) -> dict[str, Any]:
    """Returns the report of a stage's function, `module:function`, run in P processes that split its work.

    Raises:
        ValueError: if the function raised one, of any kind, in one of them: in its words.
        RuntimeError: if it raised anything else, with that one's name, or if a process died.
        Interrupted: if they stopped behind a checkpoint, as they were asked to.

    The traceback of the process is a note of the error.
    """
    tasks = os.environ.get(TASKS_FOLDER)
    with _handed_over(Path(tasks)) if tasks else tempfile.TemporaryDirectory() as folder:
        job = Path(folder)
        paths = {name: str(Path(path).resolve()) for name, path in inputs.items()}
        stage = {"function": function, "config": dict(config), "inputs": paths, "out": str(out.resolve())}
        (job / "stage.part").write_text(json.dumps(stage))
        os.replace(job / "stage.part", job / STAGE)
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--module", "methods.fitting.processes"]
        with listening(job / ASK):
            if tasks:
                code = _started(["-m", "methods.fitting.processes"], job)
            else:
                code = _started(torchrun, job, threads=max(torch.get_num_threads() // processes, 1))
        if (job / STOPPED).exists():
            raise Interrupted
        if errors := list(job.glob("error-*.json")):
            raise raised(errors)
        if code:
            raise RuntimeError(f"{function} in {processes} processes: one of them died (exit code {code}), see what it wrote above")
        found = json.loads((job / "report.json").read_text())
        absorb(found["reads"])
        return found["report"]


def raised(files: Sequence[Path]) -> Exception:
    """Returns the error that made a job fail: one that refuses something, else the oldest; other processes fail since they wait for it.

    Args:
        files: errors as `main` writes them, `error-RANK.json`.
    """
    oldest_first = sorted(files, key=lambda path: path.stat().st_mtime_ns)
    told = [(path.stem.partition("-")[2], json.loads(path.read_text())) for path in oldest_first]
    told.sort(key=lambda each: not each[1]["refused"])
    (_, cause), *others = told
    error = ValueError(cause["text"]) if cause["refused"] else RuntimeError(f"{cause['name']}: {cause['text']}")
    error.add_note(cause["trace"])
    for rank, other in others:
        error.add_note(f"process {rank} failed too, with {other['name']}: {other['text']}")
    return error


def _started(module: list[str], job: Path, threads: int = 0) -> int:
    """Returns the exit code of a process that runs a job's stage, or starts those that do.

    Args:
        threads: of each; 0: as many as this process was given.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, ASK_FILE: str(job / ASK), **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    this = os.getpid()
    command = [sys.executable, *module, str(job)]
    running = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=lambda: _prepare(this))
    try:
        return running.wait()
    except BaseException:
        running.terminate()  # not killed: it ends its processes, which are in sessions of their own and would go on without us
        try:
            running.wait(STOPPING)
        finally:
            running.kill()
        raise


@contextmanager
def _handed_over(job: Path) -> Iterator[Path]:
    """Gives the folder in which the other tasks of a job look for work, and tells them at the end that there is no more."""
    job.mkdir(parents=True, exist_ok=True)
    try:
        yield job
    finally:
        dismiss()


def dismiss() -> None:
    """Tells the other tasks of a job that there is no more work."""
    job = Path(os.environ[TASKS_FOLDER])
    job.mkdir(parents=True, exist_ok=True)
    (job / OVER).touch()


def follow() -> None:
    """Does this task's share of what the first task of a job hands over with `launch`; returns when that is over."""
    job = Path(os.environ[TASKS_FOLDER])
    while not (job / STAGE).exists():
        if (job / OVER).exists():
            return
        time.sleep(LOOK)
    if code := _started(["-m", "methods.fitting.processes"], job):
        raise SystemExit(code)


def _prepare(parent: int) -> None:
    """Readies a process between fork and exec: it dies with its parent, and a job system's notice to all processes does not end it."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    _die_with(parent)


def _die_with(parent: int) -> None:
    """Has this process terminated (SIGTERM) when its parent dies in whatever way; on Linux only."""
    if _PRCTL is not None:
        _PRCTL(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # it died before we asked


def take_gpu() -> None:
    """Gives this process of several the GPU that accelerate will give it: a model is loaded before, and not by all to the first."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())


def main(job: Path) -> None:
    """Runs the stage's function of a job in this process, one of P."""
    _die_with(os.getppid())
    take_gpu()
    rank = os.environ["RANK"]
    stage = json.loads((job / STAGE).read_text())
    module, _, name = stage["function"].partition(":")
    try:
        inputs = {key: Path(path) for key, path in stage["inputs"].items()}
        with recording(inputs) as reads:
            report = getattr(importlib.import_module(module), name)(stage["config"], inputs, Path(stage["out"]))
    except Interrupted:
        (job / STOPPED).touch()
        return
    except Exception as error:
        refused = isinstance(error, ValueError)
        told = {"name": type(error).__name__, "text": str(error), "refused": refused, "trace": traceback.format_exc()}
        (job / f"error-{rank}.json").write_text(json.dumps(told))
        raise SystemExit(1) from error
    if rank == "0":
        (job / "report.json").write_text(json.dumps({"report": report, "reads": reads.as_dict()}))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
