"""What has been measured on one data set under one protocol, and is committed: all that a claim can be judged by.

Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import campaign, one_training, results_folder
from benchmarks.datasets import FIVE, dataset_names
from benchmarks.estimates import SeedHits, mean_hits, seed_of
from benchmarks.identifiers.codes_report import rests_on
from benchmarks.metrics import Outcomes, Rule, hits, same_queries
from benchmarks.protocol import protocol as rules_of
from benchmarks.record import read_measured
from benchmarks.spec import RECALL

CUT = {column.key: column.k for column in RECALL}
READING = 0.01
"""Of the time of a search: what less is spent before it is no reading of the caption."""
LARGER = {"openmoji-scenes": "openmoji-scenes-5k", "flickr30k": "mscoco-5k"}
"""Where the same methods are asked to search more images: the paper's two data sets, and our two with one training set."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Measurements of one data set.

    Args:
        outcomes: {row key: {seed: outcomes}}, as `benchmarks.estimates` names seeds.
        seconds: {row key: seconds of search for one query, the median over seeds}.
        over_reading: {row key: time of all searches over that of reading their captions before, the median over seeds}; not of rows that
            read them in the search, as generators of words do.
        threads: {row key: on how many threads those were taken}; not of rows that do not say it, or were timed on several numbers.
        points: the speed record's, of one query at a time, see `benchmarks.run figure4`.
        shared: {row key: {with whom: shares of images that have the first 1, 2, ... vokens in common}}, the identifier report's.
        clusters_Q: the image of each query, the same for all rows.
        remarks: what must be said of how rows were measured.
        larger: measurements of the data set with more images to search; None where there is no such data set.
    """

    dataset: str
    protocol: str
    rule: Rule = "expected"
    outcomes: Mapping[str, Mapping[int, Outcomes]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    over_reading: Mapping[str, float] = field(default_factory=dict)
    threads: Mapping[str, int] = field(default_factory=dict)
    points: Sequence[Mapping[str, Any]] = ()
    shared: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    clusters_Q: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    remarks: Sequence[str] = ()
    larger: Evidence | None = None

    def seeds(self, row: str, column: str) -> SeedHits:
        """Returns {seed: hits (Q,)}; nothing where the row was not measured, or ranks fewer images than the column asks."""
        of_row = self.outcomes.get(row, {})
        if any(CUT[column] > one.depth for one in of_row.values()):
            return {}
        return {seed: hits(one, CUT[column], self.rule) for seed, one in of_row.items()}

    def hits(self, row: str, column: str) -> np.ndarray | None:
        """Returns hits (Q,), the mean over seeds, or None as `seeds` does nothing."""
        found = self.seeds(row, column)
        return mean_hits(found) if found else None

    def per_image(self, row: str, column: str) -> np.ndarray | None:
        """Returns each image's share of hits, in the order of its id."""
        hits_Q = self.hits(row, column)
        if hits_Q is None:
            return None
        _, cluster_Q = np.unique(self.clusters_Q, return_inverse=True)
        return np.bincount(cluster_Q, weights=hits_Q) / np.bincount(cluster_Q)

    def at(self, series: str, images: int, kinds: Sequence[str] | None = None) -> dict[str, Mapping[str, Any]]:
        """Returns {gallery: point} of a series at a gallery size, in galleries of these kinds, or of any."""
        points = [point for point in self.points if point["series"] == series and point["images"] == images]
        return {point["gallery"]: point for point in points if kinds is None or point["gallery"] in kinds}


def gathered(dataset: str, protocol: str, summaries: Sequence[Mapping[str, Any]]) -> Evidence:
    """Returns the evidence in run summaries of one data set and protocol.

    Raises:
        ValueError: unknown protocol, or rows that were measured on different queries.
    """
    outcomes: dict[str, dict[int, Outcomes]] = {}
    seconds: dict[str, list[float]] = {}
    over_reading: dict[str, list[float]] = {}
    threads: dict[str, set[int | None]] = {}
    for summary in summaries:
        outcomes.setdefault(summary["row"], {})[seed_of(summary)] = Outcomes.unpack(summary["outcomes"])
        if search := summary.get("search_seconds"):
            seconds.setdefault(summary["row"], []).append(search / summary["queries"])
            if (reading := summary.get("encode_seconds") or 0.0) > READING * search:
                over_reading.setdefault(summary["row"], []).append(search / reading)
            threads.setdefault(summary["row"], set()).add(summary.get("threads"))
    return Evidence(
        dataset=dataset,
        protocol=protocol,
        rule=rules_of(protocol).ties,
        outcomes=outcomes,
        seconds={row: median(values) for row, values in seconds.items()},
        over_reading={row: median(values) for row, values in over_reading.items() if len(values) == len(seconds[row])},
        threads={row: number for row, (number, *others) in threads.items() if number and not others},
        clusters_Q=same_queries(dataset, ((f"row {summary['row']}", summary) for summary in summaries)),
        remarks=one_training.notes([(summary["row"], summary) for summary in summaries], "all"),
    )


