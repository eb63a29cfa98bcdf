"""What people say of a scene: which facts a caption states, and in what words.

The facts are drawn first and the words after them, from the facts alone. So the words tell nothing about the scene that the facts do
not, and the chance of the facts under each scene (`scene_ceiling.py`) is all that an ideal matcher could use.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from benchmarks.datasets.scenes import NEAR, Scene, Thing, direction
from benchmarks.datasets.sprites import Name

Choice = TypeVar("Choice")

MENTIONED = {1: (1.0,), 2: (0.15, 0.85), 3: (0.08, 0.27, 0.65)}
"""Probability of naming 1, 2, … things, by how many there are: people leave things out."""

SAYS_GROUND = 0.6
SAYS_KIND = 0.06
"""Probability of a vague word for a thing: `an animal`."""
SAYS_SIZE = 0.3
"""Probability of `big` or `small` for each named thing that is either."""
SAYS_PLACE = 0.35
"""Probability of saying where in the picture the thing is, when only one is named and it is somewhere in particular."""
SAYS_DIRECTION = 0.25
"""Probability of saying on which side of the second named thing the first one is."""
SAYS_NEAR = 0.3
"""Probability of saying that these two stand next to each other, when they do."""


@dataclass(frozen=True)
class Mention:
    """What a caption says a thing is: a sprite's key or, where it is vague, its kind. `size` is None where unsaid."""

    what: str
    vague: bool
    size: str | None


@dataclass(frozen=True)
class Facts:
    """All that a caption states; None is what it leaves unsaid.

    `place` is where the only thing named is, as in `Thing.place`; `relation` is how the first thing named lies to the second.
    """

    mentions: tuple[Mention, ...]
    ground: str | None
    place: str | None
    relation: str | None


def choose_facts(scene: Scene, rng: np.random.Generator) -> tuple[Facts, tuple[Thing, ...]]:
    """Returns what a caption says, and the things that it names in their order."""
    chances = MENTIONED[len(scene.things)]
    count = 1 + int(rng.choice(len(chances), p=chances))
    named = tuple(scene.things[row] for row in rng.permutation(len(scene.things))[:count])
    mentions = []
    for thing in named:
        vague = bool(rng.random() < SAYS_KIND)
        size = thing.size if rng.random() < SAYS_SIZE else None
        mentions.append(Mention(thing.sprite.kind if vague else thing.sprite.key, vague, size))
    ground = scene.ground if rng.random() < SAYS_GROUND else None
    place = named[0].place if count == 1 and rng.random() < SAYS_PLACE else None
    relation = None
    if count > 1:
        first, second = named[:2]
        chance = rng.random()
        if chance < SAYS_DIRECTION:
            relation = direction(first.x - second.x, first.y - second.y)
        elif chance < SAYS_DIRECTION + SAYS_NEAR and math.hypot(first.x - second.x, first.y - second.y) <= NEAR:
            relation = "near"
    return Facts(tuple(mentions), ground, place, relation), named


PLAIN = (
    "{things}",
    "{things}",
    "a picture of {things}",
    "an illustration of {things}",
    "there {is} {things}",
    "here {is} {things}",
    "a drawing that shows {things}",
    "you can see {things}",
    "{things} can be seen here",
    "somebody drew {things}",
    "clip art of {things}",
    "the picture shows {things}",
    "a cartoon with {things}",
    "a simple drawing of {things}",
)

GROUNDED = (
    "{things} on {colour} background",
    "{things} on {colour} background",
    "{things} against {colour} backdrop",
    "{things} in front of {colour} wall",
    "{things} on {bare} paper",
    "a picture of {things} on {colour} background",
    "there {is} {things} on {colour} background",
    "on {colour} background there {is} {things}",
    "{colour} picture with {things}",
    "{colour} card that shows {things}",
    "the background is {bare}, with {things} on it",
    "{colour} background with {things}",
    "{things} drawn on {colour} surface",
    "an illustration of {things}, all on {bare}",
    "clip art of {things} over {colour} ground",
    "you can see {things}, and the background is {bare}",
    "{things}, {bare} background",
)

