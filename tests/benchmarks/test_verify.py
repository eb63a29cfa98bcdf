"""verify-data: planted faults, each named; what is sound passes."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from benchmarks import roots, verify
from benchmarks.datasets import known
from benchmarks.datasets.known import ids_digest
from benchmarks.roots import remember
from tests.command import environment
from tests.trees import write_coco, write_csv, write_flickr30k, write_shards

COUNTS = (6, 2, 3)
BOMB = b"".join(
    [
        b"\x89PNG\r\n\x1a\n",
        *(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 99)))
        ),
    ]
)


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "roots.toml"
    monkeypatch.setenv(roots.VARIABLE, str(path))
    return path


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A tiny Flickr30K, of which the known splits are told that it is the published one."""
    root = write_flickr30k(tmp_path / "root", COUNTS)
    remember("flickr30k", root)
    ends = (0, 6, 8, 11)
    files = [image["filename"] for image in stated(root)["images"]]
    facts = {
        split: {"images": end - start, "captions": 5 * (end - start), "ids": ids_digest(files[start:end])}
        for split, start, end in zip(("train", "val", "test"), ends, ends[1:], strict=False)
    }
    monkeypatch.setattr(known, "known_splits", lambda: {"flickr30k": {"label": "tiny", **facts}})
    return root


def stated(root: Path) -> dict:
    return json.loads((root / "dataset_flickr30k.json").read_text())


def change(root: Path, number: int, **keys) -> None:
    whole = stated(root)
    whole["images"][number] |= keys
    (root / "dataset_flickr30k.json").write_text(json.dumps(whole))


def file(root: Path, number: int) -> Path:
    return root / "flickr30k-images" / stated(root)["images"][number]["filename"]


def faults(name: str = "flickr30k") -> list[str]:
    return verify.verify(name)["faults"]


def test_sound_data_have_no_fault(tree):
    report = verify.verify("flickr30k")
    assert report["faults"] == []
    assert report["splits"]["test"] | {"ids": ""} == {
        "images": 3, "captions": 15, "captions_per_image": {"5": 3}, "words": report["splits"]["test"]["words"], "ids": "",
        "ids_are": "tiny: test", "expected": known.expected("flickr30k", "test", False),
        **{why: {"count": 0, "first": []} for why in ("missing", "undecodable", "refused")},
    }  # fmt: skip
    assert "no fault found" in verify.text(report)
    assert json.loads(json.dumps(report)) == report


def test_a_missing_and_a_damaged_picture_are_named(tree):
    missing, cut = file(tree, 0), file(tree, 9)
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:500])
    assert faults() == [
        f"train: 1 pictures are missing: {missing.name}",
        f"test: 1 pictures are damaged, no picture, or not of 8 or 16 bits a channel: {cut.name}",
    ]


def test_many_missing_pictures_are_counted_and_the_first_listed(tmp_path):
    remember("mine", write_csv(tmp_path / "mine", (30, 2, 3)))
    for number in range(25):
        (tmp_path / "mine" / "pictures" / f"{number}.jpg").unlink()
    listed = verify.verify("mine")["splits"]["train"]["missing"]
    assert (listed["count"], listed["first"]) == (25, [f"pictures/{number}.jpg" for number in range(10)])


def test_a_bomb_is_refused(tree):
    file(tree, 10).write_bytes(BOMB)
    assert [fault.partition(":")[0] for fault in faults()] == ["test"]
    assert "1 pictures are refused" in faults()[0]


def test_names_out_of_the_root_are_refused_and_links_are_followed(tree, tmp_path):
    file(tree, 3).rename(tmp_path / "out.jpg")
    file(tree, 3).symlink_to(tmp_path / "out.jpg")
    assert faults() == []
    change(tree, 0, filename="../../out.jpg")
    found = faults()
    assert found[0] == "picture name '../../out.jpg' is refused: it must be relative to the data root and stay in it, without .."
    assert any("train: 1 pictures are refused" in fault and "../../out.jpg" in fault for fault in found)


def test_a_wrong_split_is_seen_by_its_ids(tree):
    change(tree, 0, split="test")
    change(tree, 8, split="train")
    assert faults() == [
        f"{split}: its images are neither the published ones nor those of another split that is known" for split in ("train", "test")
    ]


def test_a_split_that_is_another_known_one_is_named(tree, monkeypatch):
    splits = known.known_splits()["flickr30k"]
    turned = {"flickr30k": {**splits, "test": splits["val"] | {"images": 3, "captions": 15}, "val": splits["test"]}}
    monkeypatch.setattr(known, "known_splits", lambda: turned)
    assert "test: its images are those of tiny: val" in faults()


