"""A scene: one to three things on a coloured ground, what is true of it, and its picture."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.datasets.sprites import Sprite

if TYPE_CHECKING:
    from PIL.Image import Image

THINGS = {1: 0.2, 2: 0.4, 3: 0.4}
"""Probability of each number of things in a scene."""

SIDE = {1: (0.34, 0.78), 2: (0.28, 0.58), 3: (0.25, 0.46)}
"""Longer side of a thing as a share of the picture's, by number of things: uniform in this range."""

BIG, SMALL = 0.5, 0.32
"""Shares of the picture's side from which a thing counts as big, and up to which as small."""

OVERLAP = 0.04
"""How much of a thing's box another may cover, as long as a place can be found."""

NEAR = 0.48
"""Distance of centres, as a share of the picture's side, up to which things stand next to each other."""

MIDDLE, ASIDE = 0.08, 0.13
"""How far off the centre, along either axis, a thing is still in the middle, and from where it is at a side."""

GROUNDS = {
    "white": (0.00, 0.00, 0.98),
    "grey": (0.00, 0.00, 0.66),
    "red": (0.99, 0.72, 0.80),
    "orange": (0.08, 0.75, 0.97),
    "yellow": (0.15, 0.60, 0.97),
    "green": (0.34, 0.50, 0.68),
    "blue": (0.59, 0.60, 0.85),
    "purple": (0.77, 0.52, 0.68),
    "pink": (0.93, 0.34, 0.98),
    "brown": (0.07, 0.55, 0.50),
}
"""Hue, saturation and value of each ground; a scene's own shade lies near it. Far enough apart for a person to name them right."""

SHADE = (0.012, 0.06, 0.05)
"""How far a scene's own hue, saturation and value may lie from its ground's."""

GRADIENT, FADE = 0.3, 0.12
"""Probability that a ground gets lighter or darker from top to bottom, and by how much at most, either way."""


@dataclass(frozen=True)
class Thing:
    """A sprite in a scene; centre and longer side as shares of the picture's side, y downwards."""

    sprite: Sprite
    x: float
    y: float
    side: float

    @property
    def size(self) -> str | None:
        return "big" if self.side >= BIG else "small" if self.side <= SMALL else None

    @property
    def place(self) -> str | None:
        """Where in the picture: `middle`, the edge it is nearest to, or None where people would say neither."""
        right, down = self.x - 0.5, self.y - 0.5
        off = max(abs(right), abs(down))
        return "middle" if off <= MIDDLE else direction(right, down) if off >= ASIDE else None


def direction(right: float, down: float) -> str:
    """Returns `left`, `right`, `top` or `bottom`: where something lies that is so far to the right and so far down."""
    if abs(right) >= abs(down):
        return "right" if right > 0 else "left"
    return "bottom" if down > 0 else "top"


@dataclass(frozen=True)
class Scene:
    """Things, distinct in their sprites, on a ground. `top` and `bottom` are its shades, 8-bit RGB."""

    things: tuple[Thing, ...]
    ground: str
    top: tuple[int, int, int]
    bottom: tuple[int, int, int]


def compose(rng: np.random.Generator, sprites: Sequence[Sprite], shapes: Mapping[str, tuple[float, float]]) -> Scene:
    """Returns a scene drawn at random.

    Args:
        rng: the scene's own generator.
        sprites: what may be shown.
        shapes: width and height of each sprite by key, the longer being 1.
    """
    count = int(rng.choice(list(THINGS), p=list(THINGS.values())))
    chosen = [sprites[row] for row in rng.choice(len(sprites), count, replace=False)]
    sides = rng.uniform(*SIDE[count], count)
    boxes = np.array([np.multiply(shapes[sprite.key], side) for sprite, side in zip(chosen, sides, strict=True)])
    centres = _places(rng, boxes)
    ground = str(rng.choice(list(GROUNDS)))
    shade = np.array(GROUNDS[ground]) + rng.uniform(-1, 1, 3) * SHADE
    fade = np.array((0, 0, rng.uniform(-FADE, FADE) if rng.random() < GRADIENT else 0))
    things = tuple(
        Thing(sprite, round(float(x), 3), round(float(y), 3), round(float(side), 3))
        for sprite, (x, y), side in zip(chosen, centres, sides, strict=True)
    )
    return Scene(things, ground, _rgb(shade + fade), _rgb(shade - fade))


def _places(rng: np.random.Generator, boxes_T2: np.ndarray, tries: int = 60) -> np.ndarray:
    """Returns centres_T2 that keep every box inside the picture; of `tries` draws the first without much overlap, or else the best."""
    low, high = boxes_T2 / 2 + 0.01, 1 - boxes_T2 / 2 - 0.01
    best, least = low, np.inf
    for _ in range(tries):
        centres = rng.uniform(low, high)
        shared = np.minimum(centres[:, None] + boxes_T2[:, None] / 2, centres + boxes_T2 / 2) - np.maximum(
            centres[:, None] - boxes_T2[:, None] / 2, centres - boxes_T2 / 2
        )
        covered = np.triu(np.clip(shared, 0, None).prod(-1) / boxes_T2.prod(-1), 1).max()
        if covered < least:
            best, least = centres, covered
        if least <= OVERLAP:
            break
    return best


def _rgb(hsv: np.ndarray) -> tuple[int, int, int]:
    hue, saturation, value = hsv
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, float(np.clip(saturation, 0, 1)), float(np.clip(value, 0, 1)))
    return round(255 * red), round(255 * green), round(255 * blue)


def draw(scene: Scene, masters: Mapping[str, Image], size_px: int) -> Image:
    """Returns the scene's picture, RGB of `size_px` by `size_px`.

    Args:
        masters: RGBA picture of each sprite by key, at least as large as it is drawn.
    """
    from PIL import Image

    if scene.top == scene.bottom:
        picture = Image.new("RGB", (size_px, size_px), scene.top)
    else:
        ramp = np.linspace(scene.top, scene.bottom, size_px).round().astype(np.uint8)
        picture = Image.fromarray(np.repeat(ramp[:, None], size_px, axis=1))
    for thing in scene.things:
        master = masters[thing.sprite.key]
        scale = thing.side * size_px / max(master.size)
        width, height = max(1, round(master.width * scale)), max(1, round(master.height * scale))
        drawn = master.resize((width, height), Image.Resampling.BOX)
        picture.paste(drawn, (round(thing.x * size_px - width / 2), round(thing.y * size_px - height / 2)), drawn)
    return picture
