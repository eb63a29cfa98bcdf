"""Flickr30K and MS-COCO as Karpathy and Entities published them."""

from __future__ import annotations

import json
import zipfile

import pytest

from benchmarks.datasets import entities, karpathy
from benchmarks.datasets.entities import spoken
from tests.trees import captions, flickr_number, write_coco, write_entities, write_flickr30k


def read(root):
    return karpathy.read(root, karpathy.annotation_files(root))


def counts(annotations) -> dict[str, int]:
    return {split: len(entries) for split, entries in annotations.splits.items()}


@pytest.mark.parametrize("folder", ["flickr30k-images", "flickr30k_images", "images", "Images"])
def test_flickr30k(tmp_path, folder):
    found = read(write_flickr30k(tmp_path, (4, 2, 3), folder))
    assert counts(found) == {"train": 4, "val": 2, "test": 3}
    assert found.pictures == tmp_path / folder
    first = found.splits["test"][0]
    assert (first.file, first.image_id, list(first.captions)) == (f"{flickr_number(6)}.jpg", 6, captions(6))
    found.check()


def test_a_zip_of_captions_that_is_cut_is_named(tmp_path):
    root = write_entities(tmp_path, (4, 2, 3), "sentences")
    (root / "Sentences").rename(root / "aside")
    (root / "annotations.zip").write_bytes(b"PK cut")
    with pytest.raises(ValueError, match=r"annotations.zip is no whole zip file \(.*\): copy it again"):
        entities.read(root, entities.annotation_files(root))


def test_an_empty_caption_is_named(tmp_path):
    path = write_flickr30k(tmp_path, (4, 2, 3)) / "dataset_flickr30k.json"
    stated = json.loads(path.read_text())
    stated["images"][5]["sentences"][2]["raw"] = " \n"
    path.write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=rf"picture {flickr_number(5)}.jpg in val has an empty caption: take it out"):
        read(tmp_path).check()


def test_pictures_beside_the_json_and_behind_a_link_are_found(tmp_path):
    write_flickr30k(tmp_path / "a", folder=".")
    assert read(tmp_path / "a").pictures == tmp_path / "a"
    write_flickr30k(tmp_path / "b", folder="real")
    (tmp_path / "b" / "images").symlink_to(tmp_path / "b" / "real")
    assert read(tmp_path / "b").pictures == tmp_path / "b" / "real"


def test_coco_joins_restval_into_train_and_goes_by_cocoid(tmp_path):
    found = read(write_coco(tmp_path, (3, 4, 2, 5), six=2))
    assert counts(found) == {"train": 7, "val": 2, "test": 5}
    assert [entry.file.split("/")[0] for entry in found.splits["train"]] == ["train2014"] * 3 + ["val2014"] * 4
    assert [entry.image_id for entry in found.splits["train"]] == [9 + 37 * number for number in range(7)]
    assert [len(entry.captions) for entry in found.splits["test"]] == [6, 6, 5, 5, 5]
    assert [len(entry.captions) for entry in found.cut(5).splits["test"]] == [5] * 5
    assert not any(caption != caption.strip() for entry in found.splits["val"] for caption in entry.captions)
    found.check()


def test_coco_pictures_may_lie_in_images(tmp_path):
    write_coco(tmp_path, (3, 1, 2, 2))
    (tmp_path / "images").mkdir()
    for folder in ("train2014", "val2014"):
        (tmp_path / folder).rename(tmp_path / "images" / folder)
    assert read(tmp_path).pictures == tmp_path / "images"


