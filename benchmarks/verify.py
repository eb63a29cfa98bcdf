"""Whether a data set on disk is what its name says: every picture decoded, every count and id compared with what was published.

A fault means that the data are not what they say, or that training would see the test. A note is a fact that caps or blurs a result and
that the published data may have too.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.annotations import SPLITS, Annotations
from benchmarks.datasets.known import expected, ids_digest, known_splits, whose
from benchmarks.datasets.on_disk import Located, located
from methods.pictures import PictureError, Pictures, in_order

if TYPE_CHECKING:
    from PIL.Image import Image

COUNTS = ("images", "captions")
FIRST = 10  # names listed of each kind of fault; their number is always given
WHYS = {
    "missing": "missing",
    "undecodable": "damaged, no picture, or not of 8 or 16 bits a channel",
    "refused": "refused (name out of the root, or too large)",
}


def verify(name: str) -> dict[str, Any]:
    """Returns the report on a data set, JSON-able; `faults` is empty where the data are what they say.

    {"format", "dataset", "form", "root", "sha256", "checked", "compared_by", "splits": {split: {"images", "captions",
    "captions_per_image", "words", "ids", "ids_are", "expected", "missing", "undecodable", "refused": {"count", "first"}}},
    "duplicates": {"captions", "pictures", "groups"}, "leakage": {"same_id", "same_content": {"count", "first"}}, "faults", "notes"}

    Two pictures have the same content if their decoded RGB pixels are equal.

    Raises:
        ValueError: if the data set's root is unknown or holds no data set.
    """
    from benchmarks.datasets import DATASETS

    if name in DATASETS:
        raise ValueError(f"{name} is made here, the same bytes each time: only data sets on disk are verified")
    found = located(name)
    annotations = found.annotations()
    contents: dict[str, dict[str, str]] = {}
    report: dict[str, Any] = {
        "format": 1,
        "dataset": name,
        "form": found.form,
        "root": str(found.root),
        "sha256": found.digests(),
        "checked": "counts and ids, against the published ones"
        if found.known_name in known_splits()
        else "an own data set: nothing is published to compare it with",
        "compared_by": "decoded RGB pixels",
        "splits": {},
    }
    for split in SPLITS:
        report["splits"][split], contents[split] = _split(found, annotations, split)
    report["duplicates"] = _duplicates(annotations, contents["test"])
    report["leakage"] = _leakage(annotations, contents)
    report["faults"], report["notes"] = _judged(annotations, report, found.published)
    report["notes"] += known_splits().get(found.known_name, {}).get("notes", [])
    return report


def text(report: Mapping[str, Any]) -> str:
    """Returns the report for a person to read."""
    from tabulate import tabulate

    rows = []
    for name, split in report["splits"].items():
        known = split["expected"] or {}
        per = ", ".join(f"{captions}: {count:,}" for captions, count in split["captions_per_image"].items())
        counts = [f"{split[what]:,}" + (f" of {known[what]:,}" if what in known else "") for what in COUNTS]
        rows.append([name, *counts, per, *(f"{split[why]['count']:,}" for why in WHYS), split["ids_are"] or "-"])
    shared, leaks = report["duplicates"], report["leakage"]
    files = list(report["sha256"])
    files = files if len(files) <= FIRST else [*files[:FIRST], f"and {len(files) - FIRST:,} more"]
    faults = [*[f"note: {note}" for note in report["notes"]], *[f"FAULT: {fault}" for fault in report["faults"]]]
    headers = ["split", "images", "captions", "captions of an image", *WHYS, "ids are those of"]
    align = ["left", "right", "right", "left", "right", "right", "right", "left"]
    lines = [
        f"{report['dataset']} in {report['root']} ({', '.join(files)})",
        f"checked: {report['checked']}; every picture decoded, pictures compared by their pixels",
        "",
        tabulate(rows, headers, disable_numparse=True, colalign=align),
        "",
        f"test pool: {shared['captions']:.2%} of captions are also another picture's, {shared['pictures']:.2%} of pictures come again",
        f"test in train: {leaks['same_id']['count']:,} by name or id, {leaks['same_content']['count']:,} by their pixels",
        *faults,
        f"{report['dataset']}: " + (f"{len(report['faults'])} faults" if report["faults"] else "no fault found"),
    ]
    return "\n".join(lines)


def content(picture: Image) -> str:
    """Returns the hash of a picture's size and RGB pixels."""
    return hashlib.blake2b(f"{picture.size}".encode() + picture.tobytes(), digest_size=16).hexdigest()


