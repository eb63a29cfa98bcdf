"""A sheet of a split's pictures with what is said of them, for a person to look at."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from methods.data import Dataset

CELL, MARGIN, LINE, LETTERS = 176, 10, 14, 29
"""Side of a picture, space around it and height of a line of text in pixels; letters in a line."""
SPOKEN = 2
"""Captions under a picture."""


def contact_sheet(data_folder: Path, split: str, out: Path, rows: int = 6, columns: int = 8, seed: int = 0) -> Path:
    """Returns `out`, where it writes a PNG of pictures drawn at random, each with two of its captions.

    Args:
        data_folder: a data set in the layout of `methods/data.py`.
        split: one of its splits.
        out: the file to write; its folder is made if need be.
        rows, columns: of the sheet; fewer pictures are shown where the split has no more.

    Raises:
        ValueError: if the folder holds no data set, or the data set no such split.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    dataset = Dataset(Path(data_folder))
    shown = dataset.split(split)
    rng = np.random.default_rng(seed)
    picked = np.sort(rng.permutation(len(shown.image_ids_N))[: rows * columns])
    lines = 4 * SPOKEN
    wide, high = CELL + MARGIN, CELL + lines * LINE + 2 * MARGIN
    foot = 2 * LINE
    columns = min(columns, len(picked))
    sheet = Image.new("RGB", (columns * wide + MARGIN, -(-len(picked) // columns) * high + MARGIN + foot), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, row in enumerate(picked):
        left, top = MARGIN + place % columns * wide, MARGIN + place // columns * high
        sheet.paste(ImageOps.pad(shown.pictures[row], (CELL, CELL), Image.Resampling.LANCZOS, color="white"), (left, top))
        captions = [shown.captions[query] for query in np.flatnonzero(shown.caption_rows_Q == row)]
        text: list[str] = []
        for line in rng.permutation(len(captions))[:SPOKEN]:
            text += textwrap.wrap(captions[line], LETTERS, initial_indent="- ", max_lines=4, placeholder=" …")
        draw.multiline_text((left, top + CELL + 4), "\n".join(text), fill="black", font=font, spacing=2)
    line = f"{dataset.info['name']}, {split}"
    if "attribution" in dataset.info:
        line += f". {dataset.info['attribution']}"
    draw.text((MARGIN, sheet.height - foot + 4), line, fill="black", font=font)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    return out