def test_without_ids_pictures_are_counted(tmp_path):
    write_flickr30k(tmp_path, (2, 1, 1))
    path = tmp_path / "dataset_flickr30k.json"
    stated = json.loads(path.read_text())
    del stated["images"][2]["imgid"]
    path.write_text(json.dumps(stated))
    found = read(tmp_path)
    assert [entry.image_id for split in found.splits.values() for entry in split] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images[1].pop("split"), r"images\.1\.split: Field required"),
        (lambda images: images[1].update(split="dev"), r"images\.1\.split: .*'train', 'restval', 'val' or 'test'"),
        (lambda images: images[0]["sentences"][2].pop("raw"), r"images\.0\.sentences\.2\.raw: Field required"),
        (lambda images: [image.update(filename=f"x{image['imgid']}.jpg") for image in images], "no picture that .*x0.jpg and others in"),
    ],
)
def test_what_is_wrong_with_a_json_is_said_in_one_line(tmp_path, change, message):
    write_flickr30k(tmp_path, (2, 1, 1))
    path = tmp_path / "dataset_flickr30k.json"
    stated = json.loads(path.read_text())
    change(stated["images"])
    path.write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_a_json_cut_short_is_named(tmp_path):
    path = write_flickr30k(tmp_path, (2, 1, 1)) / "dataset_flickr30k.json"
    path.write_text(path.read_text()[:500])
    with pytest.raises(ValueError, match=r"dataset_flickr30k.json is not in Karpathy's form: the whole file: Invalid JSON"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: [image.update(split="train") for image in images], "no picture in the split 'val'"),
        (lambda images: images[3].update(filename=images[0]["filename"]), r"picture \d+.jpg is in train and in test: keep it in one split"),
        (lambda images: images[1].update(filename=images[0]["filename"]), r"picture \d+.jpg is listed twice in train: list it once"),
        (lambda images: images[3].update(imgid=0), r"image id 0 comes twice: \d+.jpg in train, \d+.jpg in test"),
        (lambda images: images[2].update(imgid=2**31), "is not between 0 and 2147483647"),
        (lambda images: images[2].update(sentences=[]), "in val has no caption"),
        (lambda images: images[2].update(filename="../x.jpg"), r"'../x.jpg' is refused"),
        (lambda images: images[2].update(filepath="/etc"), r"'/etc/\d+.jpg' is refused"),
    ],
)
def test_data_on_which_nothing_can_be_measured(tmp_path, change, message):
    write_flickr30k(tmp_path, (2, 1, 1))
    path = tmp_path / "dataset_flickr30k.json"
    stated = json.loads(path.read_text())
    change(stated["images"])
    path.write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=message):
        read(tmp_path).check()


@pytest.mark.parametrize("source", ["token", "sentences", "zip"])
def test_entities(tmp_path, source):
    write_entities(tmp_path, (4, 2, 3), "token" if source == "token" else "sentences")
    if source == "zip":
        with zipfile.ZipFile(tmp_path / "annotations.zip", "w") as archive:
            for path in (tmp_path / "Sentences").iterdir():
                archive.write(path, f"annotations/Sentences/{path.name}")
                path.unlink()
        (tmp_path / "Sentences").rmdir()
    files = entities.annotation_files(tmp_path)
    assert files[-1].name == {"token": "results_20130124.token", "sentences": "Sentences", "zip": "annotations.zip"}[source]
    found = entities.read(tmp_path, files)
    assert counts(found) == {"train": 4, "val": 2, "test": 3}
    first = found.splits["test"][0]
    assert first.file == f"{flickr_number(6)}.jpg"
    assert list(first.captions) == [text.replace(".", " .").replace(",", " ,") for text in captions(6)]
    order = sorted(flickr_number(number) for number in range(9))
    assert first.image_id == order.index(flickr_number(6)), "numbers pass 31 bits, places do not"
    found.check()


def test_marks_of_phrases_are_taken_off():
    line = "[/EN#1/people Two young guys] with [/EN#2/bodyparts shaggy hair] look at [/EN#0/notvisual it] in [/EN#3/scene/other the yard] ."
    assert spoken(line) == "Two young guys with shaggy hair look at it in the yard ."


def test_entities_that_are_not_whole(tmp_path):
    write_entities(tmp_path, (2, 1, 1))
    token = tmp_path / "results_20130124.token"
    lines = token.read_text().splitlines()
    token.write_text("\n".join(lines[:-5]))
    with pytest.raises(ValueError, match="has no captions for 1 of 4 pictures"):
        entities.read(tmp_path, entities.annotation_files(tmp_path))
    token.write_text("\n".join([*lines, "no caption"]))
    with pytest.raises(ValueError, match="line 21: 'no caption' is not NUMBER"):
        entities.read(tmp_path, entities.annotation_files(tmp_path))
    token.unlink()
    with pytest.raises(ValueError, match=r"holds no captions: put results_20130124.token"):
        entities.annotation_files(tmp_path)
    (tmp_path / "val.txt").write_text("12\nx.jpg\n")
    token.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"val.txt, line 2: 'x.jpg' is no picture's number"):
        entities.read(tmp_path, entities.annotation_files(tmp_path))
    (tmp_path / "val.txt").unlink()
    with pytest.raises(ValueError, match=r"val.txt is missing: copy train.txt"):
        entities.annotation_files(tmp_path)
