"""From a data root to the suite's layout: names, roots that are remembered, the stage and its key."""

from __future__ import annotations

import json
import os

import pytest

from benchmarks import roots
from benchmarks.datasets import data_stage, dataset_names, is_papers, known, paper_dataset
from benchmarks.datasets.contact_sheet import contact_sheet
from benchmarks.datasets.known import ids_digest, published_id, whose
from benchmarks.roots import named, remember, root_of
from benchmarks.stages import StageFailed, Store
from benchmarks.user_error import UserError
from benchmarks.verify import verify
from methods.data import Dataset
from tests.trees import captions, write_coco, write_csv, write_entities, write_flickr30k, write_shards


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    path = tmp_path / "config" / "roots.toml"
    monkeypatch.setenv(roots.VARIABLE, str(path))
    return path


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


TREES = {
    "flickr30k": lambda root: write_flickr30k(root, (4, 2, 3)),
    "flickr30k-entities": lambda root: write_entities(root, (4, 2, 3)),
    "mscoco-5k": lambda root: write_coco(root, (3, 1, 2, 3)),
    "mine": lambda root: write_csv(root, (4, 2, 3)),
    "shards": lambda root: write_shards(root, (4, 2, 3)),
    "flickr8k": lambda root: write_flickr30k(root, (4, 2, 3)),
}


@pytest.mark.parametrize("name", TREES)
def test_a_root_becomes_the_suites_layout(tmp_path, store, name):
    remember(name, TREES[name](tmp_path / "root"))
    stage = data_stage(name)
    folder = store.run(stage)
    data = Dataset(folder)
    assert data.splits == ("train", "val", "test")
    assert data.info["name"] == name
    test = data.split("test")
    assert [picture.size for picture in test.pictures] == [(96, 96)] * 3
    assert len(test.captions) == (17 if name == "mscoco-5k" else 15)
    assert test.caption_rows_Q.tolist() == sorted(test.caption_rows_Q.tolist())
    if name != "flickr30k-entities":
        assert list(test.captions[:5]) == captions(6)
    ids = [image for split in data.splits for image in data.split(split).image_ids_N.tolist()]
    assert len(set(ids)) == 9
    facts = store.report(stage)["report"]["test"]
    assert (facts["images"], facts["captions"]) == (3, len(test.captions))
    assert set(facts["duplicates"]) == {"captions", "images", "pictures"} and facts["duplicates"]["pictures"] is None
    assert facts.get("as_published") is (False if name in ("flickr30k", "flickr30k-entities", "mscoco-5k") else None)
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "stage.json", "test.json", "train.json", "val.json"]
    assert contact_sheet(folder, "test", tmp_path / "sheet.png").stat().st_size > 1000


def test_five_captions_are_a_data_set_of_their_own(tmp_path, store):
    remember("mscoco-5k", write_coco(tmp_path / "root", (3, 1, 2, 3)))
    assert named(["mscoco-5k"], None, True) == ("mscoco-5k-five-captions",)
    whole, cut = data_stage("mscoco-5k"), data_stage("mscoco-5k-five-captions")
    assert whole.key != cut.key
    assert [len(Dataset(store.run(stage)).split("test").captions) for stage in (whole, cut)] == [17, 15]
    assert (paper_dataset("mscoco-5k-five-captions"), is_papers("mscoco-5k-five-captions")) == ("mscoco-5k", True)
    with pytest.raises(UserError, match="--five-captions cuts the captions of data sets on disk"):
        named(["openmoji-scenes"], None, True)


def test_the_key_is_what_the_annotations_say_where_they_lie(tmp_path):
    first = write_flickr30k(tmp_path / "first", (4, 2, 3))
    remember("flickr30k", first)
    key = data_stage("flickr30k").key
    path = first / "dataset_flickr30k.json"
    os.utime(path, (1, 1))
    assert data_stage("flickr30k").key == key, "a copy's time means nothing"
    text = path.read_text()
    path.write_text(text.replace("ground.", "ground!", 1))
    assert data_stage("flickr30k").key != key
    path.write_text(text)
    assert data_stage("flickr30k").key == key
    (first / "images").mkdir()
    assert data_stage("flickr30k").key != key, "another folder may hold the pictures now"
    (first / "images").rmdir()
    (tmp_path / "link").symlink_to(first)
    remember("flickr30k", tmp_path / "link")
    assert data_stage("flickr30k").key == key, "the root is resolved"
    remember("flickr30k", write_flickr30k(tmp_path / "second", (4, 2, 3)))
    assert data_stage("flickr30k").key != key


def test_annotations_that_change_after_planning_are_not_listed_under_the_old_key(tmp_path, store):
    root = write_flickr30k(tmp_path / "root", (4, 2, 3))
    remember("flickr30k", root)
    stage = data_stage("flickr30k")
    path = root / "dataset_flickr30k.json"
    path.write_text(path.read_text().replace("ground.", "ground!", 1))
    with pytest.raises(StageFailed, match="its annotations changed since the work was planned") as failed:
        store.run(stage)
    assert failed.value.of_data


