from __future__ import annotations

import numpy as np
import pytest
import torch

from avg.settings import TokenizerSettings
from avg.tokenizer import Tokenizer, train_tokenizer

SMALL = {"codebook_size": 8, "voken_length": 2, "code_width": 4, "hidden": (8,), "dropout": 0.0, "batch": 16}


def _data(images=48, width=6, captions=2):
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(images, width)).astype(np.float32)
    rows = np.repeat(np.arange(images), captions)
    return pictures, (pictures[rows] + 0.1 * rng.normal(size=(len(rows), width))).astype(np.float32), rows


@torch.no_grad()
def test_losses_are_equations_3_to_5():
    pictures, texts, rows = _data()
    tokenizer = Tokenizer(TokenizerSettings(**SMALL, normalize=False), 6).eval()
    images_BD, texts_BD = torch.from_numpy(pictures[:5]), torch.from_numpy(texts[rows.searchsorted(np.arange(5))])
    losses, quantized = tokenizer(images_BD, texts_BD)
    z_BE = tokenizer.encoder(images_BD)
    rebuilt = tokenizer.decoder(quantized.sums_NLD[:, -1])
    expected = {
        "reconstruction": np.mean([float(((v - r) ** 2).sum()) for v, r in zip(images_BD, rebuilt, strict=True)]),
        "alignment": np.mean([float(((t - r) ** 2).sum()) for t, r in zip(texts_BD, rebuilt, strict=True)]),
        "commitment": np.mean([sum(float(((z - s) ** 2).sum()) for s in sums) for z, sums in zip(z_BE, quantized.sums_NLD, strict=True)]),
    }
    for name, value in expected.items():
        assert float(getattr(losses, name)) == pytest.approx(value, rel=1e-4)
    assert float(losses.codebook) == pytest.approx(float(losses.commitment))


def test_each_loss_reaches_what_it_should():
    """Commitment moves the encoder only, its counterpart the codebook only, reconstruction encoder, codebook and decoder."""
    pictures, texts, _ = _data()
    for name, reached in {
        "commitment": {"encoder"},
        "codebook": {"quantizer"},
        "reconstruction": {"encoder", "quantizer", "decoder"},
        "alignment": {"encoder", "quantizer", "decoder"},
    }.items():
        tokenizer = Tokenizer(TokenizerSettings(**SMALL), 6)
        losses, _ = tokenizer(torch.from_numpy(pictures[:8]), torch.from_numpy(texts[:8]))
        getattr(losses, name).backward()
        parts = {key.split(".")[0] for key, value in tokenizer.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
        assert parts == reached, name


@pytest.mark.parametrize("switch", ["reconstruction", "commitment", "alignment", "codebook_loss"])
def test_each_loss_can_be_switched_off(switch):
    pictures, texts, _ = _data()
    tokenizer = Tokenizer(TokenizerSettings(**{**SMALL, switch: 0.0}), 6)
    losses, _ = tokenizer(torch.from_numpy(pictures[:8]), torch.from_numpy(texts[:8]))
    others = {"reconstruction": "reconstruction", "commitment": "commitment", "codebook_loss": "codebook", "alignment": "alignment"}
    expected = sum(
        getattr(tokenizer.settings, weight) * float(getattr(losses, term).detach()) for weight, term in others.items() if weight != switch
    )
    assert float(tokenizer.loss(losses).detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("start", ["random", "kmeans"])
def test_training_lowers_the_loss_and_alignment_pulls_towards_the_captions(start):
    pictures, texts, rows = _data(images=200)
    settings = TokenizerSettings(**{**SMALL, "start": start, "epochs": 30, "learning_rate": 3e-3, "normalize": False})
    _, report = train_tokenizer(settings, pictures, texts, rows)
    curve = report["losses by epoch (reconstruction, commitment, codebook, alignment)"]
    assert curve[-1][0] < curve[0][0] and curve[-1][3] < curve[0][3]


def test_same_seed_same_codes_and_saved_codes_are_the_same(tmp_path):
    pictures, texts, rows = _data()
    settings = TokenizerSettings(**{**SMALL, "epochs": 2})
    first, second = (train_tokenizer(settings, pictures, texts, rows)[0] for _ in range(2))
    np.testing.assert_array_equal(first.tokenize(pictures), second.tokenize(pictures))
    first.save(tmp_path)
    np.testing.assert_array_equal(Tokenizer.load(tmp_path).tokenize(pictures), first.tokenize(pictures))


def test_impossible_and_unknown_settings_are_named():
    with pytest.raises(ValueError, match="codebook_size"):
        TokenizerSettings(codebook_size=0)
    with pytest.raises(ValueError, match="codebok_size"):
        TokenizerSettings(codebok_size=3)