PLACED = {
    "left": ("{a} on the left", "{a} on the left side", "{a} at the left"),
    "right": ("{a} on the right", "{a} on the right side", "{a} at the right"),
    "top": ("{a} at the top", "{a} in the upper part", "{a} near the top"),
    "bottom": ("{a} at the bottom", "{a} in the lower part", "{a} near the bottom"),
    "middle": ("{a} in the middle", "{a} in the center", "{a} right in the middle"),
}

RELATED = {
    "left": ("{a} to the left of {b}", "{a} left of {b}", "{a} on the left side of {b}"),
    "right": ("{a} to the right of {b}", "{a} right of {b}", "{a} on the right side of {b}"),
    "top": ("{a} above {b}", "{a} higher up than {b}", "{a} over {b}"),
    "bottom": ("{a} below {b}", "{a} underneath {b}", "{a} lower down than {b}"),
    "near": ("{a} next to {b}", "{a} beside {b}", "{a} near {b}", "{a} close to {b}", "{a} by {b}"),
    None: ("{a} and {b}", "{a} and {b}", "{a} with {b}", "{a} together with {b}", "{a} as well as {b}"),
}

LISTED = ("{a}, {b} and {c}", "{a}, {b}, and {c}", "{a} and {b} and {c}", "{a} with {b} and {c}")
THIRD = ("{pair} and {c}", "{pair}, and {c}", "{pair}, plus {c}", "{pair} along with {c}")

SIZES = {"big": ("big", "large", "huge"), "small": ("small", "little", "tiny")}
COLOURS = {"grey": ("grey", "gray"), "purple": ("purple", "violet")}
VAGUE = {"food": "~food"}
ARTICLES = {"one": ("a",) * 8 + ("the", "one"), "mass": ("some",) * 4 + ("the",), "many": ("some",) * 3 + ("", "the")}

BEFORE_VOWEL = re.compile(r"\ba (?=(?!uni|ufo)[aeiou]|hour)", re.IGNORECASE)


def word_facts(facts: Facts, named: tuple[Thing, ...], rng: np.random.Generator) -> str:
    """Returns a caption that states these facts, as a sentence."""

    def one(choices: Sequence[Choice]) -> Choice:
        return choices[int(rng.integers(len(choices)))]

    calls = [
        Name.parse(VAGUE.get(mention.what, mention.what)) if mention.vague else one(thing.sprite.names)
        for mention, thing in zip(facts.mentions, named, strict=True)
    ]
    phrases = []
    for mention, call in zip(facts.mentions, calls, strict=True):
        size = one(SIZES[mention.size]) if mention.size else ""
        phrases.append(" ".join(filter(None, (one(ARTICLES[call.number]), size, call.words))))
    slots = dict(zip("abc", phrases, strict=False))
    if len(phrases) == 1:
        things = one(PLACED[facts.place]).format(**slots) if facts.place else phrases[0]
    elif len(phrases) == 3 and facts.relation is None:
        things = one(LISTED).format(**slots)
    else:
        things = one(RELATED[facts.relation]).format(**slots)
        if len(phrases) == 3:
            things = one(THIRD).format(pair=things, **slots)
    verb = "are" if calls[0].number == "many" else "is"
    if facts.ground is None:
        text = one(PLAIN).format(things=things, **{"is": verb})
    else:
        bare = one(COLOURS.get(facts.ground, (facts.ground,)))
        text = one(GROUNDED).format(things=things, colour=f"a {bare}", bare=bare, **{"is": verb})
    text = BEFORE_VOWEL.sub("an ", text)
    return text[0].upper() + text[1:] + "."


def caption(scene: Scene, rng: np.random.Generator) -> tuple[str, Facts]:
    """Returns a caption of the scene and what it states."""
    facts, named = choose_facts(scene, rng)
    return word_facts(facts, named, rng), facts
