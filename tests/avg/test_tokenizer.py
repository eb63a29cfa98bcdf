from __future__ import annotations

import numpy as np
import pytest
import torch

from avg.schedule import warm_cosine
from avg.settings import TokenizerSettings
from avg.tokenizer import Tokenizer, _start, caption_draws, mlp, train_tokenizer

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


OFFICIAL = {"mlp": "batch-norm", "squared_error": "element-mean", "over_levels": "mean", "gradient": "levels"}


def test_the_releases_losses_are_means_over_elements_and_levels():
    pictures, texts, _ = _data()
    images_BD, texts_BD = torch.from_numpy(pictures[:8]), torch.from_numpy(texts[:8])
    tokenizer = Tokenizer(TokenizerSettings(**SMALL, **OFFICIAL), 6).eval()
    losses, quantized = tokenizer(images_BD, texts_BD)
    images_BD, texts_BD = tokenizer.prepare(images_BD), tokenizer.prepare(texts_BD)
    rebuilt_BD, residual_BE, errors = tokenizer.decoder(quantized.sums_NLD[:, -1]), tokenizer.encoder(images_BD), []
    for level, codes_B in enumerate(quantized.codes_NL.T):
        row_BE = tokenizer.quantizer.codebook(level)[codes_B]
        errors.append(torch.nn.functional.mse_loss(row_BE, residual_BE))
        residual_BE = residual_BE - row_BE
    mse = torch.nn.functional.mse_loss
    expected = (mse(images_BD, rebuilt_BD), sum(errors) / 2, sum(errors) / 2, mse(rebuilt_BD, texts_BD))
    for found, value in zip((losses.reconstruction, losses.commitment, losses.codebook, losses.alignment), expected, strict=True):
        assert float(found.detach()) == pytest.approx(float(value.detach()), rel=1e-5)


