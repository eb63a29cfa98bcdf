"""What a table is: rows, columns, the paper's numbers and the paper's claims, as data without logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from benchmarks.datasets import FIVE, PAPERS


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric of a ranking. `key` addresses it everywhere, e.g. `R@5`; `k` is its cut-off."""

    key: str
    label: str
    k: int


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A column of what is no metric of a ranking, in a table of its own below those that are. `key`: one of `benchmarks.facts.FACTS`."""

    key: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method with overrides. `key` addresses it everywhere.

    A `compared` row competes for bold type and the star; a `reference` row stands below a rule, as context. A row that only some data
    sets can have (`only`: one's name, of which the cut to five captions is a part; a family's with `*`), or all but some (`unless`), is
    left out elsewhere. A row of the same key in another table is the same cell.

    `tiny` are settings in place of `settings` where everything shall happen in seconds: a row's own are stronger than the tiny ones.

    `series` names what was timed of the row where a table shows speed, and how each serves it: {series of `figure4`: how}.
    The first is the row's own, others get lines of their own below it.
    """

    key: str
    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    knobs: Mapping[str, Any] = field(default_factory=dict)
    kind: Literal["compared", "reference"] = "compared"
    only: str = "*"
    unless: str = ""
    tiny: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, str] = field(default_factory=dict)

    def applies_to(self, dataset: str) -> bool:
        name = dataset.removesuffix(FIVE)
        return fnmatchcase(name, self.only) and not fnmatchcase(name, self.unless)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An ordering that the paper states: row `better` beats every row of `worse`, on R@1 unless `column` says otherwise."""

    key: str
    text: str
    source: str
    better: str
    worse: Sequence[str]
    column: str = "R@1"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the paper.

    Args:
        reported: the paper's numbers, {paper's data set: {row key: one value per column, None where the paper prints none}}.
        facts: columns besides, which only some tables have.
        reported_facts: the paper's, {paper's data set: {row key: {fact key: value}}}.
        rows_by: what tells its rows apart, the head of the first column.
        reported_of: the data sets on which those numbers were measured, and so can be measured again; on others they are context.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    reported: Mapping[str, Mapping[str, Sequence[float | None]]]
    rows_by: str = "Method"
    reported_of: Sequence[str] = tuple(PAPERS)
    claims: Sequence[Claim] = ()
    facts: Sequence[Fact] = ()
    reported_facts: Mapping[str, Mapping[str, Mapping[str, float | str]]] = field(default_factory=dict)

    def reports(self, dataset: str) -> bool:
        return dataset.removesuffix(FIVE) in self.reported_of

    def called(self, row: Row) -> str:
        """Returns what a row is called away from the column that it stands in: there a bare number says nothing."""
        return f"{self.rows_by.lower()} {row.label}" if row.label[0].isdigit() else row.label

    def row(self, key: str) -> Row:
        return next(row for row in self.rows if row.key == key)


RECALL = tuple(Column(key=f"R@{k}", label=f"R@{k}", k=k) for k in (1, 5, 10))
