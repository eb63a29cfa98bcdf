"""The paper's one-sample t-test: by hand, beside scipy's, and under each reading of what it was given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.paper.evidence import gathered
from benchmarks.paper.stars import IMAGES, PAIRED, QUERIES, SEEDS, printed_stars, stars
from benchmarks.statistics import one_sample_t_test, slope
from benchmarks.tables import table
from tests.benchmarks.made_evidence import summary

TABLE1 = table("table1")


def test_t_by_hand():
    # mean 2.5, deviation 1.2910, error 0.6455: t = 2.3238, p of t(3) = 0.1027
    assert one_sample_t_test(np.array([1.0, 2.0, 3.0, 4.0]), 1.0) == pytest.approx((2.3238, 0.1027), abs=1e-4)


@pytest.mark.parametrize(("count", "mean"), [(2, 0.1), (10, -0.4), (1000, 0.02), (5000, 0.5)])
def test_t_agrees_with_scipy(count, mean):
    values = np.random.default_rng(count).normal(size=count)
    theirs = stats.ttest_1samp(values, mean)
    assert one_sample_t_test(values, mean) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9)


def test_t_without_spread_or_values():
    assert one_sample_t_test(np.ones(3), 1.0) == (0.0, 1.0)
    assert one_sample_t_test(np.ones(3), 2.0) == (-math.inf, 0.0)
    with pytest.raises(ValueError, match="at least two values, not 1"):
        one_sample_t_test(np.ones(1), 0.0)


def test_slope_agrees_with_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=7), rng.normal(size=7)
    theirs = stats.linregress(x, y)
    half = stats.t.ppf(0.975, 5) * theirs.stderr
    assert slope(x, y) == pytest.approx((theirs.slope, theirs.slope - half, theirs.slope + half))
    assert slope([1, 2, 3], [4, 4, 4]) == (0, 0, 0)
    with pytest.raises(ValueError, match="three points, not 2"):
        slope([1, 2], [3, 4])


def test_readings_of_the_test():
    """Captions of an image are found together, so that queries count each image twice: t grows by the root of two."""
    found = {
        star.values: star for star in stars(TABLE1, gathered("openmoji-scenes", "clean", [summary("avg", 0.6), summary("irgen", 0.5)]))
    }
    queries, images, paired = found[QUERIES], found[IMAGES], found[PAIRED]
    assert (queries.n, images.n, paired.n) == (400, 200, 200)
    assert (queries.second, queries.best, queries.second_best) == ("irgen", 60, 50)
    assert queries.t / images.t == pytest.approx(math.sqrt(399 / 199))
    assert SEEDS not in found, "one seed has no spread"
    assert paired.t is None and paired.p < images.p, "the same images are found: pairing sees what the t-test does not"


def test_seeds_are_a_reading_where_there_are_two():
    rows = [summary("avg", 0.6), summary("avg", 0.62, seed=1), summary("irgen", 0.5), summary("clip", 0.9)]
    star = next(star for star in stars(TABLE1, gathered("openmoji-scenes", "clean", rows)) if star.values == SEEDS)
    theirs = stats.ttest_1samp([0.6, 0.62], 0.5)
    assert (star.n, star.t, star.p) == pytest.approx((2, theirs.statistic, theirs.pvalue))
    assert star.second == "irgen", "references do not compete"


def test_the_second_is_the_best_of_the_others():
    shares = {"irgen": 0.4, "avg": 0.6, "grace-semantic": 0.5, "grace-numeric": 0.1}
    found = stars(TABLE1, gathered("openmoji-scenes", "clean", [summary(row, share) for row, share in shares.items()]))
    assert {(star.second, star.second_best) for star in found} == {("grace-semantic", 50)}


def test_the_paired_test_swaps_all_captions_of_an_image_at_once():
    """AVG finds 8 images more: of the 2 ** 8 ways to swap them, two are as far apart."""
    found = stars(TABLE1, gathered("openmoji-scenes", "clean", [summary("avg", 0.54), summary("irgen", 0.5)]))
    assert next(star.p for star in found if star.values == PAIRED) == pytest.approx(2 / 2**8, rel=0.15)


def test_what_is_below_the_best_other_has_no_star():
    found = stars(TABLE1, gathered("openmoji-scenes", "clean", [summary("avg", 0.3), summary("irgen", 0.9)]))
    assert max(star.p for star in found) < 0.01
    assert not any(star.starred for star in found)
    assert stars(TABLE1, gathered("openmoji-scenes", "clean", [summary("irgen", 0.9)])) == []


def test_the_papers_own_stars_follow_from_its_printed_numbers():
    """R@10 of Flickr30K: (0.912 - 0.725) / sqrt(0.912 * 0.088 / 4999) = 46.7; R@1 of MS-COCO: 5.80 in the same way."""
    found = printed_stars(TABLE1)
    assert [(star.data, star.column) for star in found] == [
        (f"the paper's {data}", column) for data in ("flickr30k", "mscoco-5k") for column in ("R@1", "R@5", "R@10")
    ]
    assert found[2].t == pytest.approx((0.912 - 0.725) / math.sqrt(0.912 * 0.088 / 4_999))
    assert found[3].t == pytest.approx((0.313 - 0.296) / math.sqrt(0.313 * 0.687 / 24_999))
    assert all(star.starred for star in found)
