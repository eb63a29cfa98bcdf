"""Tests of statements about recall. Holm's correction runs over the ordering comparisons of one table and one recall.

Q queries.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.paired import ALPHA, Comparison, compare
from benchmarks.paper.effects import Effect, Scored, above, farthest, sign, weakest, within
from benchmarks.paper.evidence import Evidence
from benchmarks.paper.statements import AtLeast, Beats, Fails, Harder, Near, Pair, Rises
from benchmarks.statistics import LEVEL, SEED, holm, intervals

Compared = Mapping[str, Mapping[Pair, Comparison]]
"""{column: {pair: comparison}}."""


def compared(tests: Sequence[Beats | Rises | Near | AtLeast], evidence: Evidence) -> Compared:
    """Returns the comparisons that the tests of one table ask for, of rows that were measured; Holm runs over all of a column."""
    wanted: dict[str, list[Pair]] = {}
    for test in tests:
        for column in test.columns:
            wanted.setdefault(column, []).extend(test.pairs)
    result = {}
    for column, pairs in wanted.items():
        hits = {row: of_row for row in dict.fromkeys(row for pair in pairs for row in pair) if (of_row := evidence.seeds(row, column))}
        result[column] = compare(pairs, hits, evidence.clusters_Q)
    return result


def unmeasured(evidence: Evidence, rows: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Returns rows without any measurement, and with its columns each row that ranks too few images for them."""
    lacking = {row: [column for column in columns if not evidence.seeds(row, column)] for row in rows}
    return tuple(f"{row} at {', '.join(of_row)}" if row in evidence.outcomes else row for row, of_row in lacking.items() if of_row)


def scored(test: Beats | Rises | Near | AtLeast, found: Compared) -> Scored:
    """Returns the score of a test by the comparisons that it asks for, and the effect that decides."""
    known = asked(test, found)
    match test:
        case Beats():
            return weakest([(sign(each.direction), _effect(each, column)) for column, each in known])
        case Rises():
            ends = [(column, found[column][test.ends]) for column in test.columns]
            # what does not rise from one row to another is no fault, what falls is
            decisive = [(column, each) for column, each in known if each.direction < 0] or ends
            return weakest([(sign(each.direction), _effect(each, column)) for column, each in decisive])
        case Near():
            return farthest([(within(each.low, each.high, test.margin), _sized(each, column)) for column, each in known])
        case AtLeast():
            return weakest([(above(each.low, each.high, test.points), _sized(each, column)) for column, each in known])


def harder(test: Harder, evidence: Evidence) -> Scored:
    """Welch's test on the images' shares of hits, Holm over the rows.

    It takes the images of the two data sets as independent. Flickr30K's and MS-COCO's are; of the made scenes the larger test set contains
    the smaller one, so that differences are surer than the test says.
    """
    assert evidence.larger
    effects = [_unpaired(row, column, evidence, evidence.larger) for column in test.columns for row in test.rows]
    adjusted = holm([p for _, p in effects])
    return weakest(
        [(sign(effect.value) if p < ALPHA else 0, replace(effect, p=p)) for (effect, _), p in zip(effects, adjusted, strict=True)]
    )


def fails(test: Fails, evidence: Evidence) -> Scored:
    assert evidence.larger
    scored: list[Scored] = []
    for column in test.columns:
        for row in test.rows:
            hits_Q = evidence.larger.hits(row, column)
            assert hits_Q is not None
            bounds = intervals(hits_Q[None], evidence.larger.clusters_Q, np.random.default_rng(SEED))[0]
            low, high = (100 * float(bound) for bound in bounds)
            what = f"{row} on {evidence.larger.dataset}"
            effect = Effect(what=what, at=column, value=100 * float(hits_Q.mean()), unit="percent", low=low, high=high)
            scored.append((above(-high, -low, -test.percent), effect))
    return farthest(scored)


def asked(test: Beats | Rises | Near | AtLeast, found: Compared) -> list[tuple[str, Comparison]]:
    """Returns the comparisons that a test asks for, of those that there are."""
    return [(column, found[column][pair]) for column in test.columns for pair in test.pairs if pair in found.get(column, {})]


def _effect(found: Comparison, column: str) -> Effect:
    return Effect(
        what=f"{found.better} - {found.worse}", at=column, value=found.difference, unit="points", low=found.low, high=found.high, p=found.p,
        spread=found.spread,
    )  # fmt: skip


def _sized(found: Comparison, column: str) -> Effect:
    """An effect that its interval decides."""
    return replace(_effect(found, column), p=None)


def _unpaired(row: str, column: str, evidence: Evidence, larger: Evidence) -> tuple[Effect, float]:
    """Returns the difference between two data sets, and its unadjusted p."""
    from scipy.stats import ttest_ind

    here, there = evidence.per_image(row, column), larger.per_image(row, column)
    assert here is not None and there is not None
    difference = 100 * float(here.mean() - there.mean())
    if np.ptp(here) == np.ptp(there) == 0:  # all images alike: no spread to test by
        p, low, high = float(difference == 0), difference, difference
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Precision loss")  # of one side all alike: the other's spread is all there is
            tested = ttest_ind(here, there, equal_var=False)
        p, (low, high) = float(tested.pvalue), (100 * float(bound) for bound in tested.confidence_interval(LEVEL))
    what = f"{row}, {evidence.dataset} - {larger.dataset}"
    return Effect(what=what, at=column, value=difference, unit="points", low=low, high=high), p
