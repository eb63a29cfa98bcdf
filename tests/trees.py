"""Tiny data trees in the exact form of the published ones: real JPEGs, Karpathy's JSON with all of its keys, Entities' files, shards.

A picture is a coloured square on a coloured ground, in one of four corners, so that captions are true of it and something can be learned.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

COLOURS = {
    "red": (220, 30, 30), "green": (30, 160, 40), "blue": (30, 60, 220), "yellow": (240, 220, 40), "black": (10, 10, 10),
    "white": (245, 245, 245), "purple": (130, 40, 160), "orange": (245, 140, 20),
}  # fmt: skip
CORNERS = {"top left": (8, 8), "top right": (56, 8), "bottom left": (8, 56), "bottom right": (56, 56)}
SCENES = [scene for scene in itertools.product(COLOURS, COLOURS, CORNERS) if scene[0] != scene[1]]
"""224 of them; scene number n is (square, ground, corner)."""

TEXTS = (
    "A {0} square lies on a {1} ground.",
    "There is a square, {0}, in the {2} corner.",
    "The picture is {1} with something {0} at the {2}.",
    "A {0} box on {1}, {2}.",
    "In the {2} corner you can see a {0} square.",
    "Something {0} and square.",
)


def picture(number: int) -> Image.Image:
    """Returns scene `number` as a 96 × 96 RGB picture."""
    square, ground, corner = SCENES[number % len(SCENES)]
    image = Image.new("RGB", (96, 96), COLOURS[ground])
    left, top = CORNERS[corner]
    size = 32 + number // len(SCENES)  # beyond 224 pictures squares grow, so that no two are alike
    ImageDraw.Draw(image).rectangle((left, top, left + size, top + size), fill=COLOURS[square])
    return image


def jpeg(number: int) -> bytes:
    stream = io.BytesIO()
    picture(number).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def captions(number: int, count: int = 5) -> list[str]:
    return [text.format(*SCENES[number % len(SCENES)]) for text in TEXTS[:count]]


def flickr_number(number: int) -> int:
    """Returns a Flickr picture's number; like the real ones, some are beyond 31 bits and they are in no order."""
    return 36_979 + (number * 7_919_191_919) % 8_251_604_257


def sentences(texts: Sequence[str], image: int, first: int) -> list[dict[str, Any]]:
    """Returns Karpathy's sentences: tokens are lower-case words without signs."""
    tokens = [re.findall(r"[a-z]+", text.lower()) for text in texts]
    return [
        {"tokens": words, "raw": text, "imgid": image, "sentid": first + line}
        for line, (words, text) in enumerate(zip(tokens, texts, strict=True))
    ]


def write_flickr30k(root: Path, images: Sequence[int] = (40, 10, 12), folder: str = "flickr30k-images") -> Path:
    """Returns `root`, where it writes Karpathy's Flickr30K: `dataset_flickr30k.json` and a folder of JPEGs, (train, val, test) of them."""
    (root / folder).mkdir(parents=True)
    entries: list[dict[str, Any]] = []
    for split, count in zip(("train", "val", "test"), images, strict=True):
        for _ in range(count):
            number = len(entries)
            name = f"{flickr_number(number)}.jpg"
            (root / folder / name).write_bytes(jpeg(number))
            said = sentences(captions(number), number, 5 * number)
            ids = [sentence["sentid"] for sentence in said]
            entries.append({"sentids": ids, "imgid": number, "sentences": said, "split": split, "filename": name})
    (root / "dataset_flickr30k.json").write_text(json.dumps({"images": entries, "dataset": "flickr30k"}))
    return root


def write_entities(root: Path, images: Sequence[int] = (40, 10, 12), source: str = "token") -> Path:
    """Returns `root`, where it writes Flickr30K with the split files of Flickr30K Entities.

    Args:
        source: where captions are: `token` (results_20130124.token) or `sentences` (Sentences/NUMBER.txt with marked phrases).
    """
    (root / "flickr30k-images").mkdir(parents=True)
    numbers = [flickr_number(number) for number in range(sum(images))]
    lines = []
    for row, number in enumerate(numbers):
        (root / "flickr30k-images" / f"{number}.jpg").write_bytes(jpeg(row))
        spaced = [text.replace(".", " .").replace(",", " ,") for text in captions(row)]
        lines += [f"{number}.jpg#{line}\t{text}" for line, text in enumerate(spaced)]
        if source == "sentences":
            marked = [re.sub(r"^A (\w+) (square|box)", r"[/EN#12/other A \1 \2]", text) for text in spaced]
            (root / "Sentences").mkdir(exist_ok=True)
            (root / "Sentences" / f"{number}.txt").write_text("\n".join(marked) + "\n")
    if source == "token":
        (root / "results_20130124.token").write_text("\n".join(lines) + "\n")
    ends = list(itertools.accumulate(images))
    for split, start, end in zip(("train", "val", "test"), [0, *ends], ends, strict=False):
        (root / f"{split}.txt").write_text("".join(f"{number}\n" for number in numbers[start:end]))
    return root


