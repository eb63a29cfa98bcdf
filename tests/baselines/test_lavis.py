"""BLIP through LAVIS: its worker, the pipe, and equal scores from one set of weights in both code bases."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

from baselines.blip import BLIP
from baselines.blip_checkpoint import save_for_lavis, save_for_transformers
from baselines.blip_text import prepared
from baselines.lavis import frames
from baselines.lavis.client import LavisBLIP
from baselines.nameless import nameless
from methods.needs import Need, resolve
from tests.tiny_blip import CAPTIONS, VIT_B, noise, write_blip

PICTURES = noise(4)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """One set of random weights for both: LAVIS has ViT-B and ViT-L alone, so the vision tower is a whole ViT-B, of 48 pixels."""
    root = tmp_path_factory.mktemp("both")
    source = write_blip(root / "source", size=48, **VIT_B)
    for name, save in (("transformers", save_for_transformers), ("lavis", save_for_lavis)):
        (root / name).mkdir()
        save(source, root / name)
    return root


@pytest.fixture(scope="module")
def lavis(checkpoints):
    worker = LavisBLIP(checkpoints / "lavis", resolve(Need("environment", "lavis")), "float32")
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def ours(checkpoints):
    return BLIP(checkpoints / "transformers", "float32")


def scores(model):
    """Similarities and matching logits of every caption with every picture, (captions, pictures) each."""
    vectors, states = (np.concatenate(parts) for parts in zip(*model.picture_batches(PICTURES, len(PICTURES), batch=3), strict=True))
    model.use_states(states)
    matched = np.stack([model.match_logits(caption, np.arange(len(PICTURES))) for caption in CAPTIONS])
    return model.caption_vectors(CAPTIONS) @ vectors.T, matched


@pytest.mark.slow
def test_both_code_bases_give_equal_similarities_and_logits(ours, lavis):
    (itc, itm), (lavis_itc, lavis_itm) = scores(ours), scores(lavis)
    assert np.ptp(itc) > 0.01 and np.ptp(itm) > 0.1
    np.testing.assert_allclose(itc, lavis_itc, atol=1e-5)
    np.testing.assert_allclose(itm, lavis_itm, atol=1e-4)


@pytest.mark.slow
def test_our_scores_are_those_of_lavis_own_forward_pass(ours, lavis):
    """Its forward pass replaces the first token by `[ENC]` by itself."""
    itc, itm = scores(ours)
    texts = [prepared(caption) for caption in CAPTIONS]
    np.testing.assert_allclose(itc, lavis.forward(PICTURES, texts, "itc").T, atol=1e-5)
    for row, picture in enumerate(PICTURES):
        theirs = lavis.forward([picture] * len(texts), texts, "itm")
        np.testing.assert_allclose(itm[:, row], theirs[:, 1], atol=2e-3)  # states are stored in float16


@pytest.mark.slow
def test_without_enc_the_scores_are_others(checkpoints, ours, lavis):
    _, itm = scores(BLIP(checkpoints / "transformers", "float32", enc_token=False))
    assert np.abs(itm - scores(lavis)[1]).max() > 0.1


@pytest.mark.slow
def test_a_mapped_part_of_a_file_serves_as_states(lavis, tmp_path):
    _, states = next(lavis.picture_batches(PICTURES, len(PICTURES)))
    lavis.use_states(states)
    expected = lavis.match_logits(CAPTIONS[0], np.array([2, 0]))
    (tmp_path / "states").write_bytes(b"header" + states.tobytes())
    lavis.use_states(np.memmap(tmp_path / "states", states.dtype, "r", 6, states.shape))
    np.testing.assert_array_equal(lavis.match_logits(CAPTIONS[0], np.array([2, 0])), expected)


@pytest.mark.slow
def test_a_part_of_an_array_whose_file_has_no_name_serves_as_states(lavis):
    states = np.concatenate([states_BPH for _, states_BPH in lavis.picture_batches(PICTURES, len(PICTURES))])
    lavis.use_states(states)
    expected = lavis.match_logits(CAPTIONS[0], np.array([2, 0]))
    room = nameless((9, *states.shape[1:]), states.dtype)
    room[: len(states)] = states
    lavis.use_states(room[: len(states)])
    np.testing.assert_array_equal(lavis.match_logits(CAPTIONS[0], np.array([2, 0])), expected)


@pytest.mark.slow
def test_a_request_that_fails_is_named_and_the_worker_lives_on(lavis):
    with pytest.raises(ValueError, match="the LAVIS worker cannot match: IndexError"):
        lavis.match_logits("a cat", np.array([10**6]))
    assert lavis.caption_vectors(["a cat"]).shape == (1, 256)


def test_a_worker_that_ends_in_between_is_one_line_with_the_remedy(tmp_path):
    """It loads, and is gone when the next request comes."""
    python = tmp_path / "python"
    loaded = json.dumps({"message": {"precision": "float32"}, "arrays": []})
    python.write_text(f"#!/bin/sh\nread line\necho '{loaded}'\necho out of memory >&2\nexit 5\n")
    python.chmod(0o755)
    worker = LavisBLIP(tmp_path, python)
    worker._process.wait()
    with pytest.raises(ValueError, match=r"ended with code 5 \(out of memory\); run `make lavis`") as error:
        worker.caption_vectors(["a cat"])
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="has ended"):
        worker.caption_vectors(["a cat"])


def test_an_environment_that_is_not_there_is_one_line_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match=r"needs the environment of \S+: No such file or directory; run `make lavis`"):
        LavisBLIP(tmp_path, tmp_path / "bin" / "python")


def test_an_environment_that_is_not_lavis_is_one_line_with_its_last_words(tmp_path):
    """This environment has torch and no lavis."""
    (tmp_path / "shape.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot load: ModuleNotFoundError: No module named 'lavis'"):
        LavisBLIP(tmp_path, sys.executable)


def test_what_is_no_worker_is_one_line_with_its_last_words(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho bad news >&2\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(ValueError, match=r"ended with code 3 \(bad news\); run `make lavis`"):
        LavisBLIP(tmp_path, python)


def test_a_tower_that_lavis_does_not_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match="LAVIS has BLIP with ViT-B/16 and ViT-L/16 alone, not with 2 layers of width 64"):
        save_for_lavis(write_blip(tmp_path / "small"), tmp_path)


def test_frames_carry_words_and_numbers():
    stream = io.BytesIO()
    arrays = {"halves": np.arange(6, dtype=np.float16).reshape(2, 3)[:, ::2], "rows": np.array([1, -2]), "none": np.zeros((0, 4), np.uint8)}
    frames.write(stream, {"do": "match", "caption": 'a "line"\nbreak – é'}, arrays)
    frames.write(stream, {})
    stream.seek(0)
    message, found = frames.read(stream)
    assert message == {"do": "match", "caption": 'a "line"\nbreak – é'}
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert frames.read(stream) == ({}, {})
    assert frames.read(stream) is None


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"Downloading...\n", "no frame but b'Downloading"),
        (b'{"message": {}}\n', "no frame but"),
        (json.dumps({"message": {}, "arrays": [["a", "<f4", [3]]]}).encode() + b"\nabc", "ended within array a"),
        (json.dumps({"message": {}, "arrays": [["a", "|O", [1]]]}).encode() + b"\n" + b"x" * 8, "only numbers"),
    ],
)
def test_what_is_no_frame_is_refused(sent, message):
    with pytest.raises(ValueError, match=message):
        frames.read(io.BytesIO(sent))
