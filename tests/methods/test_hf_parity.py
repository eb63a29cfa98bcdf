"""Our search finds what transformers' constrained beam search finds, with the same scores, on the same weights."""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avg.decoding import Source
from avg.padding import PAD
from avg.seq2seq import Seq2SeqGenerator
from avg.settings import GeneratorSettings
from baselines.hf_decoding import DictionaryTree, HfDecoder
from methods.decoding.beam import DeviceTrie, beam_search
from methods.decoding.best_first import best_first
from methods.decoding.trie import Trie
from tests.methods.made_up import t5

TOKENS = 6


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = t5(tmp_path_factory.mktemp("t5"), dropout_rate=0.0)
    torch.manual_seed(5)
    generator = Seq2SeqGenerator(GeneratorSettings(backbone=str(folder)), tokens=TOKENS, vector_width=4).eval()
    with torch.no_grad():  # scores of a new model are near to each other
        for value in generator.model.parameters():
            value += 0.3 * torch.randn_like(value)
        generator.model.get_input_embeddings().weight *= 3
    return generator


def _source(generator, ids, mask):
    return Source(generator.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state, mask.bool())


@torch.inference_mode()
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_beams_are_those_of_transformers(generator, data):
    length = data.draw(st.integers(1, 4), label="length")
    codes = data.draw(st.lists(st.tuples(*[st.integers(0, TOKENS - 1)] * length), min_size=1, max_size=30, unique=True), label="codes")
    beams = data.draw(st.integers(1, min(len(codes), 8)), label="beams")
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 1000), label="seed"))
    ids = torch.randint(3, 60, (3, 7), generator=random)
    mask = (torch.arange(7) < torch.tensor([7, 2, 5])[:, None]).long()  # captions of several lengths in one batch
    codes_NL = np.array(codes)
    theirs_QML, their_scores_QM = HfDecoder(generator.model, DictionaryTree(codes_NL, generator.first), beams)(ids, mask)

    trie = Trie.build(codes_NL)
    reader = generator.reader(_source(generator, ids, mask), length + 1, whole_vocabulary=True)
    rows_QM, scores_QM = beam_search(reader, DeviceTrie(trie), beams)
    # a tree too narrow for M beams in its first levels lets HF's copies of dead beams live on; what both have is what counts
    live_QM = their_scores_QM > float("-inf")
    assert live_QM[:, 0].all()
    torch.testing.assert_close(scores_QM[:, : their_scores_QM.shape[1]][live_QM], their_scores_QM[live_QM], rtol=1e-3, atol=2e-3)
    ours_QML = torch.from_numpy(trie.identifiers_NL)[rows_QM].long()
    for query in range(3):
        for ours, theirs, score, all_scores in zip(
            ours_QML[query], theirs_QML[query], scores_QM[query], scores_QM[query].expand(beams, -1)
        ):
            alone = int((all_scores - score).abs().lt(5e-3).sum()) == 1
            assert not alone or score == float("-inf") or ours.tolist() == theirs.tolist(), "only near-equal scores may change places"


@torch.inference_mode()
def test_a_beam_over_the_whole_gallery_best_first_and_transformers_agree(generator):
    codes_NL = np.unique(np.random.default_rng(0).integers(0, TOKENS, (20, 3)), axis=0)
    ids, mask = torch.randint(3, 60, (2, 5)), torch.ones(2, 5, dtype=torch.long)
    source, trie = _source(generator, ids, mask), DeviceTrie(Trie.build(codes_NL))
    rows_QN, scores_QN = beam_search(generator.reader(source, 4, whole_vocabulary=True), trie, len(codes_NL))
    exact = best_first(generator.reader(source, 4, whole_vocabulary=True), trie, 5)
    torch.testing.assert_close(exact.scores_Qk, scores_QN[:, :5], rtol=1e-4, atol=1e-4)
    _, theirs = HfDecoder(generator.model, DictionaryTree(codes_NL, generator.first), len(codes_NL), use_cache=False)(ids, mask)
    torch.testing.assert_close(scores_QN, theirs, rtol=1e-3, atol=2e-3)
    assert (rows_QN != PAD).all()
