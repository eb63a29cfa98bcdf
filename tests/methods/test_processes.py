"""A training that several processes share: gloo on this machine's CPU, the same batch, the same losses."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.torch import load_file

from methods.processes import launch
from methods.reads import recording
from tests.methods.made_up import SETTINGS, stage_inputs, t5, training

SHORT = SETTINGS.model_copy(update={"epochs": 1, "batch": 20, "discriminative_steps": 2, "discriminative_batch": 9, "learning_rate": 1e-3})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return stage_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["frozen-text", "seq2seq"])
def test_two_processes_have_the_losses_and_weights_of_one(what, inputs, tmp_path):
    """Batches of 20, 20 and 8 captions with pictures, in pieces of at most 6, then 9 captions with candidates: nothing divides evenly."""
    given = {"discriminative": "second-stage"}
    if what == "seq2seq":
        (tmp_path / "t5").mkdir()
        given["backbone"] = str(t5(tmp_path / "t5", dropout_rate=0.0))
    found = {}
    for processes, micro_batch in ((1, 0), (2, 6)):
        (out := tmp_path / str(processes)).mkdir()
        settings = SHORT.model_copy(update={**given, "processes": processes, "micro_batch": micro_batch})
        with recording(inputs) as reads:
            report = training(settings, ["train"])(inputs, out)
        assert reads.as_dict()["own"] == {"pictures": ["train"], "captions": ["train"]}
        assert report["processes"] == processes
        with np.load(out / "losses.npz") as losses:
            found[processes] = np.r_[losses["generative"], losses["second-stage"]]
        assert not list(out.glob("*.json.*"))
    assert len(found[1]) == 5
    np.testing.assert_allclose(found[2], found[1], rtol=2e-3)
    one, two = (load_file(next((tmp_path / name).rglob("*.safetensors"))) for name in "12")
    for name, weights in one.items():
        # AdamW's first steps are of the size of the rate whatever the gradient, so that its sign alone could show
        assert float((two[name] - weights).abs().max()) < 2e-3, name
        moved = np.corrcoef(two[name].flatten(), weights.flatten())[0, 1] if weights.numel() > 8 else 1.0
        assert moved > 0.999, name


@pytest.mark.slow
def test_what_a_process_refuses_is_refused_in_its_words(tmp_path):
    settings = SHORT.model_copy(update={"processes": 2, "backbone": str(tmp_path)})
    config = {"generator": settings.model_dump(mode="json"), "pictures_of": []}
    inputs = stage_inputs(tmp_path / "inputs")
    with pytest.raises(ValueError, match=r"no transformers folder: config\.json is missing"):
        launch("methods.training:train_here", config, inputs, tmp_path, 2)
