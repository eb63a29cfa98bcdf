"""What is held equal between methods, and what the line under a table says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.metrics import Rule
from benchmarks.spec import Row
from methods.data import Exposure


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules of a comparison.

    Args:
        beam: beams of every generative method, unless a row says otherwise.
        ties: what a tie across the cut is worth.
        selection: the split on which everything is chosen: settings, stopping, checkpoints.
    """

    name: str
    beam: int
    ties: Rule
    selection: str


PROTOCOLS = {protocol.name: protocol for protocol in (Protocol(name="clean", beam=40, ties="expected", selection="val"),)}

SEEN_SPLITS = ("val", "test")


def protocol(name: str) -> Protocol:
    """Returns a protocol.

    Raises:
        ValueError: if there is no such protocol; lists those there are.
    """
    if name not in PROTOCOLS:
        from methods.registry import nearest

        raise ValueError(f"unknown protocol {name!r}: {nearest(name, list(PROTOCOLS))}")
    return PROTOCOLS[name]


def exposure_for(row: Row) -> Exposure:
    """Returns what a row's method sees of galleries before queries come: nothing, except where fitting is indexing.

    GRACE learns picture -> identifier of every image it shall find. Its semantic identifiers are captions, and those of an image that has
    none are pseudo-queries by definition.
    """
    from methods.registry import METHODS, method_class

    if row.method not in METHODS:  # an ideal matcher of scene facts is no retriever: it is fitted to nothing
        return Exposure()
    cls, variant = method_class(row.method)
    if not cls.exposed_to_gallery:
        return Exposure()
    semantic = {**variant, **row.settings}.get("identifier") == "semantic"
    return Exposure(images=SEEN_SPLITS, pseudo_queries=SEEN_SPLITS if semantic else ())


def protocol_line(summaries: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> str:
    """Returns the sentence that says how one data set's cells were measured.

    Args:
        summaries: of one data set and protocol, at least one.
        labels: row key -> printed name, used where rows differ.
    """

    def each(value_of: Callable[[Mapping[str, Any]], Any]) -> str:
        """One value where all rows agree; else the commonest, with the rows that differ in brackets."""
        values: dict[str, set[str]] = {}
        for summary in summaries:
            values.setdefault(summary["row"], set()).add(str(value_of(summary)))
        text = {row: ", ".join(sorted(of_row, key=lambda v: (len(v), v))) for row, of_row in values.items()}
        common = max(dict.fromkeys(text.values()), key=list(text.values()).count)
        others = [f"{labels[row]}: {value}" for row, value in text.items() if value != common]
        return common + (f" ({'; '.join(others)})" if others else "")

    first = summaries[0]
    rules = protocol(first["protocol"])
    facts = [
        f"protocol {rules.name}",
        f"selection on {rules.selection}",
        f"beam {each(lambda summary: summary['knobs'].get('beam', rules.beam))}",
        f"ties {rules.ties}",
        f"seed {each(lambda summary: summary['seed'])}",
        f"precision {each(lambda summary: summary['precision'])}",
    ]
    return f"{first['dataset']}, {first['split']} split ({first['images']:,} images, {first['queries']:,} queries): {', '.join(facts)}."
