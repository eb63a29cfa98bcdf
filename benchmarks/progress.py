"""How far a run is: one bar over the stages that are missing, weighed by what such stages took before."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import log
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.datasets import DATASETS
from methods.files.durable import write_atomically
from methods.stage import Stage

ROUGHLY = {
    "data": 20,
    "trunks": 140,
    "encoder": 75,
    "features": 3,
    "tokenizer": 70,
    "language-model": 300,
    "maps": 60,
    "blip": 600,
    "codes": 1,
    "generator": 150,
    "index": 1,
    "ranking": 45,
}
"""Seconds on two cores for the default data set, until this machine knows better."""
TELLING = 0.1
"""Of the images of a data set: what took place on fewer took its time to start, and tells nothing of more."""


class Durations:
    """Seconds that stages took here, in one small file, by stage name, method (where a stage is of one method alone) and data set."""

    def __init__(self, path: Path):
        self.path = path

    def expected(self, stage: Stage) -> float:
        """Returns seconds: those of such stages of this method here, or else of this method on the data set that is nearest in size, by the
        number of images, and not much smaller; of a method that never ran, those of the others."""
        dataset, known, guess = _dataset(stage), self._read(), ROUGHLY.get(stage.name, 30)
        of_all = _mean_by_dataset(known, stage.name)
        if dataset not in DATASETS:  # on disk: of what size is not asked
            return known.get(_kind(stage), of_all.get(dataset, guess))
        telling = [name for name in DATASETS if _images(name) >= TELLING * _images(dataset)]
        own = {name: known[kind] for name in telling if (kind := _kind(stage, name)) in known}
        by_dataset = own or {next(iter(DATASETS)): guess} | {name: of_all[name] for name in telling if name in of_all}
        nearest = min(by_dataset, key=lambda name: abs(log(_images(name) / _images(dataset))))
        return by_dataset[nearest] * _images(dataset) / _images(nearest)

    def doubt(self, stages: Iterable[Stage]) -> str:
        """Returns what is to be said behind the sum of what is expected: nothing if such stages on such data ran here before."""
        known = self._read()
        count = sum(_kind(stage) not in known for stage in stages)
        guess = "no such stage on such data ran here yet, and the guess is of small models on two CPU cores"
        return f" (of {count}, {guess})" if count else ""

    def remember(self, stage: Stage, seconds: float) -> None:
        known, kind = self._read(), _kind(stage)
        # Half old, half new: trainings of one name differ between methods, and the last of them should not speak for all.
        known[kind] = round((known.get(kind, seconds) + seconds) / 2, 3)
        write_atomically(self.path, json.dumps(known, indent=1))

    def _read(self) -> dict[str, float]:
        try:
            return dict(json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return {}  # an estimate is not worth an error


def _kind(stage: Stage, dataset: str | None = None) -> str:
    return " ".join(filter(None, [stage.name, stage.config.get("method"), _dataset(stage) if dataset is None else dataset]))


def _mean_by_dataset(known: Mapping[str, float], name: str) -> dict[str, float]:
    """Returns {data set: mean over the methods} of stages of one name."""
    found = defaultdict(list)
    for kind, seconds in known.items():
        first, *rest = kind.split()
        if first == name and rest:
            found[rest[-1]].append(seconds)
    return {dataset: fmean(seconds) for dataset, seconds in found.items()}


def _dataset(stage: Stage) -> str:
    return next((before.config.get("name", "") for before in stage.ancestors() if before.name == "data"), "")


def _images(dataset: str) -> int:
    return sum(DATASETS[dataset].values())


class Progress:
    """Is told what happens, and says nothing."""

    def begin(self, stage: Stage) -> None: ...

    def end(self, stage: Stage, seconds: float) -> None: ...

    def say(self, text: str) -> None: ...


class Bar(Progress):
    """A bar on a terminal; elsewhere a line when a stage begins and one when it ends.

    Args:
        jobs: stages that run at once.
    """

    def __init__(self, missing: Iterable[Stage], durations: Durations, jobs: int = 1):
        from tqdm import tqdm

        self.jobs, self.running = jobs, 0
        self.expected = {stage.key: durations.expected(stage) for stage in missing}
        self.total, self.count = len(self.expected), 0
        self.passed, self.passed_expected = 0.0, 0.0
        self.bar: Any = None
        if sys.stderr.isatty() and self.expected:
            # tqdm's own ETA needs a rate, which stages of such differing lengths do not have; so the estimate is in the text.
            shape = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed}{postfix}"
            self.bar = tqdm(total=sum(self.expected.values()), bar_format=shape, dynamic_ncols=True, file=sys.stderr)

    def begin(self, stage: Stage) -> None:
        if stage.key not in self.expected:  # found damaged only now
            self.total += 1
        self.running += 1
        text = f"[{min(self.count + self.running, self.total)}/{self.total}] {stage.name}"
        if self.bar is not None:
            self.bar.set_description_str(text, refresh=False)
            self.bar.set_postfix_str(self._left())
        else:
            self.say(f"{text}: {self._left()}")

    def end(self, stage: Stage, seconds: float) -> None:
        expected = self.expected.pop(stage.key, 0.0)
        self.count, self.running = self.count + 1, max(self.running - 1, 0)
        self.passed += seconds
        self.passed_expected += expected
        if self.bar is not None:
            self.bar.update(expected)
        else:
            self.say(f"[{self.count}/{self.total}] {stage.name}: done in {seconds:.1f} s")

    def keep(self, missing: Iterable[Stage]) -> None:
        """Takes out of the count what will not run: stages of a failed cell, or made by another process meanwhile."""
        left = {stage.key for stage in missing}
        for key in set(self.expected) - left:
            gone = self.expected.pop(key)
            self.total -= 1
            if self.bar is not None:
                self.bar.total -= gone

    def say(self, text: str) -> None:
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _left(self) -> str:
        # What was expected weighs like a minute of experience, or one short stage that took twice its second would double the rest.
        pace = (self.passed + 60) / (self.passed_expected + 60)
        seconds = pace * sum(self.expected.values()) / self.jobs
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {max(seconds, 1):.0f} s left"