def test_unfit_data_end_in_one_line(tmp_path, store):
    root = write_flickr30k(tmp_path / "root", (4, 2, 3))
    remember("flickr30k", root)
    path = root / "dataset_flickr30k.json"
    stated = json.loads(path.read_text())
    stated["images"][7]["filename"] = "../../secret.jpg"
    path.write_text(json.dumps(stated))
    with pytest.raises(StageFailed) as failed:
        store.run(data_stage("flickr30k"))
    assert failed.value.of_data
    assert failed.value.cause.startswith(f"flickr30k in {root}: picture name '../../secret.jpg' is refused")
    assert "\n" not in failed.value.cause


@pytest.mark.parametrize("name", ["mine", "shards"])
def test_missing_pictures_are_counted_before_any_work(tmp_path, store, name):
    """Of shards those that are listed beside them: what a shard holds is there."""
    root = TREES[name](tmp_path / "root")
    if name == "mine":
        for number in (3, 7):
            (root / "pictures" / f"{number}.jpg").unlink()
    else:
        lines = [f"{split}-0000.tar/{number:06d}.jpg,x,{split}\n" for split, number in (("train", 0), ("val", 4), ("test", 0), ("test", 6))]
        (root / "index").mkdir()
        for shard in root.glob("*.tar"):
            shard.rename(root / "index" / shard.name)
        (root / "captions.csv").write_text("image,caption,split\nindex/" + "index/".join([*lines, "gone.tar/0.jpg,x,test\n"]))
    remember("mine", root)
    with pytest.raises(StageFailed) as failed:
        store.run(data_stage("mine"))
    first, count = ("pictures/3.jpg", 9) if name == "mine" else ("index/test-0000.tar/000000.jpg", 5)
    assert failed.value.of_data
    assert failed.value.cause == (
        f"mine in {root}: 2 of {count} pictures are missing, the first is {first}: put them into {root}, or take them out of the "
        "annotations; `verify-data --dataset mine` lists all such"
    )
    assert sum(split["missing"]["count"] for split in verify("mine")["splits"].values()) == 2


def test_roots_are_remembered_by_name(tmp_path, config):
    assert root_of("flickr30k") is None
    root = write_flickr30k(tmp_path / 'a "quoted" ünïcode')
    assert remember("flickr30k", root) == f"remembered in {config}: flickr30k lies in {root}"
    assert remember("flickr30k", root) is None
    assert remember("mine", write_csv(tmp_path / "mine")) is not None
    assert (root_of("flickr30k"), root_of("flickr30k-five-captions"), root_of("other")) == (root, root, None)
    assert dataset_names()[-1] == "mine"
    assert "flickr30k-entities" in dataset_names()


@pytest.mark.parametrize("text", ["[roots", "roots = 3", "[roots]\nflickr30k = 3", "\0"])
def test_a_damaged_file_of_roots_is_named(config, text):
    config.parent.mkdir()
    config.write_text(text)
    with pytest.raises(UserError, match=r"roots.toml cannot be read .*: put it right, or delete it"):
        root_of("flickr30k")


