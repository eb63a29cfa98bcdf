"""Every registered method keeps the interface's promises, on a data set of a few dozen scenes."""

from __future__ import annotations

import numpy as np
import pytest

from avg.padding import PAD
from benchmarks.datasets import data_stage
from benchmarks.protocol import exposure_for
from benchmarks.spec import Row
from methods.data import Dataset, Gallery
from methods.encoder import EncoderSettings, encoder_stages
from methods.registry import METHODS, create, method_class
from methods.retriever import SearchKnobs
from methods.stage import run_in

SEED = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def data():
    return data_stage("openmoji-scenes-tiny", train=30, val=10, test=12)


@pytest.fixture(scope="module", params=METHODS)
def fitted(request, run, data):
    return _fit(request.param, run, data)


def _fit(name, run, data):
    settings = method_class(name)[0].Config.tiny()
    if "seed" in method_class(name)[0].Config.model_fields:
        settings["seed"] = SEED
    retriever = create(name, settings)
    retriever.fit(data, exposure_for(Row(key=name, label=name, method=name)), run)
    return name, retriever


@pytest.fixture(scope="module")
def split(run, data):
    return Dataset(run(data)).split("test")


def _rank(retriever, queries, k, beam=40):
    return retriever.search(retriever.encode(queries), k, SearchKnobs(beam=beam))


def test_ranks_images_of_the_gallery_for_every_query(fitted, split):
    _, retriever = fitted
    retriever.build(split.gallery())
    ranking = _rank(retriever, split.captions[:7], k=5)
    assert len(ranking) == 7 and ranking.k == 5 and ranking.ids_QW.shape[1] >= 5
    assert np.isin(ranking.ids_QW[ranking.ids_QW != PAD], split.image_ids_N).all()
    assert (ranking.ids_QW[:, 0] != PAD).all()
    assert retriever.index_bytes() > 0


def test_lists_every_image_once_when_asked_for_more_than_there_are(fitted, split):
    _, retriever = fitted
    retriever.build(split.gallery())
    ranking = _rank(retriever, split.captions[:3], k=100, beam=400)
    for row in ranking.ids_QW:
        found = row[row != PAD]
        assert sorted(found) == sorted(set(found)) and set(found) == set(split.image_ids_N)


def test_same_queries_have_the_same_ranking_in_any_batch(fitted, split):
    _, retriever = fitted
    retriever.build(split.gallery())
    whole, alone = _rank(retriever, split.captions[:6], k=5), _rank(retriever, split.captions[2:3], k=5)
    again = _rank(retriever, split.captions[:6], k=5)
    np.testing.assert_array_equal(whole.ids_QW, again.ids_QW)
    np.testing.assert_array_equal(whole.scores_QW, again.scores_QW)
    # scores of another batch shape differ by rounding; hidden states are kept in bfloat16
    np.testing.assert_allclose(np.sort(whole.scores_QW[2, :3]), np.sort(alone.scores_QW[0, :3]), rtol=0.1, atol=0.1)


def test_fitting_again_from_the_same_seed_gives_the_same_ranking(fitted, split, data, run, tmp_path):
    name, retriever = fitted
    retriever.build(split.gallery())
    frozen = encoder_stages(EncoderSettings(**EncoderSettings.tiny()), data)["trunks"]
    for stage in frozen.ancestors():
        (tmp_path / f"{stage.name}-{stage.key}").symlink_to(run(stage))
    _, twin = _fit(name, run_in(tmp_path), data)
    twin.build(split.gallery())
    np.testing.assert_array_equal(_rank(retriever, split.captions[:5], k=5).ids_QW, _rank(twin, split.captions[:5], k=5).ids_QW)


def test_saved_and_loaded_it_ranks_alike_wherever_the_folder_is(fitted, split, tmp_path):
    _, retriever = fitted
    retriever.build(split.gallery())
    retriever.save(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    loaded = type(retriever).load(tmp_path / "moved")
    before, after = (_rank(each, split.captions[:5], k=5) for each in (retriever, loaded))
    np.testing.assert_array_equal(before.ids_QW, after.ids_QW)
    np.testing.assert_array_equal(before.scores_QW, after.scores_QW)


def test_a_gallery_of_other_pictures_is_indexed_or_refused(fitted, split):
    """Pictures that were never seen are encoded; a method whose training is its index names the image it lacks."""
    _, retriever = fitted
    other = Gallery(np.array([7, 8, 9]) + 2**31, split.pictures[:3])
    if retriever.exposed_to_gallery:
        with pytest.raises(ValueError, match="image 2147483655"):
            retriever.build(other)
    else:
        retriever.build(other)
        assert set(_rank(retriever, split.captions[:2], k=3).ids_QW.flatten()) == set(other.image_ids_N)


def test_identical_pictures_are_tied(run, data, split):
    for name in ("clip", "avg", "irgen", "blip", "clip-blip", "avg-clip"):
        _, retriever = _fit(name, run, data)
        gallery = Gallery(np.array([5, 6, 7]), [split.pictures[0], split.pictures[1], split.pictures[0]])
        retriever.build(gallery)
        ranking = _rank(retriever, split.captions[:4], k=3)
        for ids, groups in zip(ranking.ids_QW, ranking.group_QW, strict=True):
            group = dict(zip(ids.tolist(), groups.tolist(), strict=True))
            assert group[5] == group[7]


def test_an_exact_search_is_that_of_a_beam_over_everything(fitted, split):
    """Of methods without a beam the knob changes nothing, and the same holds."""
    _, retriever = fitted
    queries = split.captions[:6]
    retriever.build(split.gallery())
    exact = retriever.search(retriever.encode(queries), 5, SearchKnobs(exact=True))
    beams = _rank(retriever, queries, 5, beam=500)
    np.testing.assert_allclose(exact.scores_QW[:, :5], beams.scores_QW[:, :5], rtol=1e-3, atol=1e-3)
    # where the first is clearly ahead, it is the same image
    clear_Q = beams.scores_QW[:, 0] - beams.scores_QW[:, 1] > 1e-2
    assert (exact.ids_QW[clear_Q, 0] == beams.ids_QW[clear_Q, 0]).all()
