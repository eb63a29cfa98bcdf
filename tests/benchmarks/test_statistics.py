from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks import statistics
from benchmarks.statistics import holm, intervals, randomisation_tests, seed_spread


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def clustered(images: int, captions: int = 5, spread: float = 1.0, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Hits of queries whose images differ in difficulty."""
    draw = rng(seed)
    difficulty = spread * np.repeat(draw.normal(size=images), captions)
    return (difficulty + draw.normal(size=images * captions) < shift).astype(np.float64), np.repeat(np.arange(images), captions)


def interval(values_Q, clusters_Q, random, **options):
    return tuple(intervals(values_Q[None], clusters_Q, random, **options)[0])


def difference_interval(a_Q, b_Q, clusters_Q, random):
    return interval(a_Q - b_Q, clusters_Q, random)


def randomisation_test(a_Q, b_Q, clusters_Q, random, **options):
    return randomisation_tests((a_Q - b_Q)[None], clusters_Q, random, **options)[0]


@pytest.fixture
def uneven() -> tuple[np.ndarray, np.ndarray]:
    values_Q, clusters_Q = clustered(60)
    keep = rng(1).random(len(values_Q)) < 0.7
    return values_Q[keep], clusters_Q[keep]


def test_interval_agrees_with_scipy_on_uneven_clusters(uneven):
    values_Q, clusters_Q = uneven
    sums = np.bincount(clusters_Q, weights=values_Q)
    sizes = np.bincount(clusters_Q)

    def ratio(total, count, axis):
        return total.sum(axis) / count.sum(axis)

    theirs = stats.bootstrap((sums, sizes), ratio, paired=True, n_resamples=20_000, method="percentile", rng=rng(5)).confidence_interval
    np.testing.assert_allclose(interval(values_Q, clusters_Q, rng(), resamples=20_000), (theirs.low, theirs.high), atol=0.005)


def test_randomisation_agrees_with_scipy():
    a_Q, clusters_Q = clustered(40, seed=1, shift=0.3)
    b_Q, _ = clustered(40, seed=2)
    sums = np.bincount(clusters_Q, weights=a_Q - b_Q)
    theirs = stats.permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=20_000, rng=rng(5), axis=0).pvalue
    ours = randomisation_test(a_Q, b_Q, clusters_Q, rng(), resamples=20_000)
    assert 0.01 < theirs < 0.9
    assert ours == pytest.approx(theirs, abs=0.012)


def test_randomisation_by_hand():
    # Three images, differences of 1 each: 2 of the 8 arrangements of signs are as extreme as the one seen.
    clusters_Q = np.array([0, 1, 2])
    assert randomisation_test(np.ones(3), np.zeros(3), clusters_Q, rng()) == pytest.approx(2 / 8, abs=0.02)
    assert randomisation_test(np.ones(3), np.ones(3), clusters_Q, rng()) == 1


def test_captions_of_one_image_swap_together():
    # Fifteen queries would be overwhelming evidence; three images are not.
    p = randomisation_test(np.ones(15), np.zeros(15), np.repeat([0, 1, 2], 5), rng())
    assert p == pytest.approx(2 / 8, abs=0.02)


def test_rounding_does_not_break_ties_between_arrangements():
    # 0.1 + 0.2 - 0.3 is not 0 in floating point, though every arrangement of it is as extreme as the one seen.
    assert randomisation_test(np.array([0.1, 0.2, -0.3]), np.zeros(3), np.arange(3), rng()) == 1


def test_equal_generators_give_equal_numbers():
    a_Q, clusters_Q = clustered(50)
    b_Q, _ = clustered(50, seed=9)
    for measure in (difference_interval, randomisation_test):
        first, again, other = (measure(a_Q, b_Q, clusters_Q, rng(seed)) for seed in (0, 0, 1))
        assert first == again != other


def test_blocks_change_nothing(monkeypatch):
    a_Q, clusters_Q = clustered(50)
    whole = intervals(a_Q[None], clusters_Q, rng()), randomisation_tests(a_Q[None] - 0.5, clusters_Q, rng())
    monkeypatch.setattr(statistics, "BLOCK", 50 * 8 * 30)
    parts = intervals(a_Q[None], clusters_Q, rng()), randomisation_tests(a_Q[None] - 0.5, clusters_Q, rng())
    np.testing.assert_allclose(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1], "the very same bytes are drawn")


def test_a_series_has_the_same_interval_in_any_company():
    a_Q, clusters_Q = clustered(50)
    b_Q, _ = clustered(50, seed=9)
    np.testing.assert_allclose(intervals(np.stack([b_Q, a_Q]), clusters_Q, rng())[1], interval(a_Q, clusters_Q, rng()))


def test_clustering_widens_the_interval_of_captions_that_move_together():
    values_Q = np.repeat((rng().random(200) < 0.5).astype(np.float64), 5)
    low, high = interval(values_Q, np.repeat(np.arange(200), 5), rng())
    alone_low, alone_high = interval(values_Q, np.arange(1000), rng())
    assert (high - low) / (alone_high - alone_low) == pytest.approx(np.sqrt(5), rel=0.1)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    truth = 0.5  # by the symmetry of `clustered`
    bounds = [interval(*clustered(60, seed=seed), rng(seed), resamples=400) for seed in range(300)]
    covered = np.mean([low <= truth <= high for low, high in bounds])
    assert 0.90 <= covered <= 0.985


def test_a_constant_has_no_width():
    assert interval(np.ones(10), np.repeat([0, 1], 5), rng()) == (1, 1)


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.04], [0.04]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.2, 0.001, 0.001], [0.2, 0.003, 0.003]),
        ([], []),
    ],
)
def test_holm_by_hand(given, adjusted):
    assert holm(given) == pytest.approx(adjusted)


def test_seed_spread():
    assert seed_spread([60.0]) is None
    assert seed_spread([60.0, 62.0, 64.0]) == pytest.approx(2.0)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 values for 2 queries"):
        interval(np.zeros(3), np.zeros(2), rng())


def test_eight_images_that_agree_leave_two_arrangements_of_256():
    assert randomisation_test(np.ones(8), np.zeros(8), np.arange(8), rng()) == pytest.approx(2 / 256, abs=0.001)


def test_p_counts_the_arrangement_that_was_seen():
    assert randomisation_test(np.ones(60), np.zeros(60), np.arange(60), rng(), resamples=999) == 1 / 1000