def test_a_file_of_roots_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(roots.VARIABLE, str(tmp_path / "file" / "roots.toml"))
    with pytest.raises(UserError, match="VOKENBENCH_CONFIG"):
        remember("mine", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flikr30k", "unknown data set 'flikr30k': did you mean flickr30k"),
        ("mscoco5k", "did you mean mscoco-5k"),
        ("openmoji-scenes", "openmoji-scenes is made here and has no root"),
        ("openmoji-scenes-mine", "is made here"),
        ("My Data", "a name is of small letters"),
        ("a+b", "a name is of small letters"),
        ("../x", "a name is of small letters"),
    ],
)
def test_names_that_data_of_ones_own_cannot_have(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        remember(name, tmp_path)


def test_one_root_is_for_one_data_set(tmp_path):
    for datasets, count in ((["flickr30k", "mscoco-5k"], 2), (["openmoji-scenes"], 0)):
        with pytest.raises(UserError, match=f"here are {count} that lie on disk"):
            named(datasets, tmp_path, False)
    write_flickr30k(tmp_path / "root")
    assert named(["flickr30k", "openmoji-scenes"], tmp_path / "root", False) == ("flickr30k", "openmoji-scenes")
    for root, message in ((tmp_path / "none", "is no folder"), (tmp_path, "does not hold flickr30k")):
        with pytest.raises(ValueError, match=message):
            named(["flickr30k"], root, False)
        assert root_of("flickr30k") == tmp_path / "root", "what is wrong is not remembered"


@pytest.mark.parametrize(
    ("name", "held", "message"),
    [
        (
            "flickr30k",
            None,
            "where flickr30k lies is not known: name its folder, which holds dataset_flickr30k.json, once with --data-root",
        ),
        ("mine", None, "unknown data set 'mine': .*for data of your own name their folder with --data-root"),
        ("flickr30k", [], "does not hold flickr30k: dataset_flickr30k.json is missing"),
        ("flickr30k-entities", [], "train.txt is missing: copy"),
        ("mine", [], r"holds no data set: it needs one dataset_\*.json in Karpathy's form, or one .csv"),
        ("mine", ["a.csv", "b.jsonl"], "holds several data sets, a.csv and b.jsonl among them"),
        ("mine", ["dataset_x.json", "b.tar"], "holds several data sets, dataset_x.json and b.tar among them"),
    ],
)
def test_a_root_that_does_not_hold_the_data_is_named(tmp_path, name, held, message):
    if held is not None:
        (tmp_path / "root").mkdir()
        for file in held:
            (tmp_path / "root" / file).touch()
        remember(name, tmp_path / "root")
    with pytest.raises(ValueError, match=message) as error:
        data_stage(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("put", ["link", "folder", "shard"])
def test_files_that_cannot_be_read_are_named_and_their_root_is_not_remembered(tmp_path, put):
    (root := tmp_path / "root").mkdir()
    if put == "link":
        (root / "captions.csv").symlink_to(tmp_path / "nowhere")
    elif put == "folder":
        (root / "captions.csv").mkdir()
    else:
        (root / "train.tar").write_bytes(b"cut")
    message = r"train.tar is no uncompressed tar" if put == "shard" else r"captions.csv cannot be read \(.*: put a readable file there, or"
    with pytest.raises(UserError, match=message):
        named(["mine"], root, False)
    assert root_of("mine") is None
    remember("mine", root)
    for look in (data_stage, verify):
        with pytest.raises(ValueError, match=message):
            look("mine")


def test_a_root_that_is_gone_is_named(tmp_path):
    remember("mine", write_csv(tmp_path / "mine"))
    (tmp_path / "mine").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="the root of mine is gone"):
        data_stage("mine")


def test_which_data_are_the_papers():
    names = ["flickr30k", "flickr30k-entities", "mscoco-5k", "openmoji-scenes-5k", "openmoji-scenes", "mine"]
    assert [paper_dataset(name) for name in names] == ["flickr30k", "flickr30k", "mscoco-5k", "mscoco-5k", "flickr30k", "flickr30k"]
    assert [is_papers(name) for name in names] == [True, True, True, False, False, False]


def test_ids_are_hashed_as_the_file_says():
    # printf '9\n10\n' | sha256sum
    digest = "73cd9f2d934f36e2168a5e054bd6cb7fc1ac42ba8e3f663178dbf8eef5ca0243"
    assert ids_digest(["images/10.jpg", "COCO_val2014_000000000009.jpg"]) == digest
    assert (published_id("val2014/COCO_val2014_000000391895.jpg"), published_id("1000092795.jpg")) == (391895, 1000092795)
    assert published_id("cat.jpg") is None and ids_digest(["1.jpg", "cat.jpg"]) is None and whose(None) is None


def test_the_known_splits_agree_with_each_other():
    splits = known.known_splits()
    flickr, paper, coco = (splits[name] for name in ("flickr30k", "flickr30k-entities", "mscoco-5k"))
    assert sum(paper[split]["images"] for split in ("train", "val", "test")) == 31_783
    assert sum(flickr[split]["images"] for split in ("train", "val", "test")) == 31_014
    assert coco["train"]["images"] == 82_783 + 30_504
    assert sum(coco[split]["captions"] for split in ("train", "val", "test")) == 616_767, "all captions of COCO 2014"
    assert all(coco[split]["five"] == 5 * coco[split]["images"] for split in ("train", "val", "test"))
    ids = [facts["ids"] for data in splits.values() for split, facts in data.items() if split in ("train", "val", "test")]
    assert len(set(ids)) == len(ids) == 10 and all(len(digest) == 64 for digest in ids)
    assert whose(coco["test"]["ids"]) == "MS-COCO 2014, Karpathy's split, restval joined into train: test"


def test_data_with_the_published_ids_and_counts_are_as_published(tmp_path, store, monkeypatch):
    root = write_flickr30k(tmp_path / "root", (4, 2, 3))
    remember("flickr30k", root)
    files = [image["filename"] for image in json.loads((root / "dataset_flickr30k.json").read_text())["images"][6:]]
    facts = {"images": 3, "captions": 15, "ids": ids_digest(reversed(files))}
    monkeypatch.setattr(known, "known_splits", lambda: {"flickr30k": {"label": "tiny", "test": facts}})
    assert store.run(data_stage("flickr30k")).is_dir()
    report = store.report(data_stage("flickr30k"))["report"]
    assert report["test"]["as_published"] is True
    assert "as_published" not in report["train"]
