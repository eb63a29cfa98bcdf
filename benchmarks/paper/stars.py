"""The paper's stars by the paper's own test: a one-sample t-test against the second best's mean, whose unit and n it does not give.

Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.estimates import mean_hits
from benchmarks.paired import ALPHA, compare
from benchmarks.paper.evidence import Evidence
from benchmarks.spec import Table
from benchmarks.statistics import one_sample_t_test

OURS = "avg"
QUERIES, IMAGES, SEEDS = "hits of queries", "shares of images", "seeds"
PAIRED = "paired randomisation, images"
PRINTED = {"flickr30k": 5_000, "mscoco-5k": 25_000}
"""Queries of the paper's test sets: a hit is 0 or 1, so that the printed recall and n are all that the first reading needs."""


@dataclass(frozen=True, kw_only=True)
class Star:
    """One reading of the test: `values` says what the n values are; `t` is None for the paired test, which has none."""

    data: str
    column: str
    best: float
    second: str
    second_best: float
    values: str
    n: int
    t: float | None
    p: float

    @property
    def starred(self) -> bool:
        return self.best > self.second_best and self.p < ALPHA


def stars(table: Table, evidence: Evidence) -> list[Star]:
    """Returns AVG against the best other compared row of Table 1, at each recall, under each reading; nothing without two rows."""
    found = []
    for column in table.columns:
        keys = [row.key for row in table.rows if row.kind == "compared"]
        seeds = {key: of_row for key in keys if (of_row := evidence.seeds(key, column.key))}
        hits = {key: mean_hits(of_row) for key, of_row in seeds.items()}
        if OURS not in hits or len(hits) < 2:
            continue
        second = max((key for key in hits if key != OURS), key=lambda key: float(hits[key].mean()))
        mean = float(hits[second].mean())
        images_C = evidence.per_image(OURS, column.key)
        assert images_C is not None
        seeds_S = np.array([float(hits_Q.mean()) for hits_Q in seeds[OURS].values()])
        best = 100 * float(hits[OURS].mean())
        star = partial(Star, data=evidence.dataset, column=column.key, best=best, second=second, second_best=100 * mean)
        for values, each in ((QUERIES, hits[OURS]), (IMAGES, images_C), (SEEDS, seeds_S)):
            if len(each) > 1:
                t, p = one_sample_t_test(each, mean)
                found.append(star(values=values, n=len(each), t=t, p=p))
        paired = compare([(OURS, second)], seeds, evidence.clusters_Q)[OURS, second]
        found.append(star(values=PAIRED, n=len(images_C), t=None, p=paired.p))
    return found


def printed_stars(table: Table) -> list[Star]:
    """Returns the first reading of the paper's own stars, from the numbers that it prints."""
    found = []
    for data, queries in PRINTED.items():
        reported: Mapping[str, Sequence[float | None]] = table.reported[data]
        for place, column in enumerate(table.columns):
            values = {row.key: float(reported[row.key][place] or 0.0) for row in table.rows if row.kind == "compared"}
            second = max((key for key in values if key != OURS), key=values.__getitem__)
            hits_Q = np.arange(queries) < round(values[OURS] / 100 * queries)
            t, p = one_sample_t_test(hits_Q.astype(np.float64), values[second] / 100)
            star = partial(Star, data=f"the paper's {data}", column=column.key, best=values[OURS], second=second)
            found.append(star(second_best=values[second], values=QUERIES, n=queries, t=t, p=p))
    return found