def write_coco(root: Path, images: Sequence[int] = (30, 12, 10, 12), six: int = 2) -> Path:
    """Returns `root`, where it writes Karpathy's MS-COCO: `dataset_coco.json`, and (train, restval, val, test) pictures in two folders.

    Args:
        six: how many test pictures have six captions instead of five, as ten of the real ones do.
    """
    for folder in ("train2014", "val2014"):
        (root / folder).mkdir(parents=True)
    entries: list[dict[str, Any]] = []
    sentid = 0
    for split, count in zip(("train", "restval", "val", "test"), images, strict=True):
        folder = "train2014" if split == "train" else "val2014"
        for row in range(count):
            number = len(entries)
            cocoid = 9 + 37 * number
            name = f"COCO_{folder}_{cocoid:012d}.jpg"
            (root / folder / name).write_bytes(jpeg(number))
            said = sentences(captions(number, 6 if split == "test" and row < six else 5), number, sentid)
            said[0]["raw"] += "\n"  # published captions end so, now and then
            ids = [sentence["sentid"] for sentence in said]
            sentid += len(said)
            entries.append(
                {"filepath": folder, "sentids": ids, "filename": name, "imgid": number, "split": split, "sentences": said, "cocoid": cocoid}
            )
    (root / "dataset_coco.json").write_text(json.dumps({"images": entries, "dataset": "coco"}))
    return root


def split_of(number: int, images: Sequence[int]) -> str:
    return next(split for split, end in zip(("train", "val", "test"), itertools.accumulate(images), strict=True) if number < end)


def write_csv(root: Path, images: Sequence[int] = (40, 10, 12), split: bool = True) -> Path:
    """Returns `root`, a folder of pictures with `captions.csv`, a row a caption."""
    (root / "pictures").mkdir(parents=True)
    with (root / "captions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "caption", *(["split"] if split else [])])
        for number in range(sum(images)):
            (root / "pictures" / f"{number}.jpg").write_bytes(jpeg(number))
            for text in captions(number):
                writer.writerow([f"pictures/{number}.jpg", text, *([split_of(number, images)] if split else [])])
    return root


def write_jsonl(root: Path, images: Sequence[int] = (40, 10, 12), split: bool = True) -> Path:
    """Returns `root`, a folder of pictures with `metadata.jsonl`, a line a picture."""
    root.mkdir(parents=True)
    with (root / "metadata.jsonl").open("w") as stream:
        for number in range(sum(images)):
            (root / f"{number}.jpg").write_bytes(jpeg(number))
            row = {"file_name": f"{number}.jpg", "text": captions(number), **({"split": split_of(number, images)} if split else {})}
            stream.write(json.dumps(row) + "\n")
    return root


def write_shards(root: Path, images: Sequence[int] = (40, 10, 12), split: bool = True, said: str = "txt") -> Path:
    """Returns `root`, a folder of WebDataset shards of 16 samples.

    Args:
        split: whether a shard's name begins with its split.
        said: ending of the file of captions, txt or json.
    """
    root.mkdir(parents=True)
    by_split: dict[str, list[int]] = {}
    for number in range(sum(images)):
        by_split.setdefault(split_of(number, images) if split else "shard", []).append(number)
    for prefix, numbers in by_split.items():
        for first in range(0, len(numbers), 16):
            with tarfile.open(root / f"{prefix}-{first // 16:04d}.tar", "w") as archive:
                for number in numbers[first : first + 16]:
                    texts = captions(number)
                    spoken = "\n".join(texts) if said == "txt" else json.dumps({"captions": texts, "key": number})
                    for ending, raw in (("jpg", jpeg(number)), (said, spoken.encode())):
                        member = tarfile.TarInfo(f"{number:06d}.{ending}")
                        member.size = len(raw)
                        archive.addfile(member, io.BytesIO(raw))
    return root
