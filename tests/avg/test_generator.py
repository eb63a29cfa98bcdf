from __future__ import annotations

import numpy as np
import pytest
import torch

from avg.captions import CaptionBatch
from avg.frozen_text import FrozenTextGenerator
from avg.generators import load
from avg.losses import discriminative_loss, generative_loss, sequence_scores, with_positive
from avg.padding import PAD
from avg.settings import GeneratorSettings
from tests.avg.tree import assert_reads_as_taught

TINY = GeneratorSettings(**GeneratorSettings.tiny(), dropout=0.0, source_dropout=0.0)


def _model(tokens=9, **over):
    torch.manual_seed(0)
    return FrozenTextGenerator(TINY.model_copy(update=over), tokens=tokens, state_width=12, vector_width=6).eval()


def _source(model, batch=3, length=5):
    torch.manual_seed(1)
    mask = torch.arange(length) < torch.tensor([5, 3, 4])[:batch, None]
    return model.text_source(CaptionBatch(("",) * batch, torch.randn(batch, length, 12), mask, torch.randn(batch, 6)))


def test_a_tree_of_identifiers_gets_the_logits_of_teacher_forcing():
    model = _model()
    assert_reads_as_taught(model, _source(model), tokens=9, atol=0.05)


@torch.inference_mode()
def test_what_pads_a_source_changes_nothing():
    model = _model()
    source = _source(model)
    codes = torch.tensor([[1, 2, 3]] * 3)
    longer = type(source)(
        torch.cat([source.states_BTW, torch.randn(3, 4, source.states_BTW.shape[2])], 1),
        torch.cat([source.mask_BT, torch.zeros(3, 4, dtype=torch.bool)], 1),
    )
    torch.testing.assert_close(model(source, codes), model(longer, codes), rtol=0.05, atol=0.05)


def test_sequence_scores_are_sums_of_log_probabilities_and_skip_padding():
    logits = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [9.0, 9.0]]])
    scores = sequence_scores(logits, torch.tensor([[1, 0], [1, PAD]]))
    expected = [np.log(0.5) - np.log1p(np.exp(-2.0)), -np.log1p(np.exp(-1.0))]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_generative_loss_is_the_mean_over_tokens():
    logits = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [9.0, 9.0]]])
    codes = torch.tensor([[1, 0], [1, PAD]])
    assert float(generative_loss(logits, codes)) == pytest.approx(-float(sequence_scores(logits, codes).sum()) / 3)


def test_copied_vokens_keep_their_angles_at_equal_and_at_other_width():
    rows_VE = torch.randn(9, 64)
    for width in (64, 96):
        model = FrozenTextGenerator(TINY.model_copy(update={"width": width}), tokens=9, state_width=12, vector_width=6, codebook_VE=rows_VE)
        copied = model.embedding.weight[:9].detach()
        cosine = torch.nn.functional.cosine_similarity(copied[:, None], copied[None], dim=-1)
        expected = torch.nn.functional.cosine_similarity(rows_VE[:, None], rows_VE[None], dim=-1)
        torch.testing.assert_close(cosine, expected, rtol=1e-3, atol=1e-4)


def test_learns_to_write_the_identifier_of_a_picture_and_of_a_caption():
    model = FrozenTextGenerator(TINY.model_copy(update={"width": 32, "heads": 2, "prefix": 2}), tokens=5, state_width=12, vector_width=6)
    torch.manual_seed(2)
    vectors, codes = torch.randn(6, 6), torch.randint(5, (6, 3))
    states, mask = torch.randn(6, 4, 12), torch.ones(6, 4, dtype=torch.bool)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(250):
        loss = generative_loss(model(model.picture_source(vectors), codes), codes)
        loss = loss + generative_loss(model(model.text_source(CaptionBatch(("",) * 6, states, mask, vectors)), codes), codes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        assert (model.eval()(model.picture_source(vectors), codes).argmax(-1) == codes).all()
        assert (model(model.text_source(CaptionBatch(("",) * 6, states, mask, vectors)), codes).argmax(-1) == codes).all()


def test_saved_and_loaded_it_has_the_same_logits(tmp_path):
    model = _model()
    model.save(tmp_path)
    codes = torch.tensor([[1, 2, 3]] * 3)
    with torch.inference_mode():
        torch.testing.assert_close(load(tmp_path)(_source(model), codes), model(_source(model), codes))


def test_the_positive_replaces_a_candidate_only_where_it_is_missing():
    candidates = torch.tensor([[[1, 1], [2, 2], [3, 3]], [[1, 1], [2, 2], [3, 3]]])
    positive = torch.tensor([[2, 2], [7, 7]])
    found, place = with_positive(candidates, positive, torch.Generator().manual_seed(0))
    assert torch.equal(found[0], candidates[0]) and place[0] == 1
    assert torch.equal(found[1, place[1]], positive[1])
    assert (found[1] != candidates[1]).any(-1).sum() == 1


def test_discriminative_loss_is_equation_9():
    scores = torch.tensor([[0.0, 1.0, -2.0]])
    expected = -np.log(np.exp(1.0) / (1 + np.exp(1.0) + np.exp(-2.0)))
    assert float(discriminative_loss(scores, torch.tensor([1]))) == pytest.approx(expected, rel=1e-5)
