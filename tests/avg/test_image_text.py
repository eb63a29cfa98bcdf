"""The generator on LLaVA, a small one that is written here in the hub's format."""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from avg.captions import CaptionBatch
from avg.generators import create, load
from avg.image_text import ImageTextGenerator
from avg.losses import generative_loss
from avg.settings import GeneratorSettings
from methods.fitting.identified import Shown
from methods.fitting.trainer import Trainer
from tests.avg.tree import assert_reads_as_taught
from tests.methods.made_up import IMAGES, SETTINGS, llama, splits

TOKENS = 6
CODES = torch.tensor([[0, 1, 2], [5, 4, 3], [1, 1, 1]])


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llava")
    llama(folder)
    (folder / "model.safetensors").unlink()
    words = LlamaConfig.from_pretrained(folder).vocab_size
    text = {"vocab_size": words, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {
        "hidden_size": 12,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    torch.manual_seed(0)
    config = LlavaConfig(vision_config=CLIPVisionConfig(**vision), text_config=LlamaConfig(**text), image_token_index=5, image_seq_length=4)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def _generator(backbone, **given):
    torch.manual_seed(1)
    settings = SETTINGS.model_copy(update={"backbone": str(backbone), **given})
    generator = create(settings, tokens=TOKENS, state_width=1, vector_width=5)
    assert isinstance(generator, ImageTextGenerator)
    return generator.eval()


def _pictures(count=3, seed=0):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, size=(20, 24, 3), dtype=np.uint8)) for _ in range(count)]


def _captions():
    nothing = torch.zeros(3, 1, 1)
    return CaptionBatch(("A carrot.", "Some corn and more.", "a"), nothing, nothing[..., 0].bool(), nothing[:, 0])


@torch.inference_mode()
def test_a_picture_enters_by_the_models_own_vision_path(backbone):
    """Logits are those of the whole model on image tokens and identifier, pixels given."""
    generator = _generator(backbone)
    pixels = generator.pixels(_pictures())
    own = generator(generator.picture_source(pixels), CODES)
    ids = torch.cat([torch.full((3, 4), 5), CODES[:, :-1] + generator.first], 1)
    whole = generator.language_model(input_ids=ids, pixel_values=pixels).logits
    torch.testing.assert_close(own, whole[:, -3:, generator.first :], rtol=0.02, atol=0.02)
    assert_reads_as_taught(generator, generator.picture_source(pixels), int(CODES.max()) + 1, atol=0.02)


def test_it_learns_pictures_and_captions_with_its_vision_tower_frozen_and_survives_saving(backbone, tmp_path):
    generator = _generator(backbone).train()
    tower = [value.clone() for value in generator._vision.parameters()]
    projector = generator.language_model.model.multi_modal_projector.linear_1.weight.detach().clone()
    pixels = generator.pixels(_pictures())
    optimizer = torch.optim.Adam([value for value in generator.parameters() if value.requires_grad], 1e-2)
    losses = []
    for _ in range(15):
        loss = generative_loss(generator(generator.picture_source(pixels), CODES), CODES)
        loss = loss + generative_loss(generator(generator.text_source(_captions()), CODES), CODES)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] * 0.8
    assert all(torch.equal(one, two) for one, two in zip(tower, generator._vision.parameters(), strict=True))
    assert not torch.equal(projector, generator.language_model.model.multi_modal_projector.linear_1.weight)
    generator.eval().save(tmp_path)
    again = load(tmp_path)
    with torch.inference_mode():
        scores = [model(model.picture_source(model.pixels(_pictures())), CODES) for model in (generator, again)]
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)


def test_the_trainer_hands_it_pixels_of_the_right_pictures(backbone):
    pictures = [_pictures(IMAGES), _pictures(IMAGES, seed=1)]
    shown = Shown.of({"train": splits()["train"], "test": splits()["val"]}, ["train", "test"], pictures)
    generator = _generator(backbone, epochs=1, discriminative="second-stage")
    rows = torch.tensor([IMAGES + 3, 2, IMAGES - 1, IMAGES])
    expected = generator.pixels([pictures[1][3], pictures[0][2], pictures[0][-1], pictures[1][0]])
    torch.testing.assert_close(shown.take(rows, generator), expected)
    trainer = Trainer(generator.settings, splits(), ["train"], generator, pictures=pictures[:1])
    trainer.train()
    assert len(trainer.losses["generative"]) == 6


def test_an_image_text_model_of_another_kind_is_named(backbone, tmp_path):
    llama(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    from transformers import BlipConfig

    BlipConfig(
        text_config={"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 20},
        vision_config={"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1},
    ).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no image processor"):
        create(GeneratorSettings(backbone=str(tmp_path)), tokens=TOKENS, state_width=1, vector_width=5)
