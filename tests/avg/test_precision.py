"""Number formats of heavy products: as asked for by the environment, and bfloat16 on any processor."""

from __future__ import annotations

import pytest
import torch

from avg.generators import create
from avg.precision import GPUS, VARIABLE, autocast, device, fast_dtype, search_precision
from benchmarks.run import main
from methods.fitting.validation import validation_recall
from tests.avg.tree import assert_reads_as_taught
from tests.methods.made_up import SETTINGS, STATE, WIDTH, splits


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_products_are_in_the_format_asked_for(monkeypatch, asked):
    monkeypatch.setenv(VARIABLE, asked)
    assert fast_dtype() == fast_dtype("cpu") == getattr(torch, asked)
    with autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, asked)
    assert search_precision() == f"{asked} towers, float32 scores"


def test_where_nothing_is_asked_for_the_processor_decides(monkeypatch):
    monkeypatch.delenv(VARIABLE)
    assert fast_dtype("cpu") == (torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32)
    monkeypatch.setenv(VARIABLE, "fast")
    assert fast_dtype("cpu") == (torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32)


@pytest.mark.parametrize("in_hardware", [True, False])
def test_a_gpu_that_emulates_bfloat16_computes_in_float32(monkeypatch, in_hardware):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or in_hardware)
    assert fast_dtype("cuda:0") == (torch.bfloat16 if in_hardware else torch.float32)


def test_a_gpu_that_was_given_and_cannot_be_used_is_no_processor(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv(GPUS, "0,1")
    with pytest.raises(ValueError, match=r"CUDA_VISIBLE_DEVICES=0,1, but torch .* finds no GPU: it .*; to compute on the processor, set"):
        device()
    assert main(["doctor", "--store", str(tmp_path)]) == 0
    assert "! CUDA_VISIBLE_DEVICES=0,1, but torch" in capsys.readouterr().out
    monkeypatch.setenv(GPUS, "")
    assert device().type == "cpu"


def test_an_unknown_format_is_named_with_the_known_ones(monkeypatch):
    monkeypatch.setenv(VARIABLE, "float16")
    with pytest.raises(ValueError, match=r"VOKENBENCH_PRECISION=float16: .* fast, float32 or bfloat16"):
        fast_dtype()


def test_the_command_line_tells_it_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, "float16")
    assert main(["table1", "--tiny", "--store", str(tmp_path / "store")]) == 2
    assert capsys.readouterr().err.startswith("vokenbench: VOKENBENCH_PRECISION=float16: not a number format")
    assert not list(tmp_path.iterdir())


def test_bfloat16_reads_trees_and_validates_as_float32_does_up_to_its_rounding(monkeypatch):
    """Rounding moves a logit by some hundredths; a wrong position would move it by ones."""
    torch.manual_seed(0)
    model = create(SETTINGS, tokens=5, state_width=STATE, vector_width=WIDTH).eval()
    val = splits()["val"]
    exact = validation_recall(model, val)
    monkeypatch.setenv(VARIABLE, "bfloat16")
    assert_reads_as_taught(model, val.text_source(model, torch.arange(3)), 5, atol=0.1)
    assert validation_recall(model, val) == pytest.approx(exact, abs=5)
