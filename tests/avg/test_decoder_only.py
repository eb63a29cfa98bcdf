"""The generator on LLaMA, small ones that are written here in the hub's format."""

from __future__ import annotations

import itertools

import avg.torchvision_schema  # noqa: F401

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BloomConfig, BloomForCausalLM, GPT2Config, GPT2LMHeadModel

from avg.captions import CaptionBatch
from avg.decoder_only import DecoderOnlyGenerator
from avg.generators import create, load
from avg.losses import generative_loss, sequence_scores
from avg.seq2seq import Seq2SeqGenerator
from avg.settings import GeneratorSettings
from methods.decoding.beam import DeviceTrie, beam_search
from methods.decoding.best_first import best_first
from methods.decoding.trie import Trie
from tests.avg.tree import assert_reads_as_taught
from tests.methods.made_up import llama, t5

CAPTIONS = ("A carrot and a palm tree.", "Some corn.", "a")
TOKENS = 6
CODES = torch.tensor([[0, 1, 2], [5, 4, 3], [1, 1, 1]])


@pytest.fixture(scope="module", params=["llama", "tied", "gpt2", "bloom"])
def backbone(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    llama(folder, tie_word_embeddings=request.param == "tied")
    torch.manual_seed(0)
    words = len(AutoTokenizer.from_pretrained(folder))
    if request.param == "gpt2":
        GPT2LMHeadModel(GPT2Config(vocab_size=words, n_embd=16, n_layer=2, n_head=2, n_positions=64)).save_pretrained(folder)
    if request.param == "bloom":  # biases attention by distance, and takes no positions
        BloomForCausalLM(BloomConfig(vocab_size=words, hidden_size=16, n_layer=2, n_head=2)).save_pretrained(folder)
    return folder


def _generator(backbone, codebook_VE=None, **given):
    torch.manual_seed(1)
    settings = GeneratorSettings(backbone=str(backbone), prefix=2, **given)
    generator = create(settings, tokens=TOKENS, state_width=1, vector_width=5, codebook_VE=codebook_VE)
    assert isinstance(generator, DecoderOnlyGenerator)
    with torch.no_grad():  # a new head says all tokens are alike
        generator.language_model.get_output_embeddings().weight *= 20
    return generator.eval()


def _captions(texts=CAPTIONS):
    nothing = torch.zeros(len(texts), 1, 1)
    return CaptionBatch(texts, nothing, nothing[..., 0].bool(), nothing[:, 0])


@torch.inference_mode()
def test_logits_are_the_models_own_on_prompt_and_identifier_together(backbone):
    """One by one and without padding, as transformers computes them."""
    generator = _generator(backbone)
    own = generator(generator.text_source(_captions()), CODES)
    for row, caption in enumerate(CAPTIONS):
        words = generator.tokenizer(caption, return_tensors="pt")["input_ids"]
        whole = generator.language_model(input_ids=torch.cat([words, CODES[None, row, :-1] + generator.first], 1)).logits
        torch.testing.assert_close(own[row], whole[0, -3:, generator.first :], rtol=0.02, atol=0.02)


@torch.inference_mode()
def test_a_caption_scores_the_same_alone_and_beside_a_longer_one(backbone):
    generator = _generator(backbone)
    together = generator(generator.text_source(_captions()), CODES)
    for row, caption in enumerate(CAPTIONS):
        alone = generator(generator.text_source(_captions((caption,))), CODES[[row]])
        torch.testing.assert_close(alone[0], together[row], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("source_of", ["captions", "pictures"])
def test_a_tree_of_identifiers_gets_the_logits_of_teacher_forcing(backbone, source_of):
    generator = _generator(backbone)
    source = generator.text_source(_captions()) if source_of == "captions" else generator.picture_source(torch.randn(3, 5))
    assert_reads_as_taught(generator, source, TOKENS, atol=0.02)


@torch.inference_mode()
@pytest.mark.parametrize("source_of", ["captions", "pictures"])
def test_beams_are_the_best_of_all_identifiers_with_their_teacher_forced_scores(backbone, source_of):
    generator = _generator(backbone)
    source = generator.text_source(_captions()) if source_of == "captions" else generator.picture_source(torch.randn(3, 5))
    every = np.array(list(itertools.product(range(TOKENS), repeat=3)))[::3]
    forced = sequence_scores(
        logits := generator(source, torch.from_numpy(every).expand(3, -1, -1)), torch.from_numpy(every).expand(3, -1, -1)
    )
    assert logits.shape == (3, len(every), 3, TOKENS)
    found, scores = beam_search(generator.reader(source, 3), DeviceTrie(Trie.build(every)), len(every))
    expected, _ = forced.sort(descending=True)
    torch.testing.assert_close(scores, expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(forced.gather(1, found), expected, rtol=0.02, atol=0.02)
    # few beams that change places: still true scores
    found, scores = beam_search(generator.reader(source, 3), DeviceTrie(Trie.build(every)), 4)
    torch.testing.assert_close(scores, forced.gather(1, found), rtol=0.02, atol=0.02)
    # best first: the same best, exactly
    exact = best_first(generator.reader(source, 3), DeviceTrie(Trie.build(every)), 4)
    torch.testing.assert_close(exact.scores_Qk, expected[:, :4], rtol=0.02, atol=0.02)
    # one at a time, so that some queries wait for others
    exact = best_first(generator.reader(source, 3), DeviceTrie(Trie.build(every)), 1, at_once=1)
    torch.testing.assert_close(exact.scores_Qk, expected[:, :1], rtol=0.02, atol=0.02)


def test_vokens_are_copied_where_asked_for_and_words_are_kept(backbone):
    rows = torch.randn(TOKENS, 16)
    original = AutoModelForCausalLM.from_pretrained(backbone).get_input_embeddings().weight
    for given, copied in ((rows, True), (None, False)):
        generator = create(GeneratorSettings(backbone=str(backbone)), tokens=TOKENS, state_width=1, vector_width=5, codebook_VE=given)
        for table in (generator.language_model.get_input_embeddings(), generator.language_model.get_output_embeddings()):
            cosine = torch.nn.functional.cosine_similarity(table.weight[generator.first :], rows)
            assert bool((cosine > 0.999).all()) is copied
        assert torch.equal(generator.language_model.get_input_embeddings().weight[: len(original)], original)


@pytest.mark.parametrize("rank", [0, 2])
def test_trains_what_it_should_and_survives_saving_to_a_folder_that_moves(backbone, rank, tmp_path):
    generator = _generator(backbone, lora_rank=rank).train()
    before = {name: value.detach().clone() for name, value in generator.named_parameters()}
    optimizer = torch.optim.Adam([value for value in generator.parameters() if value.requires_grad], 1e-2)
    losses = []
    for _ in range(15):
        loss = generative_loss(generator(generator.text_source(_captions()), CODES), CODES)
        loss = loss + generative_loss(generator(generator.picture_source(torch.eye(5)[:3]), CODES), CODES)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] * 0.8
    moved = {name for name, value in generator.named_parameters() if not torch.equal(value, before[name])}
    if rank:
        assert all("lora_" in name or "embed" in name or "wte" in name or "lm_head" in name or "from_picture" in name for name in moved)
        assert any("lora_B" in name for name in moved)
    else:
        assert moved == set(before)
    (tmp_path / "first").mkdir()
    generator.eval().save(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    again = load(tmp_path / "moved")
    state, same = generator.state_dict(), again.state_dict()
    assert state.keys() == same.keys()
    assert all(torch.equal(state[name], same[name]) for name in state)
    with torch.inference_mode():
        scores = [model(model.text_source(_captions()), CODES) for model in (generator, again)]
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=1e-5)


def test_what_is_no_decoder_is_named(tmp_path, backbone):
    BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="writes nothing: bert is neither"):
        _generator(tmp_path)
    (folder := tmp_path / "t5").mkdir()
    settings = GeneratorSettings(backbone=str(t5(folder)))
    assert isinstance(create(settings, tokens=TOKENS, state_width=1, vector_width=5), Seq2SeqGenerator)
    with pytest.raises(ValueError, match="trained whole: set lora_rank to 0"):
        create(settings.model_copy(update={"lora_rank": 8}), tokens=TOKENS, state_width=1, vector_width=5)
    (folder := tmp_path / "scaled").mkdir()
    llama(folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"hidden_act"', '"logit_scale": 0.5, "hidden_act"'))
    with pytest.raises(ValueError, match="changes its logits by logit_scale"):
        _generator(folder)


def test_lora_and_models_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="nothing to adapt"):
        GeneratorSettings(lora_rank=8)
    with pytest.raises(ValueError, match="two models"):
        GeneratorSettings(backbone="x", language_model="llama")
