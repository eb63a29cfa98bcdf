"""Verdicts on statements of the paper: each is put to its test, over what has been measured of one data set under one protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import tables
from benchmarks.paper import recall_tests, speed_tests
from benchmarks.paper.effects import Effect, Score, Scored
from benchmarks.paper.evidence import Evidence
from benchmarks.paper.recall_tests import Compared
from benchmarks.paper.statements import (
    Alike,
    AtLeast,
    Beats,
    Fails,
    Faster,
    Harder,
    Near,
    Rises,
    Scales,
    Serves,
    Slows,
    Statement,
    Test,
)
from benchmarks.verdicts import Word

WORDS: Mapping[Score, Word] = {1: "supported", 0: "inconclusive", -1: "not supported"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the measurements say of a statement.

    Args:
        missing: rows or series that were not measured, where the word is `missing`.
        on: the data set to measure them on.
    """

    statement: Statement
    test: Test
    word: Word
    effect: Effect | None = None
    missing: tuple[str, ...] = ()
    on: str = ""


def judge(statements: Sequence[Statement], evidence: Evidence) -> list[Finding]:
    """Returns a finding for each statement that can be asked of the data set, in order.

    A statement about larger image sets is left out where there is no data set with more images to search, and one about rows that tables
    have on other data sets only.
    """
    elsewhere = _rows_elsewhere(evidence.dataset)
    asked = [(statement, statement.asked_of(evidence.dataset)) for statement in statements]
    asked = [(statement, test) for statement, test in asked if evidence.larger or not isinstance(test, Harder | Fails)]
    asked = [(statement, test) for statement, test in asked if not elsewhere.intersection(rows_of(test))]
    by_table = {
        statement.measured_by: [test for other, test in asked if other.measured_by == statement.measured_by] for statement, _ in asked
    }
    ordered = {
        name: recall_tests.compared([test for test in tests if isinstance(test, Beats | Rises)], evidence)
        for name, tests in by_table.items()
    }
    sized = {
        name: recall_tests.compared([test for test in tests if isinstance(test, Near | AtLeast)], evidence)
        for name, tests in by_table.items()
    }
    findings = []
    for statement, test in asked:
        found = (ordered if isinstance(test, Beats | Rises) else sized)[statement.measured_by]
        lacking = [(missing, source.dataset) for source in _sources(test, evidence) if (missing := _missing(test, source))]
        scored = _refuted(test, found) if lacking else _scored(test, evidence, found)
        if scored:
            findings.append(Finding(statement=statement, test=test, word=WORDS[scored[0]], effect=scored[1]))
        else:
            missing, on = lacking[0]
            findings.append(Finding(statement=statement, test=test, word="missing", missing=missing, on=on))
    return findings


def _refuted(test: Test, found: Compared) -> Scored | None:
    """Returns what refutes a test of every pair, among the pairs that were measured: where not all were, one is enough."""
    match test:
        case Beats() | AtLeast() | Near() if recall_tests.asked(test, found):
            known = recall_tests.scored(test, found)
            return known if known[0] < 0 else None
        case _:
            return None


def rows_of(test: Test) -> tuple[str, ...]:
    """Returns the rows of tables that a test needs."""
    match test:
        case Beats() | Rises() | Near() | AtLeast():
            return tuple(dict.fromkeys(row for pair in test.pairs for row in pair))
        case Harder() | Fails() | Slows():
            return tuple(test.rows)
        case _:
            return ()


def _rows_elsewhere(dataset: str) -> set[str]:
    """Returns the rows that no table has on a data set, though some have them on others."""
    rows = [row for name in tables.TABLES for row in tables.table(name).rows]
    return {row.key for row in rows} - {row.key for row in rows if row.applies_to(dataset)}


def _scored(test: Test, evidence: Evidence, found: Compared) -> Scored:
    match test:
        case Beats() | Rises() | Near() | AtLeast():
            return recall_tests.scored(test, found)
        case Harder():
            return recall_tests.harder(test, evidence)
        case Fails():
            return recall_tests.fails(test, evidence)
        case Faster():
            return speed_tests.faster(test, evidence)
        case Serves():
            return speed_tests.serves(test, evidence)
        case Scales():
            return speed_tests.scales(test, evidence)
        case Slows():
            return speed_tests.slows(test, evidence)
        case Alike():
            return _alike(test, evidence)


def _alike(test: Alike, evidence: Evidence) -> Scored:
    near, random = (evidence.shared[test.row][whom][0] for whom in (test.near, "random"))
    # nothing that random images share is as good as any number of times
    times = near / random if random else float("inf") if near else 0.0
    what = f"near {test.near} / random pairs"
    return 1 if times >= test.times else -1, Effect(what=what, at=f"{test.row}, first voken", value=times, unit="times")


def _sources(test: Test, evidence: Evidence) -> list[Evidence]:
    """Returns the data sets whose measurements a test needs."""
    larger = [evidence.larger] if evidence.larger and isinstance(test, Harder | Fails) else []
    return larger if isinstance(test, Fails) else [evidence, *larger]


def _missing(test: Test, evidence: Evidence) -> tuple[str, ...]:
    """Returns rows or series that a test needs of a data set, and that were not measured."""
    match test:
        case Beats() | Rises() | Near() | AtLeast():
            return recall_tests.unmeasured(evidence, rows_of(test), test.columns)
        case Harder() | Fails():
            return recall_tests.unmeasured(evidence, test.rows, test.columns)
        case Faster():
            return tuple(name for name in (*test.faster, *test.slower) if not evidence.at(name, test.images, test.galleries))
        case Serves():
            return tuple(name for name in test.series if not evidence.at(name, test.images))
        case Scales():
            return tuple(name for name in test.series if not speed_tests.curves(evidence, name, test.galleries))
        case Slows():
            return speed_tests.untimed(test, evidence)
        case Alike():
            return () if test.row in evidence.shared else (test.row,)
