"""What a job runs: a function without arguments, that is told of the end of its time and put back into the queue.

SLURM sends SIGUSR2, or what SUBMITIT_PREEMPT_SIGNAL names, so many seconds before the time limit or, where the cluster is set up so,
before a pre-emption; elsewhere a pre-emption sends SIGTERM. submitit's own handler puts the job back and ends the process at once. Here
the function is asked first to come to an end by itself, and only when its time is nearly over, or if it cannot, is it ended.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from submitit import JobEnvironment
from submitit.core.utils import UncompletedJobError
from submitit.helpers import Checkpointable, TorchDistributedEnvironment

SPARE = 5
"""Seconds of the notice that are left for putting the job back."""
NOT_AGAIN = "not ready within its time limits, and not put back once more: give it more minutes, or restarts, in the profile, then resubmit"


class OutOfTime(RuntimeError):
    """A job's time is over, and it may not go back into the queue. An error of its own: whoever handles those of files lets it pass."""


class Task(Checkpointable):
    """A picklable function of no arguments.

    Args:
        function: run by the first task of a job.
        stopped: the exception by which it says that it came to an end because it was asked to, and wants to be called again.
        ask: takes "stop" or "checkpoint", and returns whether the function will do so soon.
        notice_seconds: from the signal to the end.
        others: run by the other tasks of a job, with torch's distributed variables (MASTER_ADDR, RANK, ...) set in all of them.

    A call raises OutOfTime if its time is over and it may not go back into the queue.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        stopped: type[BaseException],
        ask: Callable[[Any], bool],
        notice_seconds: int,
        others: Callable[[], Any] | None = None,
    ):
        self.function, self.stopped, self.ask, self.notice_seconds, self.others = function, stopped, ask, notice_seconds, others

    def __call__(self) -> Any:
        job = JobEnvironment()
        if job.num_tasks > 1:
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        if job.global_rank:
            assert self.others is not None
            return self.others()  # submitit's handler leaves tasks other than the first alone
        ended = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]  # SUBMITIT_PREEMPT_SIGNAL, else SIGUSR2
        submitits: Any = signal.getsignal(ended)

        def requeue(number: int, frame: Any) -> None:
            try:
                submitits(number, frame)
            except UncompletedJobError as error:
                raise OutOfTime(NOT_AGAIN) from error

        def on_end(number: int, frame: Any) -> None:
            if self.ask("stop"):
                signal.signal(signal.SIGALRM, requeue)
                signal.alarm(max(self.notice_seconds - SPARE, 1))
            else:
                requeue(number, frame)

        def on_term(number: int, frame: Any) -> None:
            # SLURM puts a pre-empted job back by itself; a cancelled one it must not come back
            self.ask("checkpoint")

        signal.signal(signal.SIGTERM, on_term)
        signal.signal(ended, on_end)  # the last: it may be SIGTERM
        try:
            return self.function()
        except self.stopped:
            signal.alarm(0)
            requeue(ended, None)
            raise  # it could not be put back
