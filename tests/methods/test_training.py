"""Training of generators on made-up features in which captions name their picture."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from avg.generators import create, load
from avg.losses import discriminative_loss, summed_probabilities
from avg.padding import PAD
from methods.data import Exposure
from methods.fitting.epoch_batches import epoch_batches, passes
from methods.fitting.identified import Identified, Shown
from methods.fitting.objective import Batch
from methods.fitting.processes import count
from methods.fitting.trainer import Trainer
from methods.fitting.validation import pictures_written, validation_recall
from methods.reads import recording
from methods.registry import create as create_method
from methods.split_features import SplitFeatures
from methods.stage import Stage
from tests.methods.made_up import CAPTIONS, IMAGES, SETTINGS, STATE, WIDTH, captions, codes, features, splits, stage_inputs, training


def _trainer(settings, pictures_of=()):
    torch.manual_seed(0)
    model = create(settings, tokens=5, state_width=STATE, vector_width=WIDTH)
    return Trainer(settings, splits(), list(pictures_of), model)


def test_identifiers_go_with_their_images_in_any_order():
    ids = np.r_[np.arange(100, 100 + IMAGES), 101, 999]
    given = np.r_[codes(), [[9, 9, 9]], [[7, 7, 7]]]
    shuffle = np.random.default_rng(3).permutation(len(ids))
    split = Identified.join(features(), captions(), given[shuffle], ids[shuffle])
    assert split.count_N.tolist() == [1, 2] + [1] * (IMAGES - 2)
    drawn = {tuple(split.draw(torch.tensor([1]), torch.Generator().manual_seed(seed))[0].tolist()) for seed in range(20)}
    assert drawn == {tuple(given[1]), (9, 9, 9)}
    np.testing.assert_array_equal(split.draw(torch.tensor([0, 5]), torch.Generator()), given[[0, 5]])
    assert len(split.draw(torch.ones(20, dtype=torch.long), torch.Generator().manual_seed(0)).unique(dim=0)) == 2, "each draws for itself"


def test_captions_are_read_with_their_own_words_states_and_vectors():
    split, rows = splits()["train"], [7, 2]
    read = split.text_source(SimpleNamespace(text_source=lambda batch: batch), torch.tensor(rows))
    assert read.texts == tuple(captions()[row] for row in rows)
    np.testing.assert_array_equal(read.vectors_BD, split.features.texts_QD[rows])
    torch.testing.assert_close(read.states_BTH, read.vectors_BD[:, None, :STATE].expand(-1, 2, -1).bfloat16().float())


def test_pictures_of_several_splits_keep_their_own_identifiers():
    other, given = features(first_id=500), np.r_[codes(8), [[9, 9, 9]]]
    second = Identified.join(other, (), given, np.r_[other.image_ids_N, 503])
    shown = Shown.of({**splits(), "test": second}, ["train", "test"])
    assert shown.identified.count_N.tolist() == [1] * (IMAGES + 3) + [2] + [1] * (IMAGES - 4)
    drawn = shown.identified.draw(torch.arange(2 * IMAGES), torch.Generator())
    np.testing.assert_array_equal(np.delete(drawn.numpy(), IMAGES + 3, 0), np.delete(np.r_[codes(), codes(8)], IMAGES + 3, 0))


def test_captions_are_learned_and_the_best_checkpoint_is_kept():
    trainer = _trainer(SETTINGS)
    before = validation_recall(trainer.model, trainer.splits["val"])
    trainer.generative()
    recalls = [record["val R@1"] for record in trainer.curve]
    assert trainer.best == max(recalls) > before + 30
    trainer.model.load_state_dict(trainer.kept)
    assert validation_recall(trainer.model, trainer.splits["val"]) == trainer.best


def test_training_stops_when_validation_does_not_improve():
    trainer = _trainer(SETTINGS.model_copy(update={"learning_rate": 1e-12, "patience": 2}))
    trainer.generative()
    assert len(trainer.curve) == 3


def test_pictures_are_learned_where_asked_for():
    """Only then does the projection of pictures move."""
    for pictures_of, moves in ((["train"], True), ([], False)):
        trainer = _trainer(SETTINGS.model_copy(update={"epochs": 1}), pictures_of)
        before = trainer.model.from_picture.weight.detach().clone()
        trainer.generative()
        # weight decay alone only shrinks
        cosine = torch.nn.functional.cosine_similarity(before.flatten(), trainer.model.from_picture.weight.detach().flatten(), dim=0)
        assert (float(cosine) < 0.9999) == moves


def test_pictures_are_learned_with_identifiers_of_their_own():
    """Captions of one split, pictures of another, whose codes no caption names."""
    other = features(first_id=500, seed=7)
    gallery = Identified.join(other, (), codes(seed=8), other.image_ids_N)
    torch.manual_seed(0)
    model = create(SETTINGS, tokens=5, state_width=STATE, vector_width=WIDTH)
    trainer = Trainer(SETTINGS.model_copy(update={"epochs": 200, "patience": 200}), {**splits(), "test": gallery}, ["train", "test"], model)
    trainer.generative()
    assert pictures_written(model, trainer.shown, torch.arange(IMAGES, 2 * IMAGES)) > 80
    shifted = replace(trainer.shown, identified=replace(trainer.shown.identified, codes_XL=trainer.shown.identified.codes_XL.roll(5, 0)))
    assert pictures_written(model, shifted, torch.arange(IMAGES, 2 * IMAGES)) < 20


def test_a_picture_is_written_if_one_of_its_identifiers_is():
    stored, model = features(), create(SETTINGS, tokens=5, state_width=STATE, vector_width=WIDTH).eval()
    single = Shown.of({"train": Identified.join(stored, (), codes(), stored.image_ids_N)}, ["train"])
    with torch.inference_mode():
        source, said = model.picture_source(single.vectors_ND), torch.zeros(IMAGES, 0, dtype=torch.long)
        for _ in range(3):
            padded = torch.nn.functional.pad(said, (0, 1))
            said = torch.cat([said, model(source, padded)[:, -1:].argmax(-1)], 1)
    both = np.r_[codes(), said[::2].numpy()]
    several = Shown.of({"train": Identified.join(stored, (), both, np.r_[stored.image_ids_N, stored.image_ids_N[::2]])}, ["train"])
    right = torch.from_numpy(codes() == said.numpy()).all(1)
    right[::2] = True
    assert pictures_written(model, several, torch.arange(IMAGES)) == round(100 * float(right.float().mean()), 2)


def test_every_picture_is_shown_before_any_comes_again():
    drawn = passes(7, 20, torch.Generator().manual_seed(0))
    assert len(drawn) == 20
    assert sorted(drawn[:7].tolist()) == sorted(drawn[7:14].tolist()) == list(range(7))
    assert len(set(drawn[14:].tolist())) == 6


def test_batches_hold_whole_identifiers_and_no_column_of_padding():
    uneven, stored = codes(), features()
    for column in (1, 2):
        uneven[np.arange(IMAGES) % 3 >= column, 3 - column :] = PAD
    split = Identified.join(stored, captions(), uneven, stored.image_ids_N)
    for batch in epoch_batches(split, Shown.of({"train": split}, ["train"]), 6, torch.Generator().manual_seed(0)):
        for images, found in ((split.caption_images(batch.rows_B), batch.codes_BL), (batch.pictures_P, batch.picture_codes_PL)):
            whole, length = split.codes_XL[images], found.shape[1]
            assert torch.equal(found, whole[:, :length]) and (whole[:, length:] == PAD).all()
            assert (found != PAD).any(0).all()


def test_a_beam_that_died_is_no_candidate():
    """Three training codes and four beams: the fourth finds nothing, and the loss of a sure model may vanish."""
    stored = features()
    few = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0]])[np.arange(IMAGES) % 3]
    split = Identified.join(stored, captions(), few, stored.image_ids_N)
    trainer = Trainer(SETTINGS, {"train": split, "val": split}, [], create(SETTINGS, tokens=5, state_width=STATE, vector_width=WIDTH))
    rows = torch.arange(6)
    given = split.draw(split.caption_images(rows), torch.Generator())
    searched = trainer.with_candidates(Batch(rows, given))
    candidates, place = searched.candidates_BML, searched.place_B
    assert candidates.shape[1] == 4 and (candidates == PAD).all(-1).sum(1).tolist() == [1] * 6
    assert [len({tuple(code) for code in of_row.tolist()}) for of_row in candidates] == [4] * 6, "the positive is no rival of itself"
    kept = torch.stack([of_row[~(of_row == PAD).all(-1)] for of_row in candidates])
    places = torch.tensor([next(p for p, code in enumerate(of_row) if torch.equal(code, true)) for of_row, true in zip(kept, given)])
    losses = [
        float(trainer.objective.ranking(replace(Batch(rows, given), candidates_BML=c, place_B=p), trainer.model.eval()).detach())
        for c, p in ((candidates, place), (kept, places))
    ]
    assert losses[0] == pytest.approx(losses[1])


def _ranked(trainer, rows):
    """Returns Eq. 9 of these captions."""
    batch = Batch(rows, trainer.train_split.draw(trainer.train_split.caption_images(rows), torch.Generator()))
    return float(trainer.objective.ranking(trainer.with_candidates(batch), trainer.model).detach())


@pytest.mark.parametrize("when", ["joint", "second-stage"])
def test_discriminative_training_raises_the_positive_over_the_candidates(when):
    settings = SETTINGS.model_copy(update={"discriminative": when, "epochs": 4, "discriminative_steps": 40, "discriminative_rate": 3e-3})
    trainer = _trainer(settings)
    rows = torch.arange(IMAGES * CAPTIONS)
    before = _ranked(trainer, rows)
    trainer.generative()
    if when == "second-stage":
        trainer.second_stage()
        assert "discriminative_loss" in trainer.curve[-1]
    assert _ranked(trainer, rows) < before / 2


def test_recall_shares_a_tied_identifier():
    stored = features()
    split = Identified.join(stored, captions(), np.zeros((IMAGES, 2), int), stored.image_ids_N)
    model = create(SETTINGS, tokens=5, state_width=STATE, vector_width=WIDTH)
    assert validation_recall(model, split) == pytest.approx(100 / IMAGES, abs=0.01)


def test_a_model_that_diverged_finds_nothing():
    model, split = create(SETTINGS, tokens=5, state_width=STATE, vector_width=WIDTH), splits()["val"]
    with torch.no_grad():
        model.bias_V.fill_(float("nan"))
    assert validation_recall(model, split) == 0.0


def test_an_identifier_that_an_image_has_twice_is_shared_with_nobody():
    stored = features()
    ids = np.r_[stored.image_ids_N, stored.image_ids_N[0]]
    of_one = np.r_[np.zeros((1, 2), int), np.ones((IMAGES - 1, 2), int), np.zeros((1, 2), int)]
    model = create(SETTINGS, tokens=5, state_width=STATE, vector_width=WIDTH)
    once, twice = (validation_recall(model, Identified.join(stored, captions(), of_one[:end], ids[:end])) for end in (IMAGES, IMAGES + 1))
    assert twice == once
    alone = SplitFeatures(stored.images_ND[:1], stored.texts_QD[:2], ids[:1], np.array([0, 0]), stored.states)
    assert validation_recall(model, Identified.join(alone, captions()[:2], of_one[[0, 0]], ids[[0, 0]])) == 100


def test_the_temperature_is_of_the_loss_in_training_alone():
    trainer = _trainer(SETTINGS.model_copy(update={"temperature": 0.5}))
    rows = torch.arange(4)
    given = trainer.train_split.draw(trainer.train_split.caption_images(rows), torch.Generator())
    logits_BLV = trainer.model(trainer.train_split.text_source(trainer.model, rows), given)
    expected = torch.nn.functional.cross_entropy((logits_BLV / 0.5).flatten(0, 1), given.flatten())
    loss = trainer.objective.generative(Batch(rows, given), trainer.model)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()))


def test_the_stage_writes_a_generator_and_its_losses_and_says_what_it_read(tmp_path):
    (out := tmp_path / "out").mkdir()
    settings = SETTINGS.model_copy(update={"epochs": 1, "discriminative": "second-stage"})
    inputs = stage_inputs(tmp_path)
    with recording(inputs) as reads:
        report = training(settings, ["train", "val"])(inputs, out)
    assert reads.as_dict() == {
        "own": {"captions": ["train"], "pictures": ["train", "val"]},
        "selection": {"captions": ["val"], "pictures": ["val"]},
    }
    assert report["model"] == "a new T5 decoder over frozen text states"
    assert set(report["pictures written"]) == {"train", "val"}
    assert report["val R@1"] == max(record["val R@1"] for record in report["curve"])
    assert sum(p.numel() for p in load(out).parameters()) == report["parameters"]
    with np.load(out / "losses.npz") as losses:
        assert len(losses["generative"]) == IMAGES * CAPTIONS // 8
        assert report["curve"][0]["loss"] == pytest.approx(losses["generative"].mean(), abs=1e-4)
        assert len(losses["second-stage"]) == 4


@pytest.mark.parametrize("when", ["joint", "second-stage"])
def test_a_batch_in_pieces_is_the_same_batch(when):
    """Identifiers of several lengths, pictures, a last batch that is smaller: the losses of all updates agree."""
    found = []
    for micro_batch in (0, 3):
        settings = SETTINGS.model_copy(
            update={"epochs": 2, "batch": 20, "discriminative": when, "micro_batch": micro_batch, "label_smoothing": 0.1}
        )
        stored, given = features(), codes()
        given[::3, 2] = PAD  # an end of its own: no identifier begins another
        given[:, 1] += 5 * (given[:, 2] == PAD)
        split = Identified.join(stored, captions(), given, stored.image_ids_N)
        torch.manual_seed(0)
        model = create(settings, tokens=10, state_width=STATE, vector_width=WIDTH)
        trainer = Trainer(settings, {"train": split, "val": split}, ["train"], model)
        trainer.train()
        found.append([*trainer.losses["generative"], *trainer.losses["second-stage"]])
    np.testing.assert_allclose(*found, rtol=2e-3)


def test_recomputed_activations_change_no_loss_and_adafactor_trains():
    losses, passes = {}, {}
    for name, given in (("plain", {}), ("recomputed", {"recompute_activations": True}), ("adafactor", {"optimizer": "adafactor"})):
        trainer = _trainer(SETTINGS.model_copy(update={"epochs": 2, **given}))
        seen = []
        layer = trainer.model.decoder.block[0].layer[2].layer_norm
        layer.register_forward_hook(lambda layer, *_, seen=seen: seen.append(layer.training))
        trainer.train()
        losses[name], passes[name] = trainer.losses["generative"], sum(seen)
    np.testing.assert_allclose(losses["plain"], losses["recomputed"], rtol=1e-3)
    assert passes["recomputed"] == 2 * passes["plain"]
    assert losses["adafactor"][0] == losses["plain"][0]
    assert losses["adafactor"] != losses["plain"]
    assert np.mean(losses["adafactor"][-6:]) < np.mean(losses["adafactor"][:6])


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert count(SETTINGS.model_copy(update={"processes": 0})) == 2
    with pytest.raises(ValueError, match="processes = 3, but 2 GPUs are visible"):
        count(SETTINGS.model_copy(update={"processes": 3}))


def test_how_it_is_computed_is_no_part_of_the_key_and_reaches_the_stage(tmp_path):
    data = Stage("data", "nowhere:build", {})

    def generator(**settings):
        return create_method("avg", {"generator": settings}).stages(data, Exposure())["generator"]

    assert generator(processes=2, checkpoint_minutes=9).key == generator().key != generator(batch=9).key
    assert generator(processes=2).how["processes"] == 2
    (tmp_path / "work.py").write_text("def told(config, inputs, out): return config['how']")
    sys.path.insert(0, str(tmp_path))
    try:
        assert Stage("told", "work:told", {}, how={"processes": 3})({}, tmp_path) == {"processes": 3}
    finally:
        sys.path.remove(str(tmp_path))


@pytest.mark.parametrize(
    ("method", "part"),
    [("avg", "generator"), ("irgen", "tokenizer"), ("clip-blip", "blip"), ("clip-blip", "blip.training"), ("blip", "training")],
)
def test_a_seed_that_would_be_overwritten_is_refused(method, part):
    def given(seed):
        settings = {"seed": seed}
        for name in reversed(part.split(".")):
            settings = {name: settings}
        return settings

    with pytest.raises(ValueError, match=f"^{part}.seed of {method} is not used: set the method's own seed, or --seeds$"):
        create_method(method, given(7))
    assert create_method(method, {**given(0), "seed": 7}).config.seed == 7
    assert create_method("clip", {"encoder": {"seed": 7}}).config.encoder.seed == 7


def test_grace_has_no_codebook_to_copy():
    data = Stage("data", "nowhere:build", {})
    assert create_method("grace-numeric", {"generator": {"epochs": 2}}).stages(data, Exposure())
    with pytest.raises(ValueError, match=r"generator\.copy_codebook: GRACE's identifiers have no codebook"):
        create_method("grace-numeric", {"generator": {"copy_codebook": True}}).stages(data, Exposure())


@torch.no_grad()
def test_the_losses_of_both_stages_are_those_of_the_settings():
    given = {"temperature": 0.5, "label_smoothing": 0.1, "discriminative_weight": 3.0, "sequence_score": "probabilities", "softmaxes": 2}
    trainer = _trainer(SETTINGS.model_copy(update=given), ["train"])
    rows, train, model = torch.arange(4), trainer.train_split, trainer.model.eval()
    codes_BL, picture_codes_PL = train.codes_XL[rows // CAPTIONS], train.codes_XL[:3]
    batch = trainer.with_candidates(Batch(rows, codes_BL, pictures_P=torch.arange(3), picture_codes_PL=picture_codes_PL))

    def eq_7(source, codes):
        logits = model(source, codes) / 0.5
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), codes.flatten(), label_smoothing=0.1)

    source = train.text_source(model, rows)
    captions, pictures = eq_7(source, codes_BL), eq_7(model.picture_source(trainer.shown.vectors_ND[:3]), picture_codes_PL)
    scores_BM = summed_probabilities(model(source, batch.candidates_BML), batch.candidates_BML)
    eq_9 = discriminative_loss(scores_BM, batch.place_B, softmaxes=2)
    assert float(trainer.objective.first_stage(batch, model)[0]) == pytest.approx(float(captions + 3 * eq_9 + pictures))
    second = [float(loss) for loss in trainer.objective.second_stage(batch, model)]
    assert second == pytest.approx([float(captions + 3 * eq_9), float(eq_9)])
