"""Generation by transformers, against teacher-forced scores of every code and a beam search over them that is a few lines long."""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from baselines.hf_decoding import DictionaryTree, HfDecoder, MarisaTree

FIRST, VOKENS, LENGTH = 20, 5, 3
TREES = (DictionaryTree, MarisaTree)
INPUT_IDS = torch.tensor([[5, 6, 7, 1], [8, 9, 1, 0], [3, 1, 0, 0]])
MASK = (INPUT_IDS != 0).long()
# three beginnings, of four, seven and one codes; in no order
CODES = np.array([[3, 0, 1], [0, 1, 2], [0, 1, 3], [0, 4, 0], [0, 2, 2], [3, 0, 0], [3, 1, 1], [3, 1, 4], [3, 4, 4], [3, 3, 2], [3, 3, 3],
                  [1, 1, 1]])  # fmt: skip


@pytest.fixture(scope="module", params=["t5", "bart"])
def model(request):
    torch.manual_seed(0)
    if request.param == "t5":
        config = T5Config(
            vocab_size=FIRST + VOKENS, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.3, decoder_start_token_id=0
        )
        made = T5ForConditionalGeneration(config)
    else:
        config = BartConfig(
            vocab_size=FIRST + VOKENS, d_model=16, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, pad_token_id=0, bos_token_id=2, eos_token_id=1, decoder_start_token_id=1,
        )  # fmt: skip
        made = BartForConditionalGeneration(config)
        # what checkpoints bring along; all of it would show
        made.generation_config.update(forced_bos_token_id=2, forced_eos_token_id=1, no_repeat_ngram_size=1, repetition_penalty=2.0)
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made.eval()


@torch.inference_mode()
def _logs(model, codes) -> np.ndarray:
    """Returns the log-probability of each token of each code, teacher-forced, each query by itself and without padding: (Q, N, L)."""
    tokens_NL = torch.tensor(codes) + FIRST
    decoder_input_ids = torch.cat([torch.full((len(codes), 1), model.config.decoder_start_token_id), tokens_NL[:, :-1]], 1)
    rows = []
    for ids, mask in zip(INPUT_IDS, MASK):
        source = ids[mask.bool()].expand(len(codes), -1)
        logs = model(input_ids=source, decoder_input_ids=decoder_input_ids, use_cache=False).logits.log_softmax(-1)
        rows.append(logs.gather(-1, tokens_NL[..., None])[..., 0].numpy())
    return np.stack(rows)


def _beam_search(codes, logs_NL, beams) -> list[tuple[int, ...]]:
    kept: list[tuple[int, ...]] = [()]
    for depth in range(1, LENGTH + 1):
        sums = {tuple(code[:depth]): float(logs[:depth].sum()) for code, logs in zip(codes.tolist(), logs_NL)}
        kept = sorted((prefix for prefix in sums if prefix[:-1] in kept), key=sums.__getitem__, reverse=True)[:beams]
    return kept


def test_the_queries_disagree(model):
    order = (-_logs(model, CODES).sum(-1)).argsort(1)
    assert len({tuple(row) for row in order.tolist()}) == len(INPUT_IDS), "an order for all would hide a mix-up of queries"


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_beams_for_the_whole_gallery_are_exhaustive_scoring(model, tree, use_cache):
    found_QML, scores_QM = HfDecoder(model, tree(CODES, FIRST), len(CODES), use_cache)(INPUT_IDS, MASK)
    expected_QN = _logs(model, CODES).sum(-1)
    order_QN = (-expected_QN).argsort(1)
    np.testing.assert_array_equal(found_QML.numpy(), CODES[order_QN])
    np.testing.assert_allclose(scores_QM.numpy(), np.take_along_axis(expected_QN, order_QN, 1), rtol=1e-4)


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_fewer_beams_find_what_beam_search_finds(model, beams):
    logs_QNL = _logs(model, CODES)
    plain = HfDecoder(model, DictionaryTree(CODES, FIRST), beams)(INPUT_IDS, MASK)
    succinct = HfDecoder(model, MarisaTree(CODES, FIRST), beams, use_cache=False)(INPUT_IDS, MASK)
    torch.testing.assert_close(plain, succinct, rtol=1e-4, atol=1e-4)
    rows = {tuple(code): row for row, code in enumerate(CODES.tolist())}
    for query, (codes_ML, scores_M) in enumerate(zip(*plain)):
        found = [tuple(code) for code in codes_ML.tolist()]
        assert found == _beam_search(CODES, logs_QNL[query], beams)
        np.testing.assert_allclose(scores_M.numpy(), logs_QNL[query, [rows[code] for code in found]].sum(-1), rtol=1e-4)


@pytest.mark.parametrize("tree", TREES)
def test_beams_beyond_the_gallery_are_marked(model, tree):
    few = CODES[[1, 2, 11]]
    codes_QML, scores_QM = HfDecoder(model, tree(few, FIRST), 5)(INPUT_IDS, MASK)
    assert {tuple(code) for code in codes_QML[0, :3].tolist()} == {tuple(code) for code in few.tolist()}
    assert (codes_QML[:, 3:] == -1).all() and (scores_QM[:, 3:] == -torch.inf).all()
    assert scores_QM[:, :3].isfinite().all() and (codes_QML[:, :3] >= 0).all()


def test_the_checkpoints_own_defaults_come_back(model):
    before = model.generation_config
    with pytest.raises(ValueError, match="empty list"):
        HfDecoder(model, _Nothing(), 2)(INPUT_IDS, MASK)
    assert model.generation_config is before


class _Nothing:
    first, length = FIRST, LENGTH

    def allowed(self, prefix):
        return []


@pytest.mark.parametrize("first", [0, FIRST, 0xD800 - 2])  # the last: on both sides of the surrogates, which no string may hold
def test_both_trees_allow_the_same(first):
    plain, succinct = (tree(np.r_[CODES, CODES[:2]], first) for tree in TREES)
    whole = [tuple(tokens) for tokens in (CODES + first).tolist()]
    for prefix in {tokens[:depth] for tokens in whole for depth in range(LENGTH + 1)}:
        following = {tokens[len(prefix)] for tokens in whole if tokens[: len(prefix)] == prefix and prefix != tokens}
        assert sorted(plain.allowed(list(prefix))) == sorted(succinct.allowed(list(prefix))) == sorted(following)
    for tree in (plain, succinct):
        assert tree.allowed([first + 2]) == tree.allowed([first, first + 3]) == []
        assert (tree.first, tree.length) == (first, LENGTH)


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("codes", [[[0, 1], [2, -1]], np.zeros((0, 3)), [1, 2]])
def test_what_are_no_codes_of_one_length_is_refused(tree, codes):
    with pytest.raises(ValueError, match="give codes of one length"):
        tree(np.array(codes), FIRST)


def test_no_beam_is_refused(model):
    with pytest.raises(ValueError, match="beams is 0"):
        HfDecoder(model, DictionaryTree(CODES, FIRST), 0)