def test_straight_through_inside_each_level_lets_only_the_first_reach_the_encoder():
    """And each row is moved by its own level alone, and by no decoder: as the release's gradients run."""
    pictures, texts, _ = _data()
    both = torch.from_numpy(pictures[:8]), torch.from_numpy(texts[:8])
    settings = {**SMALL, "shared_codebook": False, "over_levels": "sum", "gradient": "levels"}

    def gradients(loss: str, levels: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        tokenizer = Tokenizer(TokenizerSettings(**settings), 6)
        if levels == 1:  # the same network, asked for its first level only
            tokenizer.quantizer.levels = 1
        losses, _ = tokenizer(*both)
        getattr(losses, loss).backward()
        return {name: torch.zeros(()) if value.grad is None else value.grad for name, value in tokenizer.named_parameters()}

    one, two = gradients("commitment", 1), gradients("commitment", 2)
    assert two["encoder.0.weight"].abs().sum() > 0
    torch.testing.assert_close(one["encoder.0.weight"], two["encoder.0.weight"])
    one, two = (gradients("codebook", levels)["quantizer.codebooks_CKD"] for levels in (1, 2))
    torch.testing.assert_close(one[0], two[0])
    assert two[1].abs().sum() > 0
    assert gradients("reconstruction", 2)["quantizer.codebooks_CKD"].abs().sum() == 0
    assert gradients("reconstruction", 2)["encoder.0.weight"].abs().sum() > 0


def test_the_releases_start_is_k_means_on_the_first_rows_as_they_lie(monkeypatch):
    """Rows after the first batch change nothing, and the one codebook comes of the vectors, not of residuals."""
    monkeypatch.setattr("avg.tokenizer.FIRST_ROWS", 24)
    pictures, _, rows = _data()
    other = pictures.copy()
    other[12:] += 1  # twelve pictures of two captions are the first 24 rows

    def started(images: np.ndarray) -> np.ndarray:
        torch.manual_seed(0)
        tokenizer = Tokenizer(TokenizerSettings(**{**SMALL, "codebook_size": 6}, start="kmeans-first-batch"), 6)
        _start(tokenizer, torch.from_numpy(images), rows)
        return tokenizer.codebooks()

    np.testing.assert_array_equal(started(pictures), started(other))
    torch.manual_seed(0)
    tokenizer = Tokenizer(TokenizerSettings(**{**SMALL, "codebook_size": 6}), 6)
    with torch.no_grad():
        z_BE = tokenizer.encoder(tokenizer.prepare(torch.from_numpy(pictures[rows[:24]]))).numpy()
    centres_KE = started(pictures)[0]
    of_B = ((z_BE[:, None] - centres_KE) ** 2).sum(-1).argmin(1)
    for centre in np.unique(of_B):
        np.testing.assert_allclose(centres_KE[centre], z_BE[of_B == centre].mean(0), atol=1e-5)


def test_a_random_start_does_not_collapse_under_the_papers_losses(monkeypatch):
    """Rows of length 1 would: every picture of this data ends under one code."""
    pictures = _data(images=300, width=32)[0] + 1.0  # as encoders' vectors do, these share a direction
    rows = np.arange(300)
    settings = TokenizerSettings(
        codebook_size=128, code_width=32, hidden=(32,), batch=100, epochs=40, start="random", keep_alive="none", codebook_loss=0.0
    )
    small, _ = train_tokenizer(settings, pictures, pictures, rows)
    monkeypatch.setattr("avg.tokenizer._start", lambda *_: None)  # the module's own rows
    large, _ = train_tokenizer(settings, pictures, pictures, rows)
    codes, collapsed = (len(np.unique(tokenizer.tokenize(pictures), axis=0)) for tokenizer in (small, large))
    assert codes > 100
    assert collapsed < 20


def test_batch_norm_stands_after_every_layer_and_a_last_row_alone_is_left_out():
    layers = [type(layer).__name__ for layer in mlp((6, 5, 4), 0.25, "batch-norm")]
    assert layers == ["Dropout", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear", "BatchNorm1d"]
    pictures, texts, rows = _data(images=33)
    tokenizer, _ = train_tokenizer(TokenizerSettings(**SMALL, **OFFICIAL, epochs=2), pictures, texts, rows)
    assert tokenizer.tokenize(pictures).shape == (33, 2)


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


def test_captions_are_drawn_at_once_as_they_would_be_one_by_one():
    rng = np.random.default_rng(0)
    rows_Q = rng.permutation(np.repeat(np.arange(500), rng.integers(1, 7, 500)))
    draw, at_once, one_by_one = caption_draws(rows_Q, 500), np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(3):
        assert draw(at_once).tolist() == [one_by_one.choice(np.flatnonzero(rows_Q == row)) for row in range(500)]


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
    with pytest.raises(ValueError, match="3 rows of a shared codebook cannot be divided among 4 levels: set codebook_size to at least"):
        TokenizerSettings(codebook_size=3, voken_length=4)
    for given in ({"shared_codebook": False}, {"start": "random"}, {"start": "kmeans-first-batch"}, {"voken_length": 3}):
        TokenizerSettings(**{"codebook_size": 3, "voken_length": 4, **given})
    with pytest.raises(ValueError, match="codebok_size"):
        TokenizerSettings(codebok_size=3)


def test_rows_that_no_picture_of_an_epoch_took_are_revived_until_the_last_fifth(monkeypatch):
    revived = []
    monkeypatch.setattr("avg.quantizer.ResidualQuantizer.revive", lambda self, vectors_ND, dead_CK, generator: revived.append(dead_CK))
    pictures, texts, rows = _data()
    settings = TokenizerSettings(**SMALL, start="random", keep_alive="revive", epochs=5, learning_rate=1e-12)
    tokenizer, _ = train_tokenizer(settings, pictures, texts, rows)
    unused = sorted({*range(8)} - {*tokenizer.tokenize(pictures).flatten().tolist()})
    assert unused and [dead_CK[0].nonzero().flatten().tolist() for dead_CK in revived] == [unused] * 4


def test_the_losses_told_are_means_over_pictures_however_they_are_batched():
    curves = []
    for batch in (48, 20):
        settings = TokenizerSettings(**{**SMALL, "batch": batch}, start="random", keep_alive="none", epochs=1, learning_rate=1e-12)
        curves += train_tokenizer(settings, *_data())[1]["losses by epoch (reconstruction, commitment, codebook, alignment)"]
    np.testing.assert_allclose(*curves, rtol=1e-3)


def test_the_rate_rises_over_a_tenth_of_the_steps_and_falls_to_zero():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, rates = warm_cosine(optimizer, 40), []
    for _ in range(40):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:5] == [0, 0.25, 0.5, 0.75, 1] and rates[22] == pytest.approx(0.5)
    assert schedule.get_last_lr() == [pytest.approx(0)]
