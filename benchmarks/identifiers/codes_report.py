"""The identifier report as Markdown, LaTeX, CSV and a figure, all computed from its record."""

from __future__ import annotations

import csv as csv_format
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.identifiers.codes import NEIGHBOURS, RANDOM, SHARED, recalls, rounded
from benchmarks.metrics import Outcomes
from benchmarks.record import read_measured, read_summary
from benchmarks.render import LATEX, MARKDOWN, Style, latex_float, latex_row
from benchmarks.results_folder import summaries_in
from benchmarks.spec import RECALL
from methods.files.durable import write_atomically

LEVELS = 6
"""Levels that are printed of each row; the CSV has all. A caption has more than twenty, of which the later ones tell little."""
CEILINGS = {
    "ceiling of collisions": "ideal matcher",
    "vectors": "dual tower",
    "decoded vectors": "dual tower, decoded codes",
    "reached": "this row's own",
}


@dataclass(frozen=True)
class Section:
    """A printed table: what it says, and what one must know to read it, in plain words."""

    title: str
    headers: Sequence[str]
    body: Sequence[Sequence[str]]
    note: str


def sections(stored: Mapping[str, Any]) -> list[Section]:
    """Returns the tables of a record, in the order printed."""
    rows, split = stored["rows"], stored["split"]
    found = [_collisions(rows, split), _ceilings(rows, stored["ties"]), _levels(rows, split)]
    if any(row["cosines"] for row in rows):
        found.append(_cosines([row for row in rows if row["cosines"]], split))
    return [*found, _shared(rows, split)]


def _collisions(rows: Sequence[Mapping[str, Any]], split: str) -> Section:
    headers = ["row", "identifiers", "mean length", "distinct", "unique rate", "largest bucket", f"collide in {split}", "also in train"]
    body = [
        [
            row["label"], f"{row['identifiers']:,}", f"{row['mean length']:.1f}", f"{row['distinct']:,}",
            f"{100 * row['unique rate']:.1f} %", f"{row['largest bucket']:,}",
            *(_part(row[name], row["images"]) for name in ("collide", "in train")),
        ]
        for row in rows
    ]  # fmt: skip
    first = rows[0]
    note = (
        f"Of the {first['images']:,} images of {split}; train has {first['train images']:,}. Unique rate: distinct identifiers in a "
        "hundred; bucket: images under one identifier; collide: images that share an identifier with another image of the split; "
        "also in train: images of which an identifier is that of a training image too. Lengths count the token that ends an identifier."
    )
    return Section("Collisions", headers, body, note)


def _ceilings(rows: Sequence[Mapping[str, Any]], ties: str) -> Section:
    headers = ["row", *CEILINGS.values()]
    body = [[row["label"], *(_recalls(row[name]) for name in CEILINGS)] for row in rows]
    note = (
        f"{' / '.join(column.label for column in RECALL)}. Ideal matcher: the target's own identifier always comes first, and "
        f"only the images that share it stand in the way: a bound (ties: {ties}). Dual tower: cosine of CLIP's text vectors with the "
        "pictures' vectors as training read them (CLIP's row encodes captions anew, and may be a tenth beside it), and with what their "
        "codes decode to: how much the codes keep of what CLIP can tell apart, "
        "not a bound, since a generator may know more than a cosine. This row's own: what its generator reached "
        f"on {rows[0]['queries']:,} queries, where it is measured."
    )
    return Section("What collisions and quantisation leave of R@K", headers, body, note)


def _levels(rows: Sequence[Mapping[str, Any]], split: str) -> Section:
    headers = ["row", "level", "tokens", *(f"{what}, {of}" for what in ("coverage", "perplexity") for of in ("train", split)), "dead"]
    body = []
    for row in rows:
        shown = [level for place, level in enumerate(row["levels"]) if place < LEVELS or level["level"] == "all"]
        for place, level in enumerate(shown):
            numbers = [f"{100 * level[of]['coverage']:.1f} %" for of in ("train", "split")]
            numbers += [f"{level[of]['perplexity']:,.1f}" for of in ("train", "split")]
            body.append(["" if place else row["label"], level["level"], f"{level['size']:,}", *numbers, f"{level['train']['dead']:,}"])
    note = (
        "Tokens: rows of the codebook; of predefined identifiers, those that stand at the level in any image. Coverage: share of them "
        "that is used. Perplexity: exp of the entropy of their use, at most the number of tokens and of identifiers. Dead: used by no "
        "training image. All: the levels together; of a shared codebook, a row is dead if no level uses it. The first "
        f"{LEVELS} levels; the CSV has every one."
    )
    return Section("Use of the levels", headers, body, note)


def _cosines(rows: Sequence[Mapping[str, Any]], split: str) -> Section:
    longest = max(len(row["cosines"]) for row in rows)
    headers = ["row", "cosine with", *("no voken" if not vokens else str(vokens) for vokens in range(longest))]
    body = []
    for row in rows:
        for of in ("picture", "captions"):
            numbers = [f"{each[of]:.3f}" for each in row["cosines"]]
            body.append([row["label"] if of == "picture" else "", f"the {of}", *numbers, *[""] * (longest - len(numbers))])
    note = (
        f"Mean over {split}: what the first vokens of a code decode to, beside the vector of the picture and those of its captions. No "
        "voken: the mean of the training pictures' vectors in place of a decoded code."
    )
    return Section("What the first vokens keep", headers, body, note)


