"""The record of `figure4` as JSON, as Markdown, CSV and Figure 4 itself, each from the record alone.

RESULTS/DATASET/efficiency.json, figure4.md .csv .png .pdf; at full model size efficiency-full-size.json, figure4-full-size.*
"""

from __future__ import annotations

import csv as csv_format
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest import figures
from benchmarks.record import read_measured
from benchmarks.speed.efficiency import BATCHES, ENOUGH, PAIRED, SERIES, SHORTLIST, chosen, place
from methods.files.durable import write_atomically

Stored = Mapping[str, Any]
FULL = "-full-size"
RECORD = "efficiency.json"
BY_ONE_GENERATOR = (
    "GRACE has AVG's generator here, not the multimodal model of 3 billion parameters that the paper times: identifiers alone differ."
)
TREES = (
    "All paths of GRACE are made up. Its tree is of equal clusters in random galleries, as k-means makes it, of clustered vectors too; in "
    "clustered ones it is the worst case, in which the first child of every node holds half of its pictures. "
)
HEADERS = (
    "series", "gallery", "images", "batch", "rounds", "queries_per_second", "encode_ms", "encode_p95_ms", "search_ms", "search_p95_ms",
    "both_ms", "both_p95_ms", "extrapolated", "index_bytes", "of_the_ten",
)  # fmt: skip


def keep(stored: Stored, folder: Path) -> None:
    write_atomically(folder / record_name(stored["settings"]["full_size"]), json.dumps(stored, indent=1) + "\n")


def record_name(full_size: bool) -> str:
    return RECORD.replace(".", f"{FULL}.") if full_size else RECORD


def refuse_loss(folder: Path, full_size: bool, sizes: Sequence[int], series: Sequence[str]) -> None:
    """Does nothing if a record of these sizes and series may be written to a folder.

    Raises:
        ValueError: if it would take the place of one that has more, or that is damaged; names what would be lost.
    """
    path = folder / record_name(full_size)
    if not path.is_file():
        return
    before = {(point["series"], f"{point['images']:,} images") for point in read(path)["points"]}
    now = {*series, *(f"{images:,} images" for images in sizes)}
    if lost := list(dict.fromkeys(each for pair in sorted(before) for each in pair if each not in now)):
        raise ValueError(f"{path} has {', '.join(lost)} besides, which would be lost: name another folder with --results")


def read(path: Path) -> dict[str, Any]:
    """Returns a record.

    Raises:
        ValueError: if the file is none that this version reads.
    """
    return read_measured(path, "record", "delete it and run figure4 again", ["points"])


def write(stored: Stored, folder: Path) -> str:
    """Returns the name of the files, after writing Markdown, CSV and the figure to a folder."""
    from benchmarks.speed.efficiency_figure import draw

    name = f"figure4{FULL if stored['settings']['full_size'] else ''}"
    write_atomically(folder / f"{name}.md", markdown(stored))
    write_atomically(folder / f"{name}.csv", csv(stored))
    draw(stored, folder, name)
    return name


def csv(stored: Stored) -> str:
    stream = io.StringIO()
    writer = csv_format.writer(stream, lineterminator="\n")
    writer.writerow(HEADERS)
    for point in stored["points"]:
        numbers = (point[name] for name in HEADERS)
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else "" if value is None else value for value in numbers])
    return stream.getvalue()


