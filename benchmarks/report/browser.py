"""What the page's script shows of queries: chosen, and put into the shape that it reads, with the pictures that it needs.

Q queries, N images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import tables
from benchmarks.report.answers import Answers, drawn
from methods.data import Split
from methods.pictures import Pictures

if TYPE_CHECKING:
    from PIL.Image import Image

LISTED = 10
CHECKED = 5
SCORES = {
    "generative": "log-probability of the identifier",
    "two-tower": "cosine of caption and picture",
    "one-tower": "matching score of caption and picture",
    "reference": "score",
    "avg-clip": "cosine of caption and picture",
}
"""What a score is: of a paradigm, and of a row whose score is not its paradigm's."""
MANY = 3000
SIDES = (160, 112)  # px; a page of more than `MANY` pictures has smaller ones, so that it stays below 30 MB
QUALITY = 80


def browsed(split: Split, methods: Sequence[Answers], queries: int, failures: int) -> dict[str, Any]:
    """Returns what the script reads. Queries and pictures are numbered anew, in the order of the lists; image ids name the files.

    {"images": [[id, caption]], "queries": [{"text", "image", "drawn"}],
     "methods": [{"key", "label", "score", "checked", "places": [[before, tied]], "answers": [[image]], "scores": [[number]],
                  "worst": [query], "codes": {image: [identifier]}}]}

    `places` says how many images stand before the wanted one and how many share its place; [-1, 0] where it is not listed.
    """
    sample_Q = drawn(queries, len(split.captions))
    worst = {method.key: method.worst(failures) for method in methods}
    shown = [*sample_Q.tolist(), *sorted({int(q) for of_method in worst.values() for q in of_method} - set(sample_Q.tolist()))]
    number_of_query = {query: number for number, query in enumerate(shown)}
    listed = {method.key: _listed(method, shown) for method in methods}
    ids = dict.fromkeys(int(split.caption_image_ids_Q[query]) for query in shown)
    ids |= dict.fromkeys(image for of_method in listed.values() for images, _ in of_method for image in images)
    number = {image: position for position, image in enumerate(ids)}
    captions: dict[int, str] = {}
    for image, caption in zip(split.caption_image_ids_Q.tolist(), split.captions, strict=True):
        captions.setdefault(image, caption)
    # of other tables' rows, variants for the most part, few have a name that stands by itself
    main = {row.key for row in tables.table(next(iter(tables.TABLES))).rows}
    real = [method for method in methods if method.paradigm != "reference"]
    best = sorted(real, key=lambda method: (method.key not in main, -method.found_first))
    checked = {method.key for method in (best or methods)[:CHECKED]}
    return {
        "images": [[image, captions.get(image, f"picture {image}")] for image in ids],
        "queries": [
            {"text": split.captions[query], "image": number[int(split.caption_image_ids_Q[query])], "drawn": position < len(sample_Q)}
            for position, query in enumerate(shown)
        ],
        "methods": [
            {
                "key": method.key,
                "label": method.label,
                "score": SCORES.get(method.key, SCORES[method.paradigm]),
                "checked": method.key in checked,
                "places": np.stack([method.outcomes.before_Q[shown], method.outcomes.tied_Q[shown]], axis=1).tolist(),
                "answers": [[number[image] for image in images] for images, _ in listed[method.key]],
                "scores": [scores for _, scores in listed[method.key]],
                "worst": [number_of_query[int(query)] for query in worst[method.key]],
                "codes": {
                    number[image]: [" ".join(map(str, code)) for code in codes] for image, codes in method.codes.items() if image in number
                },
            }
            for method in methods
        ],
    }


def write_pictures(split: Split, image_ids: Sequence[int], folder: Path) -> None:
    """Writes each picture as a small WebP file of its image id."""
    row_of = {image: row for row, image in enumerate(split.image_ids_N.tolist())}
    pictures = Pictures(split.pictures.root, [split.pictures.files[row_of[image]] for image in image_ids])
    side = SIDES[len(pictures) > MANY]

    def small(picture: Image) -> Image:
        picture.thumbnail((side, side))
        return picture

    for image, picture in zip(image_ids, pictures.mapped(small), strict=True):
        picture.save(folder / f"{image}.webp", quality=QUALITY, method=4)


def _listed(method: Answers, queries: Sequence[int]) -> list[tuple[list[int], list[float | None]]]:
    """Returns the first images of each query and their scores, with four figures; None stands for an infinite score."""
    found = []
    for query in queries:
        ids = [image for image in method.ranking.ids_QW[query, :LISTED].tolist() if image >= 0]
        scores = method.ranking.scores_QW[query, : len(ids)].tolist()
        found.append((ids, [float(f"{score:.4g}") if math.isfinite(score) else None for score in scores]))
    return found
