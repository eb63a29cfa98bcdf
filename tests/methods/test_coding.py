"""Identifiers from finished stages: of a tokenizer, and predefined ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avg.settings import TokenizerSettings
from avg.tokenizer import Tokenizer
from methods.coding import Identifiers, identifier_stages
from methods.files.codes import CodesFile
from methods.stage import Stage

SMALL = {"codebook_size": 8, "voken_length": 3, "code_width": 4, "hidden": (8,)}


def features(folder: Path, **splits: int) -> Path:
    """Writes vectors of so many pictures a split, with two captions each."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for first, (split, images) in enumerate(splits.items()):
        images_ND = rng.normal(size=(images, 6)).astype(np.float32)
        rows_Q = np.repeat(np.arange(images), 2)
        ids_N = 100 * first + np.arange(images)[::-1]
        np.savez(folder / f"{split}.npz", images_ND=images_ND, texts_QD=-images_ND[rows_Q], image_ids_N=ids_N, caption_rows_Q=rows_Q)
    return folder


def tokenized(folder: Path, **settings: bool) -> tuple[Identifiers, Tokenizer]:
    torch.manual_seed(0)
    tokenizer = Tokenizer(TokenizerSettings(**SMALL, **settings), 6).eval()
    (folder / "tokenizer").mkdir()
    tokenizer.save(folder / "tokenizer")
    return Identifiers({"features": features(folder / "features", train=9, test=7), "tokenizer": folder / "tokenizer"}), tokenizer


@torch.no_grad()
def test_a_beginning_of_a_code_decodes_to_its_partial_sum(tmp_path):
    found, tokenizer = tokenized(tmp_path)
    images_ND = found.vectors("test")["images_ND"]
    sums_NLD = tokenizer.quantizer(tokenizer.encoder(tokenizer.prepare(torch.from_numpy(images_ND)))).sums_NLD
    for vokens in (1, 2, 3):
        np.testing.assert_allclose(tokenizer.rebuild(images_ND, vokens), tokenizer.decoder(sums_NLD[:, vokens - 1]).numpy(), rtol=1e-5)
    assert np.array_equal(tokenizer.rebuild(images_ND), tokenizer.rebuild(images_ND, 3))


def test_cosines_are_means_over_pictures_and_over_captions(tmp_path):
    found, tokenizer = tokenized(tmp_path)
    cosines = found.cosines("test")
    assert len(cosines) == 4
    images_ND = found.vectors("test")["images_ND"]
    decoded_ND = tokenizer.rebuild(images_ND, 2)
    one_by_one = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(decoded_ND, images_ND, strict=True)]
    # every caption's vector is its picture's, turned round
    assert cosines[2] == {"picture": pytest.approx(np.mean(one_by_one), abs=1e-5), "captions": pytest.approx(-cosines[2]["picture"])}
    train_ND = found.vectors("train")["images_ND"]
    mean_D = (train_ND / np.linalg.norm(train_ND, axis=1, keepdims=True)).mean(0)
    nothing = [mean_D @ v / np.linalg.norm(mean_D) / np.linalg.norm(v) for v in images_ND]
    assert cosines[0]["picture"] == pytest.approx(np.mean(nothing), abs=1e-5)


@pytest.mark.parametrize(("shared", "beyond"), [(True, 0), (False, 16)])
def test_codes_stand_in_the_order_of_the_features(tmp_path, shared, beyond):
    found, tokenizer = tokenized(tmp_path, shared_codebook=shared)
    coding = found.of("test")
    assert coding.image_ids_N.tolist() == [106, 105, 104, 103, 102, 101, 100] and coding.rows_X.tolist() == list(range(7))
    rows_NL = tokenizer.tokenize(found.vectors("test")["images_ND"])
    assert np.array_equal(coding.codes_XL[:, 2], rows_NL[:, 2] + beyond)
    assert [alphabet_K.tolist() for alphabet_K in found.alphabets()] == [
        list(range(start, start + 8)) for start in (0, beyond // 2, beyond)
    ]


def test_predefined_identifiers_are_those_of_the_split(tmp_path):
    CodesFile(np.array([[4, -1], [2, 5], [2, 6], [3, 5]]), np.array([100, 0, 101, 101]), tokens=7).save(tmp_path)
    found = Identifiers({"features": features(tmp_path / "features", train=1, test=2), "codes": tmp_path})
    coding = found.of("test")
    assert coding.image_ids_N.tolist() == [101, 100]
    assert coding.codes_XL.tolist() == [[4, -1], [2, 6], [3, 5]] and coding.rows_X.tolist() == [1, 0, 0]
    assert [alphabet_K.tolist() for alphabet_K in found.alphabets()] == [[2, 3, 4], [5, 6]]
    with pytest.raises(ValueError, match="predefined identifiers decode to nothing"):
        found.cosines("test")


def test_no_generator_is_among_the_stages():
    features = Stage("features", "m:f", {})
    tokenizer = Stage("tokenizer", "m:f", {}, {"features": features})
    codes = Stage("codes", "m:f", {}, {"features": features, "tokenizer": tokenizer})
    ranking = Stage("ranking", "m:f", {"method": "clip"}, {"generator": Stage("generator", "m:f", {}, {"codes": codes})})
    assert identifier_stages(ranking) == {"features": features, "tokenizer": tokenizer}
    predefined = Stage("codes", "m:f", {}, {"features": features})
    assert identifier_stages(Stage("ranking", "m:f", {}, {"codes": predefined})) == {"features": features, "codes": predefined}
    with pytest.raises(ValueError, match="clip has no stage `codes`"):
        identifier_stages(Stage("ranking", "m:f", {"method": "clip"}, {"features": features}))
