"""Figure 5: pairs of test images, from no shared voken to identical codes, with captions and vokens, chosen by rule.

RESULTS/DATASET/figure5.json .md        which pairs, and how many there are of each kind
RESULTS/DATASET/figure5.png .pdf        the same with pictures (`figure5_drawing.py`), which a data set has and a record does not

What counts is the number of *leading* vokens that two codes have in common: a voken is a residual of what the vokens before it say, so
that the same number in another place, or after other vokens, says something else; it is also what a search by prefix sees. The paper's
pairs are of this kind: none, the first, the first three, all four. Of its first kind, "completely different vokens", are pairs without any
voken in common, whatever its place.

A, B images of the two sides of a pair, L code length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import CellPlan
from benchmarks.environment import environment
from benchmarks.stages import Store
from benchmarks.statistics import SEED
from methods.coding import PAD, Coding, Identifiers, identifier_stages
from methods.data import Dataset, Split
from methods.files.durable import write_atomically

NAME, ROW = "figure5", "avg"
CHUNK = 256
NEITHER = -1
RULE = (
    "Pairs are sorted by how many leading vokens they share; the first kind has no voken in common at any place. Of each kind, pairs are "
    "drawn at random with a fixed seed, each with equal chance. Where {split} has no pair of a kind, a picture of {split} stands beside "
    "one of train. Under a picture: its vokens, those shared in brackets, and the first of its captions."
)


@dataclass(frozen=True)
class Drawn:
    """Pairs of one kind: how many there are, and some of them as rows of the two sides."""

    count: int
    pairs: Sequence[tuple[int, int]]


def kinds(codes_AL: np.ndarray, codes_BL: np.ndarray) -> np.ndarray:
    """Returns how many leading vokens each two codes share, int64 (A, B); -1 where the first differ, but some voken is in both.

    Example: (5, 1, 2) with (5, 1, 3): 2; with (9, 8, 7): 0; with (1, 9, 9): -1.
    """
    same_AB = np.ones((len(codes_AL), len(codes_BL)), bool)
    lead_AB = np.zeros(same_AB.shape, np.int64)
    any_AB = np.zeros_like(same_AB)
    for level, tokens_A in enumerate(codes_AL.T):
        same_AB &= (tokens_A[:, None] == codes_BL[:, level]) & (tokens_A[:, None] != PAD)
        lead_AB += same_AB
        for tokens_B in codes_BL.T:
            any_AB |= (tokens_A[:, None] == tokens_B) & (tokens_A[:, None] != PAD)
    return np.where(any_AB & (lead_AB == 0), NEITHER, lead_AB)


def drawn(codes_AL: np.ndarray, codes_BL: np.ndarray | None, wanted: Sequence[int], pairs: int) -> dict[int, Drawn]:
    """Returns {kind: pairs of it}, each drawn with equal chance among all of its kind.

    Args:
        codes_BL: of the other side; None: pairs are within one side, and (a, b) is (b, a).
        wanted: the kinds, numbers of shared leading vokens.
        pairs: how many of each kind; all of them where there are no more.
    """
    others_BL = codes_AL if codes_BL is None else codes_BL

    def kinds_of(rows: np.ndarray) -> np.ndarray:
        found = kinds(codes_AL[rows], others_BL)
        if codes_BL is None:
            found[np.arange(len(others_BL)) <= rows[:, None]] = NEITHER
        return found

    # counted first and drawn then: all pairs of two large splits at once would need gigabytes
    counts: dict[int, list[np.ndarray]] = {kind: [] for kind in wanted}
    for start in range(0, len(codes_AL), CHUNK):
        found = kinds_of(np.arange(start, min(start + CHUNK, len(codes_AL))))
        for kind in wanted:
            counts[kind].append((found == kind).sum(1))
    result = {}
    for kind in wanted:
        ends_A = np.cumsum(np.concatenate(counts[kind]))
        count = int(ends_A[-1])
        picked = np.random.default_rng([SEED, kind]).choice(count, min(pairs, count), replace=False).tolist()
        rows = []
        for ordinal in sorted(picked):
            row = int(np.searchsorted(ends_A, ordinal, side="right"))
            place = ordinal - (int(ends_A[row - 1]) if row else 0)
            rows.append((row, int(np.flatnonzero(kinds_of(np.array([row]))[0] == kind)[place])))
        result[kind] = Drawn(count, rows)
    return result


def measured(plan: CellPlan, store: Store, pairs: int) -> dict[str, Any]:
    """Returns the record of the figure: kinds of pairs, how many there are, and those drawn, with ids, captions and vokens.

    Raises:
        ValueError: if the row gives an image several identifiers.
    """
    stages = identifier_stages(plan.ranking)
    found = Identifiers({name: store.run(stage) for name, stage in stages.items()})
    data = Dataset(store.run(plan.data))
    coding, train = _ordered(found.of(plan.split), plan.row.key), _ordered(found.of("train"), plan.row.key)
    width = max(coding.shape[1], train.shape[1])
    coding, train = (np.pad(each, ((0, 0), (0, width - each.shape[1])), constant_values=PAD) for each in (coding, train))
    every = range(width + 1)
    within = drawn(coding, None, every, pairs)
    empty = [kind for kind in every if not within[kind].count]
    beside = drawn(coding, train, empty, pairs) if empty and plan.split != "train" else {}
    shown, learned = data.split(plan.split), data.split("train")
    classes = []
    for kind in every:
        of_kind, other, codes = (beside[kind], learned, train) if kind in beside else (within[kind], shown, coding)
        both = [(_image(shown, one, coding[one]), _image(other, two, codes[two])) for one, two in of_kind.pairs]
        counts = {"pairs": within[kind].count, "pairs with train": beside[kind].count if kind in beside else None}
        classes.append({"shared": kind, **counts, "drawn": both})
    return {
        "format": 1,
        "dataset": plan.dataset,
        "protocol": plan.protocol,
        "split": plan.split,
        "seed": plan.seed,
        "row": plan.row.key,
        "label": plan.row.label,
        "images": len(coding),
        "length": width,
        "rule": RULE.format(split=plan.split),
        "attribution": data.info.get("attribution", ""),
        "environment": environment(),
        "classes": classes,
    }


def _ordered(coding: Coding, row: str) -> np.ndarray:
    """Returns the one code of each image, in the gallery's order."""
    if len(coding.codes_XL) != len(coding):
        raise ValueError(f"row {row} gives an image several identifiers, and a pair would have no one prefix: choose another with --row")
    return coding.codes_XL[np.argsort(coding.rows_X)]