def _shared(rows: Sequence[Mapping[str, Any]], split: str) -> Section:
    headers = ["row", *SHARED.values()]
    body = [[row["label"], *(f"{sum(row['shared'][name]):.3f} ({100 * row['shared'][name][0]:.1f} %)" for name in SHARED)] for row in rows]
    note = (
        f"Mean number of leading tokens that two images of {split} have in common (share of pairs that have the first); of several "
        f"identifiers, the two that go together longest. Nearest by cosine of the encoder's vectors, {NEIGHBOURS} of each image, and by "
        f"the mean direction of its captions; random: {RANDOM} others of each image, drawn with a fixed seed."
    )
    return Section("Do neighbours share prefixes", headers, body, note)


def _part(count: int, whole: int) -> str:
    return f"{count:,} ({100 * count / whole:.1f} %)"


def _recalls(found: Mapping[str, float | None] | None) -> str:
    """`48.0 / 72.1 / 79.0`; `-` where a beam is narrower than K."""
    if found is None:
        return ""
    return " / ".join("-" if found[column.key] is None else f"{found[column.key]:.1f}" for column in RECALL)


def _headline(stored: Mapping[str, Any], style: Style) -> str:
    facts = f"{stored['dataset']}, {stored['split']} split, protocol {stored['protocol']}, seed {stored['seed']}."
    return f"{style.strong('Identifiers.')} {style.escape(facts)}"


def markdown(stored: Mapping[str, Any]) -> str:
    """Returns the report as GitHub Markdown."""
    from tabulate import tabulate

    parts = [_headline(stored, MARKDOWN)]
    for section in sections(stored):
        body = [[MARKDOWN.escape(cell) for cell in line] for line in section.body]
        align = ["left"] + ["right"] * (len(section.headers) - 1)
        parts += [MARKDOWN.strong(section.title + "."), MARKDOWN.escape(section.note)]
        parts.append(tabulate(body, section.headers, tablefmt="pipe", colalign=align, disable_numparse=True))
    return "\n\n".join(parts) + "\n"


def latex(stored: Mapping[str, Any]) -> str:
    """Returns a LaTeX float for each table of the report."""
    floats = []
    for number, section in enumerate(sections(stored)):
        body = [r"\midrule", *(latex_row([LATEX.escape(cell) for cell in line]) for line in section.body)]
        caption = rf"\caption{{{_headline(stored, LATEX)} {LATEX.escape(section.title)}.}}\label{{tab:{stored['name']}-{number + 1}}}"
        floats.append(latex_float(caption, "l" + "r" * (len(section.headers) - 1), section.headers, body, [section.note]))
    return "\n".join(floats)


def csv(stored: Mapping[str, Any]) -> str:
    """Returns one line for each number: of which row, which statistic, of what, at which level (or R@K, or number of vokens)."""
    stream = io.StringIO()
    writer = csv_format.writer(stream, lineterminator="\n")
    writer.writerow(["dataset", "split", "row", "statistic", "of", "level", "value"])
    for row in stored["rows"]:
        for statistic, of, level, value in _numbers(row):
            number = "" if value is None else f"{value:.10g}"
            writer.writerow([stored["dataset"], stored["split"], row["row"], statistic, of, level, number])
    return stream.getvalue()


COUNTS = (
    "images", "train images", "queries", "identifiers", "mean length", "distinct", "unique rate", "largest bucket", "collide", "in train",
)  # fmt: skip


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, str, str, float | None]]:
    for name in COUNTS:
        yield name, "", "", row[name]
    for level in row["levels"]:
        yield "tokens", "", level["level"], level["size"]
        for of in ("train", "split"):
            for name, value in level[of].items():
                yield name, of, level["level"], value
    for name in CEILINGS:
        for key, value in (row[name] or {}).items():
            yield "recall", name, key, value
    for vokens, cosines in enumerate(row["cosines"] or ()):
        for of, value in cosines.items():
            yield "cosine", of, str(vokens), value
    for name, shares in row["shared"].items():
        for place, value in enumerate(shares):
            yield "share of pairs with this prefix", name, str(place + 1), value


def write(stored: Mapping[str, Any], folder: Path) -> str:
    """Returns the name under which the record, and all that is computed from it, are written to a results folder.

    What rows reached is taken from their summaries in that folder, where those rest on the same identifiers: the table beside it then says
    the same.
    """
    from benchmarks.identifiers.codes_figure import figure

    stored = {**stored, "rows": [{**row, "reached": _reached(row, stored, folder) or row["reached"]} for row in stored["rows"]]}
    texts = {"json": json.dumps(stored, indent=1) + "\n", "md": markdown(stored), "tex": latex(stored), "csv": csv(stored)}
    for ending, text in texts.items():
        write_atomically(folder / f"{stored['name']}.{ending}", text)
    figure(stored, folder, stored["name"])
    return stored["name"]


def _reached(row: Mapping[str, Any], stored: Mapping[str, Any], folder: Path) -> dict[str, float | None] | None:
    wanted = (row["row"], stored["seed"])
    path = next((path for *found, path in summaries_in(folder) if tuple(found) == wanted), None)
    if stored["split"] != "test" or path is None:
        return None
    summary = read_summary(path)
    return rounded(recalls(Outcomes.unpack(summary["outcomes"]), stored["ties"])) if rests_on(summary, row) else None


def rests_on(summary: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Says whether a run summary is of the identifiers that a row of a report tells of."""
    return set(row["stages"].values()) <= set(summary.get("stages", {}).values())


def refuse_loss(folder: Path, name: str, rows: Sequence[str]) -> None:
    """Does nothing if a report on these rows may be written to a folder.

    Raises:
        ValueError: if it would take the place of one with further rows, or that is damaged.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        return
    before = read_measured(path, "record", "delete it and measure again", ["rows"])["rows"]
    if lost := [row["row"] for row in before if row["row"] not in rows]:
        raise ValueError(f"{path} has {', '.join(lost)} besides, which would be lost: give these rows a report of their own with --name")