def caption(stored: Stored) -> str:
    """Returns what the figure and its tables have to say of how they came about."""
    settings, where = stored["settings"], place(stored["machine"], stored["settings"]["full_size"])
    grace = any(point["series"] == "grace-structured" for point in stored["points"])
    rounds = [point["rounds"] for point in stored["points"] if point["rounds"]]
    if settings["full_size"]:
        models = (
            "Models have the shapes of the paper's AVG and CLIP (T5-base, ViT-L/14-336's text tower) and random weights, on which times do "
            "not depend; CLIP's tower is not given the padding to 77 tokens of the release, which changes no vector"
            if not settings["tiny"]
            else "Models are tiny, with random weights"
        )
        gallery = (
            "Galleries are drawn at random, and no caption's vector lies near any of theirs: what share of the exact ten an index finds "
            "says nothing of real ones"
        )
    else:
        # a record from before models were noted may be of settings that Table 1 no longer has
        now = "have the settings of" if "models" in stored else "are those that an older version trained for"
        models = f"Models {now} Table 1's first seed on {settings['dataset']}"
        gallery = "Galleries are its test pictures and, beyond them, random codes and vectors"
    parts = [
        f"{models}; on {where}. Queries are captions of the test split. Text encoding and search are timed together and apart, in "
        f"{min(rounds, default=0)} to {max(rounds, default=0)} rounds in which all take turns: medians, and the 95th percentile where "
        f"there were {ENOUGH} rounds at least.",
        *([BY_ONE_GENERATOR] if grace else []),
        f"{gallery}. In clustered galleries 256 pictures share all tokens of their code but the last, or lie about one vector. "
        f"{TREES if grace else ''}What reads every vector takes the same time there. HNSW is built of {settings['hnsw_to']:,} pictures at "
        "most. Indexes of identifiers are counted as they are stored, 8 bytes a number.",
        "CLIP as the paper timed it: one query at a time on the CPU, in float64, all vectors normalised anew for each query, then sorted.",
    ]
    if blip := stored["blip"]:
        states = "pictures encoded beforehand"
        parts.append(
            f"BLIP is extrapolated (hollow marks): {figures(blip['pairs_per_second'])} pairs of a caption and a picture a second, timed on "
            f"{blip['pairs']} at once, {states}; the model is {blip['model']}. A shortlist is {SHORTLIST} pairs more than a matrix product."
        )
    return " ".join(parts)


def markdown(stored: Stored) -> str:
    """Returns tables of queries per second, and of the parts of the time in the largest gallery that all but the slowest to build have."""
    heading = "Figure 4 at full model size" if stored["settings"]["full_size"] else "Figure 4"
    parts = [f"**{heading}.** Queries per second against the size of the gallery. {caption(stored)}"]
    for batch in BATCHES:
        if found := chosen(stored, "random", batch):
            parts += [f"Queries per second, {_told(batch)}:", _rates(found)]
    if clustered := chosen(stored, "clustered", 1):
        parts += ["The same in clustered galleries, one query at a time:", _rates(clustered)]
    if found := chosen(stored, "random", 1):
        images = _compared(found)
        parts += [f"Milliseconds of one query, {images:,} images, median (95th percentile):", _parts(found, images)]
    parts.append(f"Measured by `{stored['command']}`.")
    return "\n\n".join(parts) + "\n"


def _told(batch: int) -> str:
    return "one query at a time" if batch == 1 else f"{batch} queries at once"


def _compared(found: Mapping[str, Mapping[int, Any]]) -> int:
    """Returns the largest size that all timed series have, or the largest of all where they have none in common."""
    common = set.intersection(*(set(points) for points in found.values()))
    return max(common or {images for points in found.values() for images in points})


def _rates(found: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> str:
    from tabulate import tabulate

    sizes = sorted({images for points in found.values() for images in points})
    body = [[label(name), *[_rate(points.get(images)) for images in sizes]] for name, points in found.items()]
    headers = ["images", *[f"{images:,}" for images in sizes]]
    return tabulate(body, headers, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * len(sizes))


def label(series: str) -> str:
    return SERIES[series] + (" (extrapolated)" if series in PAIRED else "")


def _rate(point: Mapping[str, Any] | None) -> str:
    return "" if point is None else figures(point["queries_per_second"])


def _parts(found: Mapping[str, Mapping[int, Mapping[str, Any]]], images: int) -> str:
    from tabulate import tabulate

    headers = ["", "text encoding", "search", "together", "index, MB", "of the exact ten"]
    body = []
    for name, points in found.items():
        if point := points.get(images):
            share = "" if point["of_the_ten"] is None else f"{100 * point['of_the_ten']:.0f} %"
            times = [_time(point, part) for part in ("encode", "search", "both")]
            body.append([label(name), *times, figures(point["index_bytes"] / 1e6), share])
    return tabulate(body, headers, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * 5)


def _time(point: Mapping[str, Any], part: str) -> str:
    p95 = point[f"{part}_p95_ms"]
    return figures(point[f"{part}_ms"]) + ("" if p95 is None else f" ({figures(p95)})")
