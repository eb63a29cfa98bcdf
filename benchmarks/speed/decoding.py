"""How fast identifiers are decoded under a gallery's constraint: ours beside what others run, one thing varied at a time.

RESULTS/decoding/SIZE-DTYPE.md .csv .json .png .pdf
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.contest import Contender, contest, timed
from methods.timing.shapes import T5

LABELS = {
    "released": "as released (transformers, dictionary, no cache)",
    "cached": "transformers with cache",
    "marisa": "transformers with marisa-trie",
    "ours": "ours",
    "free": "ours without constraint",
    "exact": "ours, best first (exact)",
    "every": "ours, every code scored",
    "encoder": "encoder alone",
    "products": "the matrix products alone, as PyTorch computes them",
    "packed": "the same, weights packed",
}
VECTOR_LABELS = {
    "paper": "one query at a time, float64, normalised anew (paper's way)",
    "matrix": "one matrix product",
    "flat": "FAISS flat",
    "hnsw": "FAISS HNSW",
    "ivfpq": "FAISS IVF-PQ",
}
INDEX_LABELS = {
    "build": "build by sorting",
    "save": "save",
    "load": "load and check",
    "map": "load unchecked",
    "copy": "add the first after loading (copies it to memory)",
    "add": "add 1,000",
    "remove": "look up and remove 1,000",
}
PARTS = ("beams", "batch", "images", "vectors", "index")
ONCE = ("released", "exact", "every")
"""What is too slow to take part in every round."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One setting at which contenders meet."""

    varied: str
    beams: int = 10
    batch: int = 8
    images: int = 1000

    @property
    def value(self) -> int:
        return {"beams": self.beams, "batch": self.batch}.get(self.varied, self.images)


def cases(parts: Sequence[str], tiny: bool = False) -> list[Case]:
    """Returns the cases of some parts: `beams`, `batch`, `images`, `vectors` and `index`.

    Raises:
        ValueError: if there is no such part.
    """
    values: dict[str, Sequence[int]] = {
        "beams": (1, 5, 10, 20, 30, 40, 50), "batch": (1, 8, 32), "images": (1000, 10**4, 10**5, 10**6, 10**7),
        "vectors": (1000, 10**4, 10**5), "index": (10**4, 10**5, 10**6, 10**7),
    }  # fmt: skip
    if tiny:
        values = {"beams": (1, 4), "batch": (1, 4), "images": (100, 1000), "vectors": (100, 1000), "index": (10**4,)}
    found = []
    for part in parts:
        if part not in values:
            from methods.spelling import suggestion

            raise ValueError(f"unknown part {part!r}: {suggestion(part, list(values))}")
        base = Case(varied=part, images=100, beams=4, batch=4) if tiny else Case(varied=part)
        field = "images" if part in ("vectors", "index") else part
        found += [replace(base, **{field: value}) for value in values[part]]  # type: ignore[arg-type]
    return found


def shape(size: str) -> Mapping[str, int]:
    """Returns the shape of a model of some size.

    Raises:
        ValueError: if there is no such size.
    """
    if size not in T5:
        from methods.spelling import suggestion

        raise ValueError(f"unknown size {size!r}: {suggestion(size, list(T5))}")
    return T5[size]


def measured(parts: Sequence[str], size: str, rounds: int, dtype: str, tiny: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Returns a record of every contender in every case: the case, the contender, and its seconds in each round."""
    from methods.timing.decoders import Decoders
    from methods.timing.vector_searches import VECTOR_QUERIES, vector_runs

    decoders, records = None, []
    for case in cases(parts, tiny):
        say(f"{case.varied} {case.value:,} ({case.beams} beams, batch {case.batch}, {case.images:,} images)")
        if case.varied == "index":
            records += _indexed(case, say)
            continue
        if case.varied == "vectors":
            contenders = [Contender(name, run, VECTOR_QUERIES[name]) for name, run in vector_runs(case.images).items()]
        else:
            decoders = decoders or Decoders(shape(size), dtype)
            runs = decoders.runs(case.beams, case.batch, case.images, exact=case.varied == "images")
            contenders = [Contender(name, run, case.batch, 1 if name in ONCE else None) for name, run in runs.items()]
        seconds = contest(contenders, rounds, lambda text: say(f"  {text}"))
        for contender in contenders:
            records.append(
                {"varied": case.varied, "value": case.value, "beams": case.beams, "batch": case.batch, "images": case.images}
                | {"contender": contender.name, "queries": contender.queries, "seconds": seconds[contender.name]}
            )
    return records


def _indexed(case: Case, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Returns a record of each thing that is done with a prefix index, once and in its order."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from methods.timing.prefix_index import index_runs

    records: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        runs, size = index_runs(case.images, Path(folder) / "index")
        for name, run in runs.items():
            took = timed(run)
            say(f"  {INDEX_LABELS[name]}: {took:.3g} s")
            of_case = {"varied": case.varied, "value": case.value, "beams": 0, "batch": 0, "images": case.images}
            records.append(of_case | {"contender": name, "queries": 1, "seconds": [took], "bytes": size()})
    return records