def _split(found: Located, annotations: Annotations, split: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns what is said of one split, and the content of each of its pictures by name."""
    from tqdm import tqdm

    entries = annotations.splits[split]
    files = [entry.file for entry in entries]
    pictures = Pictures(annotations.pictures, files)

    def examined(row: int) -> str | PictureError:
        try:
            return content(pictures[row])
        except PictureError as error:
            return error

    contents: dict[str, str] = {}
    wrong: dict[str, list[str]] = {why: [] for why in WHYS}
    for file, result in zip(files, tqdm(in_order(examined, range(len(files))), f"decoding {split}", len(files), disable=None), strict=True):
        if isinstance(result, PictureError):
            wrong[result.why].append(file)
        else:
            contents[file] = result
    per = Counter(len(entry.captions) for entry in entries)
    captions = sum(count * pictures for count, pictures in per.items())
    words = sum(len(caption.split()) for entry in entries for caption in entry.captions)
    ids = ids_digest(files)
    return {
        "images": len(entries),
        "captions": captions,
        "captions_per_image": {str(count): per[count] for count in sorted(per)},
        "words": round(words / max(1, captions), 2),
        "ids": ids,
        "ids_are": whose(ids) if entries else None,
        "expected": expected(found.known_name, split, found.five),
        **{why: _listed(names) for why, names in wrong.items()},
    }, contents


def _duplicates(annotations: Annotations, contents: Mapping[str, str]) -> dict[str, Any]:
    from benchmarks.datasets.duplicates import duplicates

    pairs = [(caption, entry.image_id) for entry in annotations.splits["test"] for caption in entry.captions]
    groups: dict[str, list[str]] = defaultdict(list)
    for file, found in contents.items():
        groups[found].append(file)
    again = [sorted(files) for files in groups.values() if len(files) > 1]
    return {
        "captions": duplicates(*zip(*pairs, strict=True))["captions"] if pairs else 0.0,
        "pictures": sum(len(files) for files in again) / max(1, len(contents)),
        "groups": sorted(again)[:FIRST],
    }


def _leakage(annotations: Annotations, contents: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Returns which test pictures training would see: under their own name or id, or as another file of equal pixels."""
    train = annotations.splits["train"]
    names, ids = {entry.file for entry in train}, {entry.image_id for entry in train}
    same = [entry.file for entry in annotations.splits["test"] if entry.file in names or entry.image_id in ids]
    seen: dict[str, str] = {found: file for file, found in contents["train"].items()}
    equal = [f"{file} = {seen[found]}" for file, found in contents["test"].items() if found in seen]
    return {"same_id": _listed(same), "same_content": _listed(equal)}


def _judged(annotations: Annotations, report: Mapping[str, Any], complete: bool) -> tuple[list[str], list[str]]:
    faults, notes = [], []
    try:
        annotations.check(complete)
    except ValueError as error:
        faults.append(str(error))
    for split, facts in report["splits"].items():
        known = facts["expected"] or {}
        faults += [f"{split}: {facts[what]:,} {what} instead of {known[what]:,}" for what in COUNTS if known and facts[what] != known[what]]
        if known and facts["ids"] != known["ids"] and facts["ids_are"]:
            faults.append(f"{split}: its images are those of {facts['ids_are']}")
        elif known and facts["ids"] != known["ids"] and facts["images"] == known["images"]:
            faults.append(f"{split}: its images are neither the published ones nor those of another split that is known")
        for why, meaning in WHYS.items():
            if facts[why]["count"]:
                faults.append(f"{split}: {facts[why]['count']:,} pictures are {meaning}: {', '.join(facts[why]['first'])}")
    leaks = report["leakage"]
    if leaks["same_id"]["count"]:
        faults.append(f"{leaks['same_id']['count']:,} test pictures are in train too: {', '.join(leaks['same_id']['first'])}")
    published = all(facts["expected"] and facts["ids"] == facts["expected"]["ids"] for facts in report["splits"].values())
    if leaks["same_content"]["count"]:
        line = f"{leaks['same_content']['count']:,} test pictures equal a training picture: {', '.join(leaks['same_content']['first'])}"
        # The published split is what it is, and others measured on it too.
        notes.append(f"{line}; so the published split has it") if published else faults.append(line)
    if not complete and annotations.held == ("test",):
        notes.append("there is a test split alone: nothing can be trained here, and only models that are taken as they are can be measured")
    shared = report["duplicates"]
    if shared["pictures"]:
        groups = "; ".join(" = ".join(group) for group in shared["groups"])
        notes.append(f"{shared['pictures']:.2%} of test pictures have an equal one in the pool, which caps R@1: {groups}")
    if shared["captions"]:
        notes.append(f"{shared['captions']:.2%} of test captions are word for word another picture's, which caps R@1")
    return faults, notes


def _listed(names: Sequence[str]) -> dict[str, Any]:
    return {"count": len(names), "first": list(names[:FIRST])}
