"""What is read is noted, whoever reads it and however."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from methods.data import Dataset
from methods.reads import SplitArrays, absorb, note, recording, selecting


@pytest.fixture
def folder(tmp_path):
    """A data folder that also holds features, as a store's folders would."""
    table = {"image_ids": [7], "files": ["7.png"], "captions": ["seven"], "caption_image_ids": [7]}
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.json").write_text(json.dumps(table))
        np.savez(tmp_path / f"{split}.npz", images_ND=np.ones((1, 2)), texts_QD=np.ones((1, 2)), image_ids_N=np.array([7]))
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "one", "pictures": ".", "splits": {"train": {}, "val": {}, "test": {}}}))
    return tmp_path


def test_a_split_is_read_when_its_pictures_or_captions_are_taken_and_not_before(folder):
    with recording({"data": folder}) as reads:
        split = Dataset(folder).split("test")
        assert split.image_ids_N.tolist() == [7]
        assert reads.as_dict() == {}
        split.gallery()
        assert reads.as_dict() == {"own": {"pictures": ["test"]}}
        assert split.captions == ("seven",)
    assert reads.as_dict() == {"own": {"pictures": ["test"], "captions": ["test"]}}
    assert split.captions, "afterwards nobody records"
    assert reads.as_dict()["own"]["captions"] == ["test"]


def test_features_are_read_array_by_array(folder):
    with recording({"features": folder}) as reads:
        stored = SplitArrays(folder, "val")
        assert set(stored) == {"images_ND", "texts_QD", "image_ids_N"} and len(stored) == 3
        assert stored["image_ids_N"].tolist() == [7]
        assert reads.as_dict() == {}
        assert stored["images_ND"].shape == (1, 2)
    assert reads.as_dict() == {"own": {"pictures": ["val"]}}


def test_what_serves_selection_is_kept_apart(folder):
    with recording({"data": folder}) as reads:
        with selecting():
            assert Dataset(folder).split("val").captions
        assert Dataset(folder).split("train").captions
    assert reads.as_dict() == {"own": {"captions": ["train"]}, "selection": {"captions": ["val"]}}


@pytest.mark.parametrize(
    ("by_hand", "read"),
    [
        (lambda folder: np.load(folder / "test.npz").close(), ["pictures", "captions"]),
        (lambda folder: json.loads((folder / "test.json").read_text()), ["pictures", "captions"]),
        (lambda folder: open(os.path.join(folder, "val-states.npz"), "wb").close(), ["captions"]),
    ],
)
def test_a_file_of_a_split_that_is_opened_by_hand_is_seen(folder, by_hand, read):
    with recording({"data": folder}) as reads:
        by_hand(folder)
    assert sorted(reads.as_dict()["own"]) == sorted(read)


def test_files_elsewhere_are_not_a_split_of_this_stage(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with recording({"data": folder}) as reads:
        np.savez(elsewhere / "test.npz", a=np.ones(1))
        np.load(elsewhere / "test.npz").close()
        (folder / "dataset.json").read_text()
    assert reads.as_dict() == {}


def test_what_another_process_read_counts_as_read_here():
    with recording({}) as there:
        note("train", "captions")
        with selecting():
            note("val", "pictures")
    with recording({}) as here:
        absorb(json.loads(json.dumps(there.as_dict())))
        note("test", "captions")
    assert here.as_dict() == {"own": {"captions": ["train", "test"]}, "selection": {"pictures": ["val"]}}


def test_splits_are_listed_in_their_usual_order():
    with recording({}) as reads:
        for split in ("test", "val", "train"):
            note(split, "captions")
    assert reads.as_dict() == {"own": {"captions": ["train", "val", "test"]}}