def test_wrong_counts_are_named(tree):
    whole = stated(tree)
    whole["images"][9]["sentences"].pop()
    del whole["images"][0]
    (tree / "dataset_flickr30k.json").write_text(json.dumps(whole))
    assert faults() == ["train: 5 images instead of 6", "train: 25 captions instead of 30", "test: 14 captions instead of 15"]


def test_a_test_picture_in_train(tmp_path, tree):
    """Under its own name a fault always; as another file of equal pixels a fault of one's own data, and a fact of published ones."""
    file(tree, 1).write_bytes(file(tree, 8).read_bytes())
    report = verify.verify("flickr30k")
    assert report["faults"] == []
    line = f"1 test pictures equal a training picture: {file(tree, 8).name} = {file(tree, 1).name}"
    assert report["notes"][0] == f"{line}; so the published split has it"

    own = write_csv(tmp_path / "mine", COUNTS)
    remember("mine", own)
    assert faults("mine") == []
    (own / "pictures" / "1.jpg").write_bytes((own / "pictures" / "8.jpg").read_bytes())
    assert faults("mine") == ["1 test pictures equal a training picture: pictures/8.jpg = pictures/1.jpg"]
    with (own / "captions.csv").open("a") as stream:
        stream.write("pictures/2.jpg,Again.,test\n")
    found = faults("mine")
    assert "1 test pictures are in train too: pictures/2.jpg" in found
    assert "picture pictures/2.jpg is in train and in test: keep it in one split" in found, "and no word of an id that nobody gave"


def test_equal_pictures_and_captions_in_the_pool_are_noted(tmp_path):
    own = write_csv(tmp_path / "mine", COUNTS)
    remember("mine", own)
    (own / "pictures" / "8.jpg").write_bytes((own / "pictures" / "10.jpg").read_bytes())
    text = (own / "captions.csv").read_text().replace("pictures/8.jpg,There is", "pictures/8.jpg,Twice. There is")
    (own / "captions.csv").write_text(text + "pictures/8.jpg,Twice.,test\npictures/9.jpg,twice.,test\n")
    report = verify.verify("mine")
    assert report["faults"] == []
    assert report["duplicates"]["pictures"] == pytest.approx(2 / 3)
    assert report["duplicates"]["groups"] == [["pictures/10.jpg", "pictures/8.jpg"]]
    assert report["duplicates"]["captions"] >= 2 / 17
    assert "66.67% of test pictures have an equal one in the pool" in " ".join(report["notes"])


def test_coco_without_restval_is_named(tmp_path, monkeypatch):
    root = write_coco(tmp_path / "root", (5, 3, 2, 2))
    remember("mscoco-5k", root)
    whole = json.loads((root / "dataset_coco.json").read_text())
    trained = [image["filename"] for image in whole["images"] if image["split"] == "train"]
    facts = {"label": "without restval", "train": {"images": 5, "ids": ids_digest(trained)}}
    monkeypatch.setattr(known, "known_splits", lambda: {**KNOWN, "mscoco-without-restval": facts})
    whole["images"] = [image for image in whole["images"] if image["split"] != "restval"]
    (root / "dataset_coco.json").write_text(json.dumps(whole))
    assert "train: its images are those of without restval: train" in faults("mscoco-5k")


KNOWN = known.known_splits()


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.run", "verify-data", *arguments]
    return subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=60)


def test_the_command_reports_and_says_by_its_code(tmp_path):
    write_shards(tmp_path / "mine", (8, 2, 3))
    done = run(tmp_path, "--dataset", "mine", "--data-root", "mine", "--json", "report.json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"remembered in {tmp_path}/roots.toml: mine lies in {tmp_path}/mine\n"
    assert "mine: no fault found" in done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["splits"]["val"]["images"] == 2

    root = write_flickr30k(tmp_path / "flickr", COUNTS)
    file(root, 2).write_bytes(BOMB)
    done = run(tmp_path, "--dataset", "flickr30k", "--data-root", str(root))
    assert done.returncode == 2
    assert "FAULT: test: 3 images instead of 1,000" in done.stdout
    assert "Warning" not in done.stderr

    for arguments, message in (
        (
            ["--dataset", "mscoco-5k"],
            "where mscoco-5k lies is not known: name its folder, which holds dataset_coco.json, once with --data-root",
        ),
        ([], "verify-data checks one data set"),
        (["--dataset", "openmoji-scenes"], "openmoji-scenes is made here"),
        (["--dataset", "mine", "--json", "none/report.json"], "cannot write none/report.json"),
    ):
        done = run(tmp_path, *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
