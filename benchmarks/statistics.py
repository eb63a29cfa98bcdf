"""Intervals and tests for per-query values whose queries come in clusters: the captions of one image move together.

S series of values that are resampled together, Q queries, C clusters, R resamples, B resamples in a block.

Resampling a cluster is weighting its sum, so that one matrix product serves every series of a table at once. This stands in place of
`scipy.stats.bootstrap` and `permutation_test`, which the tests hold it against: they take seconds where a table may take tenths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

LEVEL = 0.95
BOOTSTRAP_RESAMPLES = 2000
RANDOMISATION_RESAMPLES = 99_999
"""So many, because p itself is an estimate: with 9,999 a p of 0.0100 has a standard error of 0.0010, with these of 0.0003."""
SEED = 0
"""Seed of every generator that a printed number comes from; a fresh generator per data set, so that rows and tables do not disturb
each other's numbers."""

BLOCK = 400_000  # numbers drawn at a time: 3 MB of float64, which caches hold


def intervals(
    values_SQ: np.ndarray, clusters_Q: np.ndarray, rng: np.random.Generator, level: float = LEVEL, resamples: int = BOOTSTRAP_RESAMPLES
) -> np.ndarray:
    """Returns percentile bootstrap intervals (S, 2) of the mean over queries, clusters drawn with replacement.

    Every series sees the same draws: its interval does not depend on which others there are. Clusters of unequal size make the mean a
    ratio of two random sums, and it is bootstrapped as that.

    Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, chapters 3.8 and 5.3.
    """
    sums_SC, sizes_C = _cluster(values_SQ, clusters_Q)
    weighed = np.vstack([sums_SC, sizes_C]).T

    def totals(count: int) -> np.ndarray:
        drawn_BC = rng.integers(len(sizes_C), size=(count, len(sizes_C)))
        offsets_B1 = len(sizes_C) * np.arange(count)[:, None]
        times = np.bincount((drawn_BC + offsets_B1).ravel(), minlength=drawn_BC.size)
        return times.reshape(drawn_BC.shape).astype(np.float64) @ weighed

    totals_RS = _in_blocks(totals, resamples, len(sizes_C))
    means_RS = totals_RS[:, :-1] / totals_RS[:, -1:]
    return np.quantile(means_RS, [(1 - level) / 2, (1 + level) / 2], axis=0).T


def randomisation_tests(
    differences_SQ: np.ndarray, clusters_Q: np.ndarray, rng: np.random.Generator, resamples: int = RANDOMISATION_RESAMPLES
) -> np.ndarray:
    """Returns two-sided p values (S,) of paired differences: a cluster's difference is as likely to have the other sign.

    Both of a pair swap places for all queries of an image at once. p counts the observed arrangement, so that it is never 0.

    Source: Smucker, Allan and Carterette, A comparison of statistical significance tests for IR evaluation, CIKM 2007.
    """
    sums_SC, sizes_C = _cluster(differences_SQ, clusters_Q)
    observed_S = sums_SC.sum(axis=1)

    def as_extreme(count: int) -> np.ndarray:
        bits_BC = rng.integers(256, size=(count, -(-len(sizes_C) // 8)), dtype=np.uint8)
        swapped_BC = np.unpackbits(bits_BC, axis=1, count=len(sizes_C)).astype(np.float64)
        # Sums that are equal but for rounding must count as equal: hits are fifths and the like, and exact ties are common.
        return np.abs(observed_S - 2 * (swapped_BC @ sums_SC.T)) >= np.abs(observed_S) - 1e-9

    return (1 + _in_blocks(as_extreme, resamples, len(sizes_C)).sum(axis=0)) / (1 + resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's adjusted p values, in the order given.

    Example: [0.01, 0.04, 0.03] gives [0.03, 0.06, 0.06].

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()


def one_sample_t_test(values: np.ndarray, mean: float) -> tuple[float, float]:
    """Returns (t, two-sided p) of Student's one-sample t-test: are the values from a population of this mean?

    Both the values and the mean are taken at their word: values that move together count as if each were news, and a mean that was itself
    measured counts as known. Values without any spread give t = 0, p = 1 where they are the mean, else an infinite t, p = 0.

    Source: Student, The probable error of a mean, Biometrika, 1908.
    """
    from scipy.special import stdtr

    if len(values) < 2:
        raise ValueError(f"a t-test needs at least two values, not {len(values)}")
    difference, error = float(values.mean()) - mean, float(values.std(ddof=1)) / math.sqrt(len(values))
    if error == 0:
        return (0.0, 1.0) if difference == 0 else (math.copysign(math.inf, difference), 0.0)
    t = difference / error
    return t, float(2 * stdtr(len(values) - 1, -abs(t)))


def slope(x: Sequence[float], y: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """Returns (slope, low, high) of the least-squares line through three points or more, with Student's interval.

    Points on a level line, of which `scipy.stats.linregress` knows no error, have an interval of no width.
    """
    from scipy.special import stdtrit

    if len(x) < 3:
        raise ValueError(f"a slope with an interval takes three points, not {len(x)}")
    across, up = (np.asarray(each, dtype=np.float64) - np.mean(each) for each in (x, y))
    estimate = float(across @ up / (across @ across))
    error = math.sqrt(float(((up - estimate * across) ** 2).sum() / (len(x) - 2) / (across @ across)))
    half = float(stdtrit(len(x) - 2, (1 + level) / 2)) * error
    return estimate, estimate - half, estimate + half


def seed_spread(values: Sequence[float]) -> float | None:
    """Returns the sample standard deviation over seeds, or None of a single seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _cluster(values_SQ: np.ndarray, clusters_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each cluster's sums (S, C) and sizes (C,)."""
    if values_SQ.shape[1] != len(clusters_Q) or not len(clusters_Q):
        raise ValueError(f"{values_SQ.shape[1]} values for {len(clusters_Q)} queries: there must be one for each, and at least one")
    _, cluster_Q = np.unique(clusters_Q, return_inverse=True)
    sums_SC = np.stack([np.bincount(cluster_Q, weights=values_Q) for values_Q in values_SQ])
    return sums_SC, np.bincount(cluster_Q)


def _in_blocks(draw: Callable[[int], np.ndarray], resamples: int, clusters: int) -> np.ndarray:
    """Returns the rows of `draw(count)` for `resamples` rows, some at a time: in eights, for which bytes are drawn alike however many."""
    block = 8 * max(1, BLOCK // clusters // 8)
    with threadpool_limits(1):  # of products this thin threads only take turns, and on a busy machine they wait for each other
        return np.concatenate([draw(min(block, resamples - start)) for start in range(0, resamples, block)])