def _image(split: Split, row: int, codes_L: np.ndarray) -> dict[str, Any]:
    captions = [split.captions[query] for query in np.flatnonzero(split.caption_rows_Q == row)]
    codes = [int(token) for token in codes_L if token != PAD]
    return {"split": split.name, "id": int(split.image_ids_N[row]), "codes": codes, "captions": captions}


def title(of_kind: Mapping[str, Any], length: int) -> str:
    """Returns what two images of a kind have in common, in words."""
    shared = of_kind["shared"]
    if not shared:
        return "No voken in common"
    if shared == length:
        return f"Identical codes, all {length} vokens"
    return f"The first {shared} of {length} vokens" if shared > 1 else f"The first of {length} vokens"


def counted(of_kind: Mapping[str, Any], split: str) -> str:
    """Returns how many pairs of a kind there are, in words."""

    def pairs(count: int) -> str:
        return "no pair" if not count else f"{count:,} pair{'s' if count > 1 else ''}"

    told = f"{pairs(of_kind['pairs'])} in {split}"
    return told if of_kind["pairs with train"] is None else f"{told}, {pairs(of_kind['pairs with train'])} of {split} with train"


def vokens(codes: Sequence[int], shared: int) -> list[str]:
    """Returns the vokens of a code, those shared in brackets: `[659`, `566]`, `629`, `227`."""
    return ["[" * (place == 0 < shared) + str(voken) + "]" * (place + 1 == shared) for place, voken in enumerate(codes)]


def markdown(stored: Mapping[str, Any]) -> str:
    """Returns the pairs in words: what they share, ids, vokens and every caption."""
    from benchmarks.render import MARKDOWN

    escape = MARKDOWN.escape
    facts = (
        f"{stored['label']} on {stored['dataset']}, {stored['split']} split ({stored['images']:,} images), protocol {stored['protocol']}, "
        f"seed {stored['seed']}."
    )
    parts = [f"**Figure 5.** {escape(facts)} {escape(stored['rule'])}"]
    for of_kind in stored["classes"]:
        parts.append(f"**{title(of_kind, stored['length'])}** ({counted(of_kind, stored['split'])})")
        if not of_kind["drawn"]:
            parts.append("There is no such pair.")
        for number, pair in enumerate(of_kind["drawn"]):
            lines = [f"{number + 1}. Pair"]
            for image in pair:
                code = " ".join(vokens(image["codes"], of_kind["shared"]))
                lines.append(f"   - {image['split']} image {image['id']}, vokens {code}: {'; '.join(map(escape, image['captions']))}")
            parts.append("\n".join(lines))
    if stored["attribution"]:
        parts.append(escape(stored["attribution"]))
    return "\n\n".join(parts) + "\n"


def write(stored: Mapping[str, Any], folder: Path) -> str:
    """Returns the name under which the record and its Markdown are written to a results folder."""
    name = NAME if stored["row"] == ROW else f"{NAME}-{stored['row']}"
    write_atomically(folder / f"{name}.json", json.dumps(stored, indent=1) + "\n")
    write_atomically(folder / f"{name}.md", markdown(stored))
    return name
