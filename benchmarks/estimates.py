"""Recall from the hits of one seed or several: its estimate, and what two rows differ by, paired by query and by seed.

Q queries.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from benchmarks.statistics import SEED, intervals, seed_spread

Key = TypeVar("Key", bound=Hashable)
SeedHits = Mapping[int, np.ndarray]
"""{seed: hits (Q,)} of a row, at one cut and under one tie rule."""
EVERY_SEED = -1
"""In place of the seed, of a row that draws nothing: it is the same for every seed."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Recall in percent: mean over seeds, 95 % interval, standard deviation over seeds (None of one)."""

    value: float
    low: float
    high: float
    spread: float | None
    seeds: int


def seed_of(summary: Mapping[str, Any]) -> int:
    """Returns the seed of a run summary; `EVERY_SEED` of a row that draws nothing."""
    return summary["seed"] if summary.get("seeded", True) else EVERY_SEED


def mean_hits(hits: SeedHits) -> np.ndarray:
    """Returns the mean over seeds (Q,)."""
    return np.mean([hits[seed] for seed in sorted(hits)], axis=0)


def estimated(hits_of: Mapping[Key, SeedHits], clusters_Q: np.ndarray) -> dict[Key, Estimate]:
    """Returns the estimate of each series; all see the same resamples.

    Args:
        clusters_Q: the image of each query.
    """
    if not hits_of:
        return {}
    means_SQ = np.stack([mean_hits(hits) for hits in hits_of.values()])
    bounds_S2 = intervals(means_SQ, clusters_Q, np.random.default_rng(SEED))
    found = {}
    for (key, hits), mean_Q, bounds in zip(hits_of.items(), means_SQ, bounds_S2, strict=True):
        value, low, high = (in_percent(share) for share in (mean_Q.mean(), *bounds))
        spread = seed_spread([100 * float(hits_Q.mean()) for hits_Q in hits.values()])
        found[key] = Estimate(value=value, low=low, high=high, spread=spread, seeds=len(hits))
    return found


def differences(one: SeedHits, other: SeedHits) -> dict[int, np.ndarray]:
    """Returns {seed: one minus other (Q,)} over the seeds that both have: a row that was trained more often is not compared by luck.

    What draws nothing stands against every seed of the other. Rows without a seed in common are compared by their means, as `EVERY_SEED`.
    """
    seeds = other.keys() if EVERY_SEED in one else one.keys() if EVERY_SEED in other else one.keys() & other.keys()
    if not seeds:
        return {EVERY_SEED: mean_hits(one) - mean_hits(other)}
    return {seed: _at(one, seed) - _at(other, seed) for seed in sorted(seeds)}


def in_percent(share: float) -> float:
    """Returns percent with six decimals: the order of a sum differs between machines, and stored numbers should not."""
    return round(100 * float(share), 6)


def _at(hits: SeedHits, seed: int) -> np.ndarray:
    return hits[EVERY_SEED if EVERY_SEED in hits else seed]
