"""Contenders that do one job, timed by turns in one run, so that what the machine does besides meets all of them alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

WARM = 1.0  # seconds; what takes longer needs no run before the clock


@dataclass(frozen=True)
class Contender:
    """Something that answers `queries` queries when it is called; `rounds` where it is too slow to take part in all."""

    name: str
    run: Callable[[], Any]
    queries: int
    rounds: int | None = None


def contest(contenders: Sequence[Contender], rounds: int, say: Callable[[str], None] = lambda text: None) -> dict[str, list[float]]:
    """Returns the seconds of every contender, round by round."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            if contender.rounds is not None and number >= contender.rounds:
                continue
            took = timed(contender.run)
            if number == 0 and took < WARM:
                took = timed(contender.run)
            seconds[contender.name].append(took)
            say(f"{contender.name}: {contender.queries / took:.3g} queries/s")
    return seconds


def on_threads(threads: int, cpu: str) -> str:
    """Returns where something was timed, as `2 threads of AMD EPYC`."""
    return f"{threads} thread{'' if threads == 1 else 's'} of {cpu}"


def rate(queries: int, seconds: Sequence[float]) -> float:
    """Returns queries per second in the median round."""
    return queries / median(seconds)


def ratio(seconds: Mapping[str, Sequence[float]], one: str, other: str) -> float | None:
    """Returns how many times longer one takes than the other, the median over the rounds of both; None if one has none."""
    pairs = list(zip(seconds.get(one, ()), seconds.get(other, ()), strict=False))
    return median(a / b for a, b in pairs) if pairs else None


def figures(value: float) -> str:
    """Returns three significant figures, without an exponent."""
    if 0 < value < 1e-4:  # where `g` begins to write exponents
        return f"{float(f'{value:.2e}'):.12f}".rstrip("0")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def timed(run: Callable[[], Any]) -> float:
    """Returns the seconds of one call, its work on a GPU included."""
    begin = now()
    run()
    return now() - begin


def now() -> float:
    """Returns seconds on a clock that a GPU's unfinished work cannot hide from."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
