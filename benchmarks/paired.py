"""Two rows on the same queries: their difference with its interval, and the p of a paired test.

Q queries, P pairs of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.estimates import Key, SeedHits, differences, in_percent, mean_hits
from benchmarks.statistics import SEED, holm, intervals, randomisation_tests, seed_spread

ALPHA = 0.01  # the paper's level for its star


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Row `better` minus row `worse`, in points, with its 95 % interval, Holm-adjusted p, and standard deviation over seeds."""

    better: Any
    worse: Any
    difference: float
    low: float
    high: float
    p: float
    spread: float | None = None

    @property
    def direction(self) -> int:
        """1 or -1 where the difference is significant, else 0."""
        return int(np.sign(self.difference)) if self.p < ALPHA else 0

    def reversed(self) -> Comparison:
        # 0 - x, since -x of no difference would be printed as -0.0.
        return replace(self, better=self.worse, worse=self.better, difference=0 - self.difference, low=0 - self.high, high=0 - self.low)


def compare(pairs: Sequence[tuple[Key, Key]], hits: Mapping[Key, SeedHits], clusters_Q: np.ndarray) -> dict[tuple[Key, Key], Comparison]:
    """Returns the comparisons of one table and one metric, each pair in both directions; Holm runs over all of them.

    Args:
        pairs: rows to compare; a pair that comes twice, either way round, counts once.
        hits: by row; pairs with a row that is not there are left out. A pair is compared over the seeds that both have.
        clusters_Q: the image of each query.
    """
    wanted = {frozenset(pair): pair for pair in reversed(pairs) if pair[0] in hits and pair[1] in hits}
    pairs = list(reversed(wanted.values()))
    if not pairs:
        return {}
    by_seed = [differences(hits[better], hits[worse]) for better, worse in pairs]
    differences_PQ = np.stack([mean_hits(of_pair) for of_pair in by_seed])
    bounds_P2 = intervals(differences_PQ, clusters_Q, np.random.default_rng(SEED))
    adjusted_P = holm(randomisation_tests(differences_PQ, clusters_Q, np.random.default_rng(SEED)).tolist())
    result = {}
    for (better, worse), of_pair, difference_Q, bounds, p in zip(pairs, by_seed, differences_PQ, bounds_P2, adjusted_P, strict=True):
        points, low, high = (in_percent(share) for share in (difference_Q.mean(), *bounds))
        spread = seed_spread([100 * float(of_seed_Q.mean()) for of_seed_Q in of_pair.values()])
        comparison = Comparison(better=better, worse=worse, difference=points, low=low, high=high, p=p, spread=spread)
        result[better, worse], result[worse, better] = comparison, comparison.reversed()
    return result


def printed_p(p: float) -> str:
    """Returns p with three decimals, or with four where three would not tell on which side of the star's level it lies."""
    if p < 0.001:
        return "< 0.001"
    return f"{p:.4f}" if f"{p:.3f}" == f"{ALPHA:.3f}" else f"{p:.3f}"


def printed_difference(points: float, low: float, high: float, spread: float | None) -> tuple[str, str]:
    """Returns a difference with its standard deviation over seeds, where there are several, and its interval: `+3.6 ± 0.4`,
    `[+1.3, +5.8]`."""
    return f"{points:+.1f}" + ("" if spread is None else f" ± {spread:.1f}"), f"[{low:+.1f}, {high:+.1f}]"
