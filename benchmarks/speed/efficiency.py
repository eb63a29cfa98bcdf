"""Queries per second against the size of the gallery: what Figure 4 is drawn from, and Table 2's speed.

RESULTS/DATASET/efficiency.json: points, each of one series, gallery, size and batch. Times are milliseconds a query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.contest import WARM, Contender, contest, now, on_threads, rate, timed

if TYPE_CHECKING:
    from methods.timing.serving import Models, Pairs, Way

SERIES = {
    "clip-paper": "CLIP as the paper timed it",
    "clip-matrix": "CLIP, one matrix product",
    "clip-flat": "CLIP, FAISS flat",
    "clip-hnsw": "CLIP, FAISS HNSW",
    "clip-ivfpq": "CLIP, FAISS IVF-PQ",
    "avg-beam10": "AVG, beam 10",
    "avg-beam20": "AVG, beam 20",
    "avg-beam40": "AVG, beam 40",
    "grace-structured": "GRACE, beam 10",
    "avg-clip": "AVG, beam 40, ordered by CLIP",
    "clip-blip": "CLIP's first 128 through BLIP",
    "blip-rerank": "BLIP's first 128 through BLIP",
    "blip-pairs": "BLIP, every pair",
}
PAIRED = ("clip-blip", "blip-rerank", "blip-pairs")
"""Computed from the time of a pair, not timed whole."""
SERVED = ("clip", "avg", "grace-structured")
"""Rows of Table 1 whose models are timed."""
SIZES = (1000, 3000, 10**4, 3 * 10**4, 10**5, 3 * 10**5, 10**6)
TINY_SIZES = (100, 1000)
BATCHES = (1, 32)
SHORTLIST = 128
LEAST, ENOUGH = 10, 20
"""Rounds of the slowest, and rounds from which on a 95th percentile is stated."""
PROBED = 64
"""Queries with which it is counted what an inexact search misses."""

PARTS = ("encode", "search", "both")

Point = dict[str, Any]
Once = Callable[[str, Callable[[], list[Point]]], list[Point]]


def place(machine: Mapping[str, Any], full_size: bool = False) -> str:
    """Returns what a record was timed on, in words. At full size generators compute in the format of towers, else in float32."""
    where = on_threads(machine["threads"], machine["hardware"]["cpu"])
    if machine["gpu"]:
        where = f"{machine['gpu']}; on {where} what faiss searches, the paper's way to search, and the order of AVG's list by CLIP"
    if "products" not in machine:
        return where
    if machine["products"] == "float32":
        return f"{where}, in float32"
    models = "models" if full_size else "towers and BLIP"
    return f"{where}, products of {models} in {machine['products']}, all else in float32"


class Answers:
    """Answers one batch of queries whenever it is called, the next one each time; keeps the seconds of each encoding."""

    def __init__(self, way: Way, queries: Sequence[str], batch: int):
        self.way, self.batch, self.encoding, self._at = way, batch, list[float](), 0
        self._queries = queries

    def __call__(self) -> Any:
        texts = [self._queries[(self._at + row) % len(self._queries)] for row in range(self.batch)]
        self._at += self.batch
        begin = now()
        encoded = self.way.encode(texts)
        self.encoding.append(now() - begin)
        return self.way.search(encoded)


def measured(
    models: Models, queries: Sequence[str], sizes: Sequence[int], series: Sequence[str], *, rounds: int, seconds: float, hnsw_to: int,
    say: Callable[[str], None], once: Once = lambda part, time: time(),
) -> list[Point]:  # fmt: skip
    """Returns the points of all series but those that are computed from pairs.

    Args:
        rounds: in which all ways to serve one gallery take turns, at most.
        seconds: what slow ones have for theirs, a little more or less; `LEAST` rounds they have anyhow, if there are so many.
        hnsw_to: the largest gallery of which a graph of neighbours is built, which takes the longest of all.
        once: returns the points of a gallery of some size, those of before where they were kept; `Checkpoint.once`.
    """
    from methods.timing.made_galleries import GALLERIES
    from methods.timing.serving import BLIND

    points = []
    for gallery in GALLERIES:
        for images in sizes:
            skipped = {*(() if gallery == "random" else BLIND), *(() if images <= hnsw_to else ("clip-hnsw",))}
            if wanted := [name for name in series if name not in skipped]:
                time = partial(_of_gallery, models, queries, gallery, images, wanted, rounds, seconds, say)
                points += once(f"{gallery} {images}", time)
    return points


def _of_gallery(
    models: Models, queries: Sequence[str], gallery: str, images: int, series: Sequence[str], rounds: int, seconds: float,
    say: Callable[[str], None],
) -> list[Point]:  # fmt: skip
    """Returns the points of one gallery; what is made of it is let go at the end, before the next takes its memory."""
    from methods.timing.serving import ALONE

    begin = now()
    ways = dict(models.ways(images, gallery, series.__contains__, queries[:PROBED]))
    say(f"{images:,} images, {gallery}: ready after {now() - begin:.1f} s")
    points = []
    for batch in BATCHES if gallery == "random" else BATCHES[:1]:
        taking = {name: way for name, way in ways.items() if batch == 1 or name not in ALONE}
        told = {"gallery": gallery, "images": images, "batch": batch}
        for point in _by_turns(taking, queries, batch, rounds, seconds, say):
            points.append({"series": point.pop("series"), **told, **point})
    return points


def _by_turns(
    ways: Mapping[str, Way], queries: Sequence[str], batch: int, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Point]:
    answers = {name: Answers(way, queries, batch) for name, way in ways.items()}
    contenders = []
    for name, answer in answers.items():
        took = timed(answer)
        if took < WARM:
            took = timed(answer)  # the first call was to make ready what is made when it is first used
        possible = int(seconds / took)
        contenders.append(Contender(name, answer, batch, min(rounds, max(LEAST, possible))))
    taken = contest(contenders, rounds)
    points = []
    for name, both in taken.items():
        encoding = answers[name].encoding[-len(both) :]
        searching = [whole - part for whole, part in zip(both, encoding, strict=True)]
        say(f"  batch {batch}, {name}: {rate(batch, both):,.3g} queries/s")
        points.append(
            {
                "series": name,
                "rounds": len(both),
                "queries_per_second": rate(batch, both),
                **{f"{part}_ms": 1000 * median(each) / batch for part, each in zip(PARTS, (encoding, searching, both), strict=True)},
                **{f"{part}_p95_ms": _p95(each, batch) for part, each in zip(PARTS, (encoding, searching, both), strict=True)},
                "extrapolated": False,
                "index_bytes": ways[name].index_bytes,
                "of_the_ten": ways[name].of_the_ten,
            }
        )
    return points


def _p95(seconds: Sequence[float], batch: int) -> float | None:
    import numpy as np

    return 1000 * float(np.percentile(seconds, 95)) / batch if len(seconds) >= ENOUGH else None


def pair_seconds(pairs: Pairs, queries: Sequence[str], count: int, rounds: int, say: Callable[[str], None]) -> dict[str, float]:
    """Returns the seconds of one pair of a caption and a picture, and of BLIP's vector of a caption, each a median over rounds."""
    at = iter(range(10**9))

    def caption() -> str:
        return queries[next(at) % len(queries)]

    contenders = [
        Contender("pair", lambda: pairs.match(caption(), count), count),
        Contender("caption", lambda: pairs.matcher.caption_vectors([caption()]), 1),
    ]
    taken = contest(contenders, rounds)
    say(f"BLIP: {rate(count, taken['pair']):,.3g} pairs/s")
    return {"pair": median(taken["pair"]) / count, "caption": median(taken["caption"])}


