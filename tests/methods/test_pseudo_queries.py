from __future__ import annotations

import numpy as np
import pytest

from methods.dense import unit
from methods.pseudo_queries import captioner_needs, make, nearest_captions, pseudo_query_stages
from methods.registry import create
from methods.stage import Stage


def test_the_nearest_captions_of_different_words_come_nearest_first():
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(5, 8)).astype(np.float32), rng.normal(size=(200, 8)).astype(np.float32)
    captions = [f"caption {row % 70}" for row in range(200)]
    texts = texts[np.arange(200) % 70]  # the same words have the same vector
    found = nearest_captions(images, texts, captions, 5)
    for image, of_image in zip(images, found, strict=True):
        order = np.argsort(-(unit(texts) @ unit(image)), kind="stable")
        assert of_image == list(dict.fromkeys(captions[row] for row in order))[:5]


def test_it_looks_further_where_many_captions_are_the_same_words():
    texts = np.array([[1.0, 0.01 * row] for row in range(60)], np.float32)
    captions = ["the same"] * 50 + [f"other {row}" for row in range(10)]
    assert nearest_captions(np.array([[1.0, 0.0]], np.float32), texts, captions, 3) == [["the same", "other 0", "other 1"]]
    assert nearest_captions(np.array([[1.0, 0.0]], np.float32), texts[:50], captions[:50], 3) == [["the same"]], "there are no others"


def test_one_stage_serves_all_seeds_and_methods_but_a_captioners_draws(tmp_path):
    data = Stage("data", "m:data", {})
    stages = {"encoder": Stage("encoder", "m:encoder", {}), "features": Stage("features", "m:features", {})}

    def key(by: str, seed: int) -> str:
        (stage,) = pseudo_query_stages(["test"], stages, data, count=5, by=by, seed=seed).values()
        return stage.key

    assert key("nearest", 0) == key("nearest", 1)
    (tmp_path / "config.json").write_text("{}")
    model = str(tmp_path)
    assert len({key("nearest", 0), key(model, 0), key(model, 1)}) == 3
    before = key(model, 0)
    (tmp_path / "config.json").write_text('{"other": 1}')
    assert key(model, 0) != before, "another model in the same folder"


def test_a_captioner_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="'no where' is neither a file or folder nor a model's name on the hub"):
        captioner_needs("no where")
    assert captioner_needs("nearest") == []
    assert [need.kind for need in captioner_needs(str(tmp_path))] == ["file"]
    assert create("avg", {"pseudo_queries_by": str(tmp_path)}).needs() == captioner_needs(str(tmp_path))


def test_a_captioner_is_asked_for_the_split_in_order(tmp_path, monkeypatch):
    """Stops where the text tower would read the captions: what it was asked, and what it said, is seen by then."""
    (tmp_path / "dataset.json").write_text('{"name": "one", "pictures": ".", "splits": {"test": {}}}')
    (tmp_path / "test.json").write_text('{"image_ids": [7, 8], "files": ["7.png", "8.png"], "captions": [], "caption_image_ids": []}')
    np.savez(tmp_path / "test.npz", images_ND=np.ones((2, 2)), image_ids_N=np.array([7, 8]))
    asked = []

    class Captioner:
        def __init__(self, folder):
            asked.append(folder)

        def captions(self, pictures, count, n, seed):
            asked.append((pictures.files, count, n, seed))
            return [["a", "a"], ["b", "c"]]

    def pack_states(clip, captions):
        raise InterruptedError(captions)

    monkeypatch.setattr("baselines.captioner.Captioner", Captioner)
    monkeypatch.setattr("baselines.clip.CLIP", lambda folder: None)
    monkeypatch.setattr("methods.extraction.pack_states", pack_states)
    inputs = {"data": tmp_path, "features": tmp_path, "encoder": tmp_path}
    with pytest.raises(InterruptedError, match=r"\['a', 'b', 'c'\]"):
        make({"split": "test", "count": 2, "seed": 3, "by": str(tmp_path)}, inputs, tmp_path)
    assert asked == [tmp_path, (("7.png", "8.png"), 2, 2, 3)]
