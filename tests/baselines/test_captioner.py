"""Captions sampled for a picture are its own: no other picture, order or batch changes them."""

from __future__ import annotations

import json

import avg.torchvision_schema  # noqa: F401

import numpy as np
import pytest
import torch
from transformers import BlipForConditionalGeneration, LogitsProcessorList, TopPLogitsWarper

from baselines import captioner as module
from baselines.captioner import Captioner, Drawn, uniforms
from tests.tiny_blip import noise, write_blip

PICTURES = noise(4)


@pytest.fixture(scope="module", autouse=True)
def short():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONGEST", 12)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_blip(tmp_path_factory.mktemp("captioner"), BlipForConditionalGeneration)


@pytest.fixture(scope="module")
def captioner(folder):
    return Captioner(folder)


@pytest.fixture(scope="module")
def captions(captioner):
    return captioner.captions(PICTURES, 4, n=2, seed=0)


def test_each_picture_gets_so_many_captions_without_the_prompt(captioner, captions):
    assert [len(texts) for texts in captions] == [2] * 4
    every = [text for texts in captions for text in texts]
    assert len(set(every)) == 8
    assert all(text == text.strip() and not text.startswith("a picture of") for text in every)
    assert not any(word in text for text in every for word in ("[ENC]", "[DEC]", "[SEP]", "[PAD]"))
    # 12 tokens, of which 4 are `[DEC] a picture of`, and at least 10
    assert all(len(text.split()) <= 8 for text in every) and max(len(text.split()) for text in every) >= 4


@pytest.mark.parametrize("batch", [1, 3])
def test_batches_change_nothing(captioner, captions, batch):
    assert captioner.captions(PICTURES, 4, n=2, seed=0, batch=batch) == captions


def test_order_and_company_change_nothing(captioner, captions):
    assert captioner.captions(PICTURES[3:0:-1], 3, n=2, seed=0) == captions[3:0:-1]
    assert captioner.captions(PICTURES[:2], 2, n=1, seed=0) == [texts[:1] for texts in captions[:2]]


def test_another_seed_draws_other_captions(captioner, captions):
    assert captioner.captions(PICTURES[:1], 1, n=2, seed=1)[0] != captions[0]


def test_the_global_generator_is_neither_read_nor_moved(captioner, captions):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert captioner.captions(PICTURES[:1], 1, n=2, seed=0) == captions[:1]
    assert torch.equal(torch.get_rng_state(), before)


def test_words_are_drawn_by_their_probabilities_within_the_nucleus():
    """Of 0.5, 0.3, 0.15 and 0.05 a nucleus of 0.9 keeps the first three, and 20,000 draws come within a percent of their shares."""
    probabilities_V = torch.tensor([0.05, 0.5, 0.15, 0.3])
    uniform_RS = np.random.default_rng(0).random((20_000, 1))
    processors = LogitsProcessorList([TopPLogitsWarper(0.9), Drawn(uniform_RS, prompt_length=2)])
    scores_RV = processors(torch.zeros((20_000, 2), dtype=torch.long), probabilities_V.log().expand(20_000, -1))
    shares_V = torch.bincount(scores_RV.argmax(1), minlength=4) / 20_000
    assert shares_V[0] == 0
    torch.testing.assert_close(shares_V[1:], torch.tensor([0.5, 0.15, 0.3]) / 0.95, atol=0.01, rtol=0)


def test_a_draw_of_zero_takes_no_word_of_probability_zero():
    scores_RV = Drawn(np.zeros((1, 1)), prompt_length=1)(torch.zeros((1, 1), dtype=torch.long), torch.tensor([[-torch.inf, 0.0, 0.0]]))
    assert int(scores_RV.argmax()) == 1


def test_numbers_belong_to_picture_seed_and_caption():
    first = uniforms(PICTURES[0], 0, 0, 4)
    assert np.array_equal(first, uniforms(PICTURES[0].copy(), 0, 0, 4))
    for other in (uniforms(PICTURES[1], 0, 0, 4), uniforms(PICTURES[0], 1, 0, 4), uniforms(PICTURES[0], 0, 1, 4)):
        assert not np.isclose(first, other).any()


def test_pseudo_queries_are_its_captions(folder, captions, tmp_path):
    """The seam to the stage that asks for them: by folder, in the order of the split."""
    from methods.data import Dataset
    from methods.pseudo_queries import _captioned

    for number, picture in enumerate(PICTURES):
        picture.save(tmp_path / f"{number}.png")
    files = [f"{number}.png" for number in range(4)]
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "four", "pictures": ".", "splits": {"test": {}}}))
    table = {"image_ids": [4, 5, 6, 7], "files": files, "captions": [], "caption_image_ids": []}
    (tmp_path / "test.json").write_text(json.dumps(table))
    config = {"by": str(folder), "split": "test", "count": 2, "seed": 0}
    assert _captioned(config, Dataset(tmp_path), np.array([4, 5, 6, 7])) == captions
