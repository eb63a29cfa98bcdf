from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.datasets import DATASETS, data_stage, paper_dataset
from benchmarks.datasets.captions import Facts, Mention, word_facts
from benchmarks.datasets.contact_sheet import contact_sheet
from benchmarks.datasets.duplicates import duplicates
from benchmarks.datasets.openmoji_scenes import ATTRIBUTION, SceneSettings
from benchmarks.datasets.scenes import GROUNDS, OVERLAP, Scene, Thing, compose, draw
from benchmarks.datasets.sprites import SPRITES, Name, Sprite, all_sprites, rasterise
from methods.data import Dataset

ROOT = Path(__file__).parents[2]
COUNTS = {"train": 6, "val": 3, "test": 12}
KEY = Sprite("key", "1F511", "household item", (Name("key"),))
PEAS = Sprite("peas", "1FADB", "food", (Name("peas", "many"),))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def made(folder: Path, seed: int = 0, **counts: int) -> Path:
    folder.mkdir()
    data_stage("openmoji-scenes-tiny", seed, **counts)({}, folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("data") / "first", **COUNTS)


def test_same_bytes_in_another_process(data: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from benchmarks.datasets import data_stage\n"
        f"data_stage('openmoji-scenes-tiny', **{COUNTS})({{}}, Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert digests(tmp_path) == digests(data)
    assert set(digests(data)) == {"dataset.json", "facts.json", "train.json", "val.json", "test.json", "pictures.zip"}


def test_another_seed_makes_other_scenes(data: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other", seed=1, **COUNTS)
    assert not set(digests(other).values()) & set(digests(data).values())


def test_a_scene_does_not_depend_on_how_many_there_are(data: Path, tmp_path: Path) -> None:
    more = Dataset(made(tmp_path / "more", train=8, val=5, test=14))
    for name, count in COUNTS.items():
        few, many = Dataset(data).split(name), more.split(name)
        assert few.captions == many.captions[: 5 * count]
        assert few.image_ids_N.tolist() == many.image_ids_N[:count].tolist()
        assert all(np.array_equal(one, same) for one, same in zip(few.pictures, many.pictures, strict=False))


def test_layout(data: Path) -> None:
    dataset = Dataset(data)
    assert dataset.splits == ("train", "val", "test")
    splits = [dataset.split(name) for name in dataset.splits]
    ids = np.concatenate([split.image_ids_N for split in splits])
    assert len(np.unique(ids)) == len(ids) == 21
    for split in splits:
        assert split.pictures[0].size == (128, 128)
        assert split.caption_rows_Q.tolist() == [row for row in range(COUNTS[split.name]) for _ in range(5)]
    assert len({caption for split in splits for caption in split.captions}) > 100
    assert dataset.info["attribution"] == ATTRIBUTION


def test_captions_say_what_is_true(data: Path) -> None:
    facts = json.loads((data / "facts.json").read_text())["test"]
    names = {sprite.key: {name.words for name in sprite.names} for sprite in all_sprites()}
    for query, (text, stated) in enumerate(zip(Dataset(data).split("test").captions, facts["captions"], strict=True)):
        image = facts["images"][query // 5]
        assert stated["ground"] in (None, image["ground"])
        for mention in stated["mentions"]:
            assert mention["what"] in {thing["kind" if mention["vague"] else "sprite"] for thing in image["things"]}
            said = {mention["what"]} if mention["vague"] else names[mention["what"]]
            assert any(name.casefold() in text.casefold() for name in said), (text, mention)


def test_names_belong_to_one_sprite() -> None:
    sprites = all_sprites()
    assert SceneSettings().sprites == len(sprites) == 200
    with pytest.raises(ValueError, match="sprites"):
        SceneSettings(sprites=len(sprites) + 1)
    for what, count in Counter(name.words for sprite in sprites for name in sprite.names).items():
        assert count == 1 and what not in SPRITES, what
    assert len({sprite.code for sprite in sprites}) == len({sprite.key for sprite in sprites}) == len(sprites)


def test_things_are_inside_and_hardly_covered() -> None:
    sprites = all_sprites()
    shapes = {sprite.key: (1.0, 0.8) for sprite in sprites}
    covered = []
    for seed in range(200):
        scene = compose(np.random.default_rng(seed), sprites, shapes)
        assert len({thing.sprite for thing in scene.things}) == len(scene.things)
        low = np.array([(thing.x - thing.side / 2, thing.y - thing.side * 0.4) for thing in scene.things])
        high = low + [(thing.side, thing.side * 0.8) for thing in scene.things]
        assert (low > 0).all() and (high < 1).all()
        for one in range(len(low)):
            for other in range(one):
                shared = np.clip(np.minimum(high[one], high[other]) - np.maximum(low[one], low[other]), 0, None).prod()
                covered.append(shared / min((high[row] - low[row]).prod() for row in (one, other)))
    assert np.mean(np.array(covered) > 2 * OVERLAP) < 0.05


def test_picture_shows_the_thing_where_it_is() -> None:
    ground = (10, 200, 30)
    scene = Scene((Thing(KEY, 0.75, 0.25, 0.4),), "green", ground, ground)
    different = (np.asarray(draw(scene, {"key": rasterise(KEY, 60)}, 100)) != ground).any(axis=2)
    rows, columns = np.flatnonzero(different.any(axis=1)), np.flatnonzero(different.any(axis=0))
    assert rows.min() >= 4 and rows.max() <= 45 and columns.min() >= 54 and columns.max() <= 95
    assert max(np.ptp(rows), np.ptp(columns)) >= 37


def test_place_and_size_words() -> None:
    assert Thing(KEY, 0.5, 0.5, 0.4).place == "middle" and Thing(KEY, 0.4, 0.5, 0.4).place is None
    assert Thing(KEY, 0.2, 0.3, 0.4).place == "left" and Thing(KEY, 0.6, 0.9, 0.4).place == "bottom"
    assert [Thing(KEY, 0.5, 0.5, side).size for side in (0.3, 0.4, 0.6)] == ["small", None, "big"]


AXE = Sprite("axe", "1FA93", "tool", (Name("axe"),))
UNICORN = Sprite("u", "1F984", "animal", (Name("unicorn"),))


@pytest.mark.parametrize("sprite", [KEY, PEAS, AXE, UNICORN])
def test_grammar(sprite: Sprite) -> None:
    thing = Thing(sprite, 0.5, 0.5, 0.4)
    said = {
        word_facts(Facts((Mention(sprite.key, False, None),), ground, None, None), (thing,), np.random.default_rng(seed))
        for seed in range(60)
        for ground in (None, "orange", "blue")
    }
    assert len(said) > 40
    assert all(text[0].isupper() and text.endswith(".") and "  " not in text and "{" not in text for text in said)
    words = [f" {text.casefold()}" for text in said]
    wrong = {"axe": (" a axe",), "u": (" an unicorn",), "key": (" an key",), "peas": (" a peas", " is peas", " is some peas")}[sprite.key]
    assert not [text for text in words for form in (*wrong, " a orange", " an blue") if form in text]
    assert any(" an orange" in text for text in words)


def test_duplicates_by_hand() -> None:
    captions = ["A cat.", "a cat.", "A dog.", "A dog.", "An owl."]
    assert duplicates(captions, [1, 2, 3, 3, 3]) == {"captions": 2 / 5, "images": 2 / 3}


def test_shares_of_the_default_data(tmp_path: Path) -> None:
    info = Dataset(made(tmp_path / "many", train=1, val=1, test=300)).info
    assert info["duplicates"]["captions"] < 0.02 and info["duplicates"]["pictures"] == 0
    facts = json.loads((tmp_path / "many" / "facts.json").read_text())["test"]
    assert {image["ground"] for image in facts["images"]} == set(GROUNDS)
    assert 0.5 < np.mean([caption["ground"] is not None for caption in facts["captions"]]) < 0.7


def test_contact_sheet(data: Path, tmp_path: Path) -> None:
    path = contact_sheet(data, "test", tmp_path / "new" / "sheet.png", rows=2, columns=3, seed=1)
    with Image.open(path) as sheet:
        assert sheet.width > 3 * 128 and sheet.height > 2 * 128
        first = np.asarray(sheet)
    again = contact_sheet(data, "test", tmp_path / "again.png", rows=2, columns=3, seed=1)
    other = contact_sheet(data, "test", tmp_path / "other.png", rows=2, columns=3, seed=2)
    assert path.read_bytes() == again.read_bytes() != other.read_bytes() and first.std() > 0
    with pytest.raises(ValueError, match="no split 'tset'"):
        contact_sheet(data, "tset", tmp_path / "x.png")


def test_registry() -> None:
    for name in DATASETS:
        config = data_stage(name, 3).config
        assert SceneSettings(**config).model_dump() == config
    assert data_stage("openmoji-scenes").key != data_stage("openmoji-scenes", 1).key
    assert data_stage("openmoji-scenes", test=5_000).config["test"] == 5_000
    assert paper_dataset("openmoji-scenes-5k") == "mscoco-5k" and paper_dataset("openmoji-scenes") == "flickr30k"
    with pytest.raises(ValueError, match="did you mean openmoji-scenes-30k"):
        data_stage("openmoji-scene-30k")
    with pytest.raises(ValueError, match="tset"):
        data_stage("openmoji-scenes", tset=5)
    with pytest.raises(ValueError, match="test = 0"):
        data_stage("openmoji-scenes", test=0)


def test_listing_is_light() -> None:
    script = "import sys, benchmarks.datasets as d; d.data_stage(d.dataset_names()[0]).key; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
    assert not {"torch", "PIL", "resvg_py", "emoji", "tqdm"} & set(loaded)
