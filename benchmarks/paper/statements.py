"""What a claim of the paper is, as data: where it stands, what it says, and the test that decides it.

A test names rows of tables, columns of recall and series of the speed record by their keys; `benchmarks/paper/judgement.py` decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import combinations, product

Pair = tuple[str, str]

GALLERIES = ("random", "clustered")
"""The kinds of gallery that are timed; not imported from where they are made, since the help would load numpy."""
SLIGHT = 1.5
"""Points within which two rows count as equal. The paper's own usage fixes it, since its words change there: the largest difference that it
calls slight is 1.5 (Table 5, voken length 6 to 8, R@10), and so is the smallest that it calls significant (Table 4, 256 to 1,024, R@1)."""
FLAT = 0.05
"""Slope of log time against log gallery size below which time counts as constant: 12 % more for ten times the images."""
TIMING = 1.1
"""Factor within which two speeds count as equal: medians on a shared machine repeat to about a tenth."""
LARGE = 300_000  # images; the size of Table 2


@dataclass(frozen=True, kw_only=True)
class Beats:
    """Every row of `better` is above every row of `worse`: paired randomisation tests."""

    better: tuple[str, ...]
    worse: tuple[str, ...]
    columns: tuple[str, ...] = ("R@1",)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(product(self.better, self.worse))


@dataclass(frozen=True, kw_only=True)
class Rises:
    """The last row is above the first, and no row is significantly below one before it."""

    rows: tuple[str, ...]
    columns: tuple[str, ...] = ("R@1",)

    @property
    def ends(self) -> Pair:
        return self.rows[-1], self.rows[0]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple((later, earlier) for earlier, later in combinations(self.rows, 2))


@dataclass(frozen=True, kw_only=True)
class Near:
    """The rows of each pair differ by no more than a margin that was fixed beforehand, in points."""

    pairs: tuple[Pair, ...]
    columns: tuple[str, ...] = ("R@1",)
    margin: float = SLIGHT


@dataclass(frozen=True, kw_only=True)
class AtLeast:
    """Each row of `better` is above each other one of `worse` by at least so many points; of negative ones, below by at most so many."""

    better: tuple[str, ...]
    worse: tuple[str, ...]
    points: float
    columns: tuple[str, ...] = ("R@1",)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in product(self.better, self.worse) if pair[0] != pair[1])


@dataclass(frozen=True, kw_only=True)
class Harder:
    """Every row is worse where there are more images to search: Welch's test over images, since the queries are others."""

    rows: tuple[str, ...]
    columns: tuple[str, ...] = ("R@1",)


@dataclass(frozen=True, kw_only=True)
class Fails:
    """Every row stays below so many percent where there are more images to search."""

    rows: tuple[str, ...]
    percent: float
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Faster:
    """Each series answers at least `times` as many queries per second as each of the others, at a gallery of `images`.

    `galleries` are the kinds that count.
    """

    faster: tuple[str, ...]
    slower: tuple[str, ...]
    times: float = 1.0
    images: int = LARGE
    galleries: tuple[str, ...] = GALLERIES


@dataclass(frozen=True, kw_only=True)
class Serves:
    """Each series answers more queries per second than `rate` at a gallery of `images`; or fewer."""

    series: tuple[str, ...]
    rate: float
    fewer: bool = False
    images: int = LARGE


@dataclass(frozen=True, kw_only=True)
class Scales:
    """The time of a search, over that of text encoding, does not grow with the gallery; or, with `grows`, does.

    `galleries` are the kinds that count.
    """

    series: tuple[str, ...]
    grows: bool = False
    galleries: tuple[str, ...] = GALLERIES


@dataclass(frozen=True, kw_only=True)
class Slows:
    """The time of a search grows with a setting: {row: its value}. All rows read captions by the same model."""

    rows: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Images that lie near each other share their first voken at least `times` as often as images drawn at random do.

    `near` says by what they are near: `pictures` or `captions`, as the identifier report has it.
    """

    row: str
    near: str
    times: float = 2.0


Test = Beats | Rises | Near | AtLeast | Harder | Fails | Faster | Serves | Scales | Slows | Alike


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A claim of the paper.

    Args:
        said: (section, sentence), the main place first. Sentences are counted from the start of the section, bullets included; headings
            that run into a paragraph, captions, tables and footnotes are not counted. A sentence of None: a table says it, no sentence.
        measured_by: the command that measures the rows or series.
        reading: how words were read that could be read in another way.
        on: the test on other data sets than Flickr30K, where the rows have another name or stand-ins: {pattern of names: test}.
    """

    key: str
    text: str
    said: tuple[tuple[str, int | None], ...]
    test: Test
    measured_by: str
    reading: str = ""
    on: Mapping[str, Test] = field(default_factory=dict)

    def asked_of(self, dataset: str) -> Test:
        """Returns the test that a data set is put to."""
        return next((test for pattern, test in self.on.items() if fnmatchcase(dataset, pattern)), self.test)

    @property
    def source(self) -> str:
        """The main place as the tables print it: §4.3, or Table 1."""
        return _section(self.said[0][0])

    @property
    def places(self) -> str:
        """All places with their sentences: `§4.3 (8, 19), abstract (9)`."""
        sentences: dict[str, list[str]] = {}
        for section, sentence in self.said:
            sentences.setdefault(section, []).extend([str(sentence)] if sentence else [])
        return ", ".join(_section(section) + (f" ({', '.join(of)})" if of else "") for section, of in sentences.items())


def _section(name: str) -> str:
    return f"§{name}" if name[0].isdigit() else name
