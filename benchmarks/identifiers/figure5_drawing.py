"""Figure 5 with its pictures: a band for each kind of pair, pictures side by side, vokens and a caption under each. Lengths in inches."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.drawing import save
from benchmarks.identifiers.figure5 import counted, title, vokens
from methods.data import Dataset, Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, INNER, OUTER, EDGE = 1.75, 0.12, 0.45, 0.2
"""Side of a picture, space within a pair, between pairs, and around all."""
HEAD, LINE, FOOT, BELOW = 0.43, 0.145, 0.1, 0.28
"""Height of a band's heading and of a line of text; space before the foot and below a band."""
LETTERS, LINES = 30, 5
"""Letters in a line of a caption, and lines of it that are shown; the Markdown has all."""
DIGIT = 8 * 0.602 / 72
"""Width of a sign of DejaVu Sans Mono at 8 points."""
PIXELS = 512
"""Side beyond which a picture is scaled down: a photograph has more than a page shows."""


def draw(stored: Mapping[str, Any], data_folder: Path, folder: Path, name: str) -> None:
    """Writes `name.png` and `name.pdf`.

    Args:
        stored: a record of `figure5.measured`.
        data_folder: the data set whose pictures it names.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    data = Dataset(data_folder)
    splits = {each: data.split(each) for each in (stored["split"], "train")}
    columns = max([1, *(len(of_kind["drawn"]) for of_kind in stored["classes"])])
    wide = 2 * EDGE + columns * (2 * SIDE + INNER) + (columns - 1) * OUTER
    captions = [[[_wrapped(image) for image in pair] for pair in of_kind["drawn"]] for of_kind in stored["classes"]]
    highs = [HEAD + _under(*both) for both in zip(stored["classes"], captions, strict=True)]
    foot = textwrap.wrap(f"{stored['rule']} {stored['attribution']}".strip(), int(wide * 16.5))
    high = 2 * EDGE + sum(highs) + FOOT + len(foot) * LINE
    # in matplotlib's own style, whatever was drawn before in this process
    with plt.style.context("default"):
        figure = plt.figure(figsize=(wide, high))
        top = high - EDGE
        for of_kind, texts, band in zip(stored["classes"], captions, highs, strict=True):
            _band(figure, of_kind, texts, top, stored, splits)
            top -= band
        figure.text(EDGE / wide, (top - FOOT) / high, "\n".join(foot), fontsize=7, va="top", color="0.3", parse_math=False)
        save(figure, folder, name)


def _band(
    figure: Figure, of_kind: Mapping[str, Any], texts: list[list[str]], top: float, stored: Mapping[str, Any], splits: Mapping[str, Split]
) -> None:  # fmt: skip
    """Draws one kind of pair, from `top` down: what the pairs share, then the pairs from left to right."""
    from PIL import Image

    wide, high = figure.get_size_inches()

    def text(x: float, y: float, words: str, **look: Any) -> Any:
        return figure.text(x / wide, y / high, words, va="top", parse_math=False, **look)

    text(EDGE, top, title(of_kind, stored["length"]), fontsize=9.5, weight="bold")
    text(EDGE, top - 0.19, counted(of_kind, stored["split"]), fontsize=8, color="0.3")
    for number, pair in enumerate(of_kind["drawn"]):
        left = EDGE + number * (2 * SIDE + INNER + OUTER)
        for place, image in enumerate(pair):
            x, y = left + place * (SIDE + INNER), top - HEAD - SIDE
            split = splits[image["split"]]
            picture = split.pictures[int(np.flatnonzero(split.image_ids_N == image["id"])[0])]
            picture.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS)
            axis = figure.add_axes((x / wide, y / high, SIDE / wide, SIDE / high))
            axis.imshow(np.asarray(picture))
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_anchor("S")
            for spine in axis.spines.values():
                spine.set(color="0.6", linewidth=0.6)
            lines = _vokens(image, of_kind["shared"])
            for line, pieces in enumerate(lines):
                for column, voken, weight in pieces:
                    text(x + column * DIGIT, y - 0.06 - line * LINE, voken, fontsize=8, weight=weight, family="monospace")
            text(x, y - 0.1 - len(lines) * LINE, texts[number][place], fontsize=7.5, linespacing=1.15)
            if image["split"] != stored["split"]:
                text(x + 0.04, y + SIDE - 0.04, image["split"], fontsize=7, bbox={"facecolor": "white", "edgecolor": "0.6", "pad": 1.5})


def _wrapped(image: Mapping[str, Any]) -> str:
    captions = image["captions"]
    return "\n".join(textwrap.wrap(captions[0], LETTERS, max_lines=LINES, placeholder=" …")) if captions else "(no caption)"


def _vokens(image: Mapping[str, Any], shared: int) -> list[list[tuple[int, str, str]]]:
    """Returns lines of (column, voken, weight) no wider than a picture; what is shared is in brackets, and bold."""
    lines: list[list[tuple[int, str, str]]] = [[]]
    column = 0
    for place, voken in enumerate(vokens(image["codes"], shared)):
        if column and column + len(voken) > SIDE / DIGIT:
            lines.append([])
            column = 0
        lines[-1].append((column, voken, "bold" if place < shared else "normal"))
        column += len(voken) + 1
    return lines


def _under(of_kind: Mapping[str, Any], texts: list[list[str]]) -> float:
    """Returns the height of a band's pictures and what stands under them, as its longest caption and code need; little if it is empty."""
    lines = [
        len(_vokens(image, of_kind["shared"])) + caption.count("\n") + 1
        for pair, captions in zip(of_kind["drawn"], texts, strict=True)
        for image, caption in zip(pair, captions, strict=True)
    ]
    return BELOW + SIDE + 0.1 + max(lines) * LINE if lines else BELOW / 4
