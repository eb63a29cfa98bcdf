"""Scripts and signals of jobs: what a profile says of sbatch's options, and what a job hears of its end. Needs no SLURM."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import pytest
from submitit import JobEnvironment
from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission, JobPaths

from slurm import launch
from slurm.profile import Profile
from slurm.task import OutOfTime, Task


def script(sbatch, logs="/store/slurm") -> list[str]:
    order = launch.Order(name="a", resources=Profile().classes.cpu, folder=Path("/store/code"), logs=Path(logs), restarts=0)
    return launch.script(1, order, Profile(sbatch=sbatch)).splitlines()


def test_an_option_that_is_false_is_not_given():
    found = script({"exclusive": False, "overcommit": True, "hint": "nomultithread"})
    assert "#SBATCH --overcommit" in found and "#SBATCH --hint=nomultithread" in found and "#SBATCH --requeue" in found
    assert not [line for line in found if "exclusive" in line or "False" in line]
    assert "#SBATCH --requeue" not in script({"requeue": False})


@pytest.mark.parametrize("name", ["no-requeue", "no_requeue"])
def test_who_wants_no_requeue_gets_none(name):
    assert [line for line in script({name: True}) if "requeue" in line] == ["#SBATCH --no-requeue"]
    assert [line for line in script({name: False}) if "requeue" in line] == ["#SBATCH --requeue"]


def test_a_folder_with_a_blank_is_one_word_of_the_script():
    (line,) = (line for line in script({}, "/my store/slurm") if line.startswith("srun"))
    words = shlex.split(line)
    assert words[words.index("submitit.core._submit") + 1] == "/my store/slurm"


@pytest.fixture
def signals(monkeypatch):
    for name, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1"}.items():
        monkeypatch.setenv(name, value)
    kept = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}
    yield
    for each, handler in kept.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("named", ["USR2", "USR1"])
def test_a_job_hears_the_signal_that_submitit_is_told_to_send(named, monkeypatch, signals):
    monkeypatch.setattr(JobEnvironment, "USR_SIG", named)
    number, heard, asked = signal.Signals[f"SIG{named}"], [], []
    signal.signal(number, lambda *given: heard.append("put back"))  # as submitit does
    Task(lambda: signal.raise_signal(number), KeyError, lambda what: asked.append(what), 20)()
    assert (asked, heard) == (["stop"], ["put back"])


def stops_when_asked():
    signal.raise_signal(signal.SIGUSR2)
    raise KeyError


@pytest.mark.parametrize(("function", "listens"), [(lambda: signal.raise_signal(signal.SIGUSR2), False), (stops_when_asked, True)])
def test_a_job_that_has_used_up_its_restarts_says_what_it_wants(function, listens, monkeypatch, signals, tmp_path):
    monkeypatch.setattr(JobEnvironment, "_requeue", lambda *given: pytest.fail("put back"))
    task = Task(function, KeyError, lambda what: listens, 20)
    delayed = DelayedSubmission(task)
    delayed.set_timeout(timeout_min=1, max_num_timeout=0)
    signal.signal(signal.SIGUSR2, SignalHandler(JobEnvironment(), JobPaths(tmp_path, "7"), delayed).checkpoint_and_try_requeue)
    with pytest.raises(OutOfTime, match="give it more minutes, or restarts, in the profile"):
        task()