def committed(results: Path, dataset: str, protocol: str) -> Evidence:
    """Returns the evidence under a results folder.

    Raises:
        ValueError: if a summary or a record is damaged.
    """
    larger = larger_than(dataset)
    # speed depends on no protocol, so a data set has one record
    points = _record(
        results / dataset / "efficiency.json", "points", ("series", "gallery", "images", "queries_per_second", "encode_ms", "search_ms")
    )
    # the report on the rows of Table 1 last: of rows that others tell too, it is the one that counts
    reports = sorted((results / results_folder.folder_name([dataset], protocol)).glob("codes*.json"))
    rows = [row for path in reports for row in _record(path, "rows", ("row", "stages", "shared"))]
    summaries = results_folder.committed(results, [dataset], protocol)
    shared = {row["row"]: row["shared"] for row in rows if _same_identifiers(row, summaries)}
    found = gathered(dataset, protocol, summaries)
    stale = sorted({row["row"] for row in rows} - set(shared))
    left_out = f"Identifier reports on other identifiers than were measured, and left out: {', '.join(stale)}; run `codes` again."
    return replace(
        found,
        points=[point for point in points if point.get("batch", 1) == 1],
        shared=shared,
        remarks=[*found.remarks, *([left_out] if stale else [])],
        larger=gathered(larger, protocol, results_folder.committed(results, [larger], protocol)) if larger else None,
    )


def larger_than(dataset: str) -> str:
    """Returns the data set with more images to search, or an empty string."""
    bare = dataset.removesuffix(FIVE)
    return LARGER[bare] + dataset.removeprefix(bare) if bare in LARGER else ""


def _same_identifiers(reported: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> bool:
    """Says whether a row's identifier report is of what one of its summaries rests on; a row without summaries is taken at its word."""
    of_row = [summary for summary in summaries if summary["row"] == reported["row"]]
    return not of_row or any(rests_on(summary, reported) for summary in of_row)


def _record(path: Path, part: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Returns a part of a record of measurements, of which each has these keys; nothing where there is no record."""
    if not path.exists():
        return []
    found = read_measured(path, "record", remedy := "delete it and measure again", [part])[part]
    if not isinstance(found, list) or not all(isinstance(each, dict) and set(keys) <= set(each) for each in found):
        raise ValueError(f"{path} is damaged ({part} without {', '.join(keys)}): {remedy}")
    return found


def chosen(results: Path, datasets: Sequence[str], protocols: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the (data set, protocol) of which something is committed, all of them where none is named.

    Raises:
        ValueError: an unknown data set or protocol, or one of which nothing is committed.
    """
    from methods.spelling import suggestion

    folders = sorted(path.parent.name for path in results.glob("*/runs") if any(path.glob("*.json")))
    found = [(name, rules or campaign.DEFAULT_PROTOCOL) for name, _, rules in (folder.partition("@") for folder in folders)]
    known = list(dict.fromkeys([*dataset_names(), *(name for name, _ in found)]))
    for dataset in datasets:
        if dataset.removesuffix(FIVE) not in known:
            raise ValueError(f"unknown data set {dataset!r}: {suggestion(dataset, known)}")
    for name in protocols:
        rules_of(name)
    for dataset in datasets or ("",):
        for name in protocols or ("",):
            if not any(dataset in ("", known_one) and name in ("", rules) for known_one, rules in found):
                options = "".join(f" --{option} {text}" for option, text in (("dataset", dataset), ("protocol", name)) if text)
                what = " under ".join(text for text in (dataset, name) if text) or "any data set"
                raise ValueError(f"{results} holds nothing measured of {what}: measure it with `python -m benchmarks.run table1{options}`")
    return [(dataset, name) for dataset, name in found if dataset in (datasets or (dataset,)) and name in (protocols or (name,))]