def paired(points: Sequence[Point], taken: Mapping[str, float], picture_bytes: int, series: Sequence[str]) -> list[Point]:
    """Returns the points of what reads pairs, each a sum of what was timed: so many pairs, and the choice of a
    shortlist where there is one.

    Args:
        points: with `clip-matrix`, one query at a time: what chooses a shortlist costs as much by BLIP's vectors as by CLIP's.
        taken: as from `pair_seconds`.
        picture_bytes: of a picture's states, which are kept of the whole gallery.
    """
    found = []
    pair_ms, caption_ms = 1000 * taken["pair"], 1000 * taken["caption"]
    for point in points:
        if (point["series"], point["gallery"], point["batch"]) != ("clip-matrix", "random", 1):
            continue
        images, short = point["images"], min(SHORTLIST, point["images"]) * pair_ms
        states = images * picture_bytes
        costs = {
            "clip-blip": (point["encode_ms"], point["search_ms"] + short, states + point["index_bytes"]),
            "blip-rerank": (caption_ms, point["search_ms"] + short, states + point["index_bytes"]),
            "blip-pairs": (0.0, images * pair_ms, states),
        }
        for name, (encode, search, size) in costs.items():
            if name in series:
                both = encode + search
                times = {"encode_ms": encode, "search_ms": search, "both_ms": both}
                none = {f"{part}_p95_ms": None for part in PARTS}
                told = {"series": name, "gallery": "random", "images": images, "batch": 1, "rounds": 0, "queries_per_second": 1000 / both}
                found.append(told | times | none | {"extrapolated": True, "index_bytes": size, "of_the_ten": None})
    return found


def chosen(stored: Mapping[str, Any], gallery: str, batch: int) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Returns the points of one gallery and batch by series, in the order of `SERIES`, and by number of images."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {name: {} for name in SERIES}
    for point in stored["points"]:
        if (point["gallery"], point["batch"]) == (gallery, batch):
            found[point["series"]][point["images"]] = point
    return {name: dict(sorted(points.items())) for name, points in found.items() if points}
