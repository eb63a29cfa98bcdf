"""Every method that starts from an encoder starts from a named one as well, and finds the images it was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from avg.padding import PAD
from benchmarks.datasets import data_stage
from benchmarks.protocol import exposure_for
from benchmarks.spec import Row
from methods.data import Dataset, Exposure
from methods.registry import create, merged, method_class
from methods.retriever import SearchKnobs
from methods.stage import run_in
from tests import checkpoints

ROWS = ("clip", "avg", "grace-string", "grace-semantic", "grace-atomic")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        "open_clip": checkpoints.open_clip_folder(root / "open_clip", checkpoints.NATIVE),
        "transformers": checkpoints.transformers_clip(root / "transformers"),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "method"), [*(("open_clip", method) for method in ROWS), ("transformers", "avg")])
def test_it_ranks_from_the_features_of_a_named_model(kind, method, models, run, tmp_path):
    data = data_stage("openmoji-scenes-tiny", train=60, val=20, test=24)
    settings = merged(method_class(method)[0].Config.tiny(), {"encoder": {"model": str(models[kind])}})
    retriever = create(method, settings)
    assert [need.kind for need in retriever.needs()] == ["file"]
    retriever.fit(data, exposure_for(Row(key=method, label=method, method=method)), run)
    split = Dataset(run(data)).split("test")
    retriever.build(split.gallery())
    ranking = retriever.search(retriever.encode(split.captions[:6]), 5, SearchKnobs(beam=20))
    assert (ranking.ids_QW[:, 0] != PAD).all() and np.isin(ranking.ids_QW[ranking.ids_QW != PAD], split.image_ids_N).all()
    retriever.save(tmp_path / "saved")
    loaded = type(retriever).load(tmp_path / "saved")
    again = loaded.search(loaded.encode(split.captions[:6]), 5, SearchKnobs(beam=20))
    np.testing.assert_array_equal(again.ids_QW, ranking.ids_QW)


def test_a_model_that_is_taken_as_it_is_reads_no_training_split(models):
    data, path = data_stage("openmoji-scenes-tiny", train=60, val=20, test=24), str(models["open_clip"])
    assert list(create("clip", {"encoder": {"model": path}}).stages(data, Exposure())) == ["encoder"]
    assert list(create("clip", {"encoder": {"model": path, "train": "projections"}}).stages(data, Exposure())) == ["encoder", "features"]
    assert "features" in create("clip", {}).stages(data, Exposure())
