"""Data sets of one's own: a folder with CSV or JSON Lines, and WebDataset shards."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest

from benchmarks.datasets import folder, shards
from benchmarks.datasets.annotations import hashed_split
from methods.pictures import Pictures
from tests.trees import captions, jpeg, write_csv, write_jsonl, write_shards

WRITERS = {
    "csv": (write_csv, folder, {}),
    "jsonl": (write_jsonl, folder, {}),
    "txt": (write_shards, shards, {}),
    "json": (write_shards, shards, {"said": "json"}),
}


def read(module, root):
    return module.read(root, module.annotation_files(root))


@pytest.mark.parametrize("form", WRITERS)
def test_every_form_says_the_same(tmp_path, form):
    write, module, extra = WRITERS[form]
    found = read(module, write(tmp_path / "own", (20, 3, 4), **extra))
    assert {split: len(entries) for split, entries in found.splits.items()} == {"train": 20, "val": 3, "test": 4}
    found.check()
    by_number = {int(entry.file.rpartition("/")[2].partition(".")[0]): entry for entries in found.splits.values() for entry in entries}
    assert [list(by_number[number].captions) for number in range(27)] == [captions(number) for number in range(27)]
    assert len({entry.image_id for entry in by_number.values()}) == 27
    raw = Pictures(found.pictures, [by_number[25].file])._read(by_number[25].file)
    assert raw == jpeg(25), "and the name leads to that picture's very bytes"


@pytest.mark.parametrize("form", WRITERS)
def test_without_a_split_the_names_hash_decides(tmp_path, form):
    write, module, extra = WRITERS[form]
    found = read(module, write(tmp_path / "own", (60, 20, 20), split=False, **extra))
    for split, entries in found.splits.items():
        assert entries
        assert {hashed_split(entry.file) for entry in entries} == {split}


def test_hashed_split_by_hand():
    assert hashed_split("a.jpg") == "train", "0x509b0d46 = 1352338758"
    names = [hashed_split(f"{number}.jpg") for number in range(5000)]
    assert names.count("val") == pytest.approx(500, abs=70) and names.count("test") == pytest.approx(500, abs=70)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "image,caption,split\na.jpg,x,eval\n", "a.csv, line 2: unknown split 'eval'; valid are train, val, test"),
        ("a.csv", "image,caption,split\na.jpg,x,train\nb.jpg,y,\n", r"and others do not \(a.jpg does, b.jpg does not\): say it"),
        ("a.csv", "image,caption\na.jpg,a cat, and a dog\n", "line 2 has more columns than the header: put captions with commas in quotes"),
        (
            "a.csv",
            "picture,caption\na.jpg,x\n",
            "a.csv: its header is 'picture,caption': name columns image and caption, separated by commas",
        ),
        (
            "a.csv",
            "image;caption;split\na.jpg;x;train\n",
            "a.csv: its header is 'image;caption;split': name columns image and caption, sep",
        ),
        ("a.csv", "", "a.csv: its header is '': name columns image and caption"),
        ("a.csv", "image,caption\n,x\n", "line 2 has no image or file_name; a header or keys name image, file_name, caption"),
        ("a.csv", "image,caption\na.jpg,\n", "line 2 has no caption or text"),
        ("a.csv", "image,caption\na.jpg,  \n", "line 2: a picture's name is one text"),
        ("a.jsonl", '{"image": "a.jpg", "caption": "x"}\n{"image": \n', "line 2 is no JSON"),
        ("a.jsonl", '["a.jpg", "x"]\n', "line 1 is no JSON object"),
        (
            "a.jsonl",
            '{"image": "a.jpg", "caption": ["x", ""]}\n',
            "line 1: a picture's name is one text, and its captions are texts that are",
        ),
        ("a.jsonl", '{"image": "a.jpg", "caption": ["x", null]}\n', "line 1: a picture's name is one text, and its captions are texts"),
    ],
)
def test_a_bad_line_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read(folder, tmp_path)


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"image,caption\na.jpg,\xff\xfe\n")
    with pytest.raises(ValueError, match=r"a.csv cannot be read: .*utf-8.*: save it as UTF-8$"):
        read(folder, tmp_path)
    (tmp_path / "a.csv").rename(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match=r"a.jsonl cannot be read: .*utf-8.*: save it as UTF-8$"):
        read(folder, tmp_path)


def shard(path, **members: bytes):
    with tarfile.open(path, "w") as archive:
        for name, raw in members.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_", "."))
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))


def test_a_sample_is_what_shares_its_name_up_to_the_first_dot(tmp_path):
    shard(
        tmp_path / "test.tar",
        a__x_seg_png=b"s",
        a__x_jpg=jpeg(1),
        a__x_json=b'{"caption": "one"}',
        b__x_png=jpeg(2),
        b__x_txt=b"two\n\nthree",
    )
    found = read(shards, tmp_path).splits["test"]
    assert [(entry.file, entry.captions) for entry in found] == [("test.tar/a/x.jpg", ("one",)), ("test.tar/b/x.png", ("two", "three"))]


def test_capitals_in_a_header_and_in_splits_mean_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("Image, Caption,SPLIT\na.jpg,A Cat,Train\nb.jpg,y,Validation\nc.jpg,z,TEST\n")
    found = read(folder, tmp_path).splits
    assert [(entry.file, entry.captions) for entry in found["train"]] == [("a.jpg", ("A Cat",))]
    assert [entry.file for split in ("val", "test") for entry in found[split]] == ["b.jpg", "c.jpg"]


def test_captions_of_a_json_line_are_called_as_in_a_shard(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"image": "a.jpg", "captions": ["x", "y"], "split": "train"}\n')
    assert read(folder, tmp_path).splits["train"][0].captions == ("x", "y")


def test_a_split_that_nobody_names_and_that_is_empty_is_told_how_to_be_named(tmp_path):
    (tmp_path / "a.csv").write_text("image,caption\na.jpg,x\n")  # in train, by its name
    with pytest.raises(ValueError, match=r"the split 'val': a data set needs train, val, test; nobody says .* with a `split` column"):
        read(folder, tmp_path).check()
    (tmp_path / "a.csv").write_text("image,caption,split\na.jpg,x,train\n")
    with pytest.raises(ValueError, match=r"the split 'val': a data set needs train, val, test$"):
        read(folder, tmp_path).check()


def test_a_test_split_alone_is_data_to_measure_on_where_somebody_says_that_it_is_one(tmp_path):
    (tmp_path / "a.csv").write_text("image,caption,split\na.jpg,x,test\n")
    found = read(folder, tmp_path)
    found.check(complete=False)
    assert found.held == ("test",)
    with pytest.raises(ValueError, match="no picture in the split 'train'"):
        found.check()
    for rows in ("image,caption,split\na.jpg,x,test\nb.jpg,y,val\n", "image,caption\n15.jpg,x\n"):  # the second in test by its hash
        (tmp_path / "a.csv").write_text(rows)
        with pytest.raises(ValueError, match="the split 'train': a data set needs train, val, test, or test alone"):
            read(folder, tmp_path).check(complete=False)


@pytest.mark.parametrize("called", ["val", "validation", "valid", "dev"])
def test_what_others_call_val_is_val(tmp_path, called):
    (tmp_path / "a.csv").write_text(f"image,caption,split\na.jpg,x,{called}\nb.jpg,y,train\n")
    assert [entry.file for entry in read(folder, tmp_path).splits["val"]] == ["a.jpg"]
    shard(tmp_path / f"{called}-0000.tar", a_jpg=jpeg(1), a_txt=b"x")
    shard(tmp_path / "train-0000.tar", b_jpg=jpeg(2), b_txt=b"y")
    found = read(shards, tmp_path).splits
    assert [entry.file for entry in found["val"]] == [f"{called}-0000.tar/a.jpg"]
    assert [entry.file for entry in found["train"]] == ["train-0000.tar/b.jpg"]


def test_a_member_that_would_hide_another_is_named(tmp_path):
    with tarfile.open(tmp_path / "train-0.tar", "w") as archive:
        for raw in (b"one", b"two"):
            member = tarfile.TarInfo("a.txt")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    for look in (shards.digest, lambda path: read(shards, tmp_path)):
        with pytest.raises(ValueError, match=r"train-0.tar: member a.txt comes twice: give each sample a name of its own") as error:
            look(tmp_path / "train-0.tar")
        assert "no uncompressed tar file" not in str(error.value)


def test_shards_of_which_some_say_no_split_are_named(tmp_path):
    for name in ("train-0", "valuable-0"):
        shard(tmp_path / f"{name}.tar", a_jpg=jpeg(1), a_txt=b"x")
    with pytest.raises(ValueError, match=r"do not \(train-0.tar/a.jpg does, valuable-0.tar/a.jpg does not\): say it for all"):
        read(shards, tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a_txt": b"x"}, "sample a: 0 pictures"),
        ({"a_jpg": b"x", "a_png": b"x", "a_txt": b"x"}, "sample a: 2 pictures"),
        ({"a_jpg": b"x"}, "sample a has no caption"),
        ({"a_jpg": b"x", "a_txt": b" \n"}, "sample a has no caption"),
        ({"a_jpg": b"x", "a_json": b"[1]"}, "sample a has no caption"),
        ({"a_jpg": b"x", "a_txt": b"\xe9"}, "sample a: its captions cannot be read: .*: save them as UTF-8$"),
        ({"a_jpg": b"x", "a_json": b"{"}, "sample a: its captions cannot be read"),
        ({"a_jpg": b"x", "a_json": b'{"captions": ["a", null]}'}, "sample a: its captions are texts that are not empty"),
    ],
)
def test_a_bad_sample_is_named(tmp_path, members, message):
    shard(tmp_path / "train-0.tar", **members)
    with pytest.raises(ValueError, match=rf"train-0\.tar, {message}"):
        read(shards, tmp_path)


def test_a_compressed_shard_is_refused(tmp_path):
    shard(tmp_path / "plain.tar", a_jpg=b"x", a_txt=b"x")
    (tmp_path / "train.tar").write_bytes(gzip.compress((tmp_path / "plain.tar").read_bytes()))
    (tmp_path / "plain.tar").unlink()
    with pytest.raises(ValueError, match=r"train.tar is no uncompressed tar file"):
        read(shards, tmp_path)


@pytest.mark.parametrize(
    "damaged",
    [
        gzip.compress,
        lambda raw: raw[:700],
        lambda raw: raw[:1024],  # between two members
        lambda raw: raw[:1024] + b"x" * 512 + raw[1536:],
        lambda raw: b"",
    ],
)
def test_a_damaged_shard_is_named_when_it_is_hashed_too(tmp_path, damaged):
    shard(path := tmp_path / "train.tar", a_jpg=b"x", a_txt=b"x")
    path.write_bytes(damaged(path.read_bytes()))
    for look in (shards.digest, lambda path: read(shards, tmp_path)):
        with pytest.raises(ValueError, match=r"train.tar is no uncompressed tar file, or not a whole one \(.*copy a damaged"):
            look(path)


def test_what_a_shard_says_is_hashed_and_its_pixels_are_not(tmp_path):
    members = {"a_jpg": jpeg(1), "a_txt": b"x"}
    shard(tmp_path / "1.tar", **members)
    shard(tmp_path / "2.tar", **{**members, "a_txt": b"y"})
    shard(tmp_path / "3.tar", **{**members, "a_jpg": jpeg(1)[:-1] + b"x"})
    digests = [shards.digest(tmp_path / f"{number}.tar") for number in (1, 2, 3)]
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]
    assert json.dumps(digests)
