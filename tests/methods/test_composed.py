"""Two methods in one: what the first lists the second orders, over hand-made scores and on the tiny scenes."""

from __future__ import annotations

import numpy as np
import pytest

from avg.padding import PAD
from avg.settings import Settings
from benchmarks.cells import cell_stages, seeded
from benchmarks.overrides import resolved
from benchmarks.protocol import OFFICIAL, exposure_for
from benchmarks.spec import Row
from methods.dense import DenseRetriever
from methods.registry import create
from methods.rerank import ComposedRetriever
from methods.retriever import SearchKnobs

DATA = "openmoji-scenes-tiny"


class Numbers(DenseRetriever):
    """An image's score is a number from a list, whatever the query."""

    paradigm = "two-tower"
    Config = Settings

    def __init__(self, numbers):
        super().__init__()
        self.use_index({"ids_N": np.array([30, 10, 20, 40]), "vectors_ND": np.array(numbers, np.float32)[:, None]})

    def stages(self, data, exposure):
        return {}

    def _load_parts(self):
        return

    def image_vectors(self, gallery):
        return self.vectors_ND

    def encode(self, queries):
        return np.ones((len(queries), 1), np.float32)


class Both(ComposedRetriever):
    paradigm = "one-tower"
    Config = Settings

    def __init__(self, first, second, shortlists=True):
        self.pair, self._shortlists = (Numbers(first), Numbers(second)), shortlists
        super().__init__()
        self.use_index({"ids_N": np.array([30, 10, 20, 40]), **self._prefixed_index()})

    def _prefixed_index(self):
        return {
            f"{which}-{name}": array
            for which, each in zip(("first", "second"), self.pair, strict=True)
            for name, array in each.index().items()
        }

    def composed(self):
        return self.pair

    @property
    def shortlists(self):
        return self._shortlists

    stages = Numbers.stages


def listed(retriever, k, **knobs):
    ranking = retriever.search(retriever.encode(["caption"]), k, SearchKnobs(**knobs))
    return [
        (int(image), float(score), int(group))
        for image, score, group in zip(ranking.ids_QW[0], ranking.scores_QW[0], ranking.group_QW[0], strict=True)
        if image != PAD
    ]


def test_the_first_lists_and_the_second_orders():
    """Ids are in no order, so rows must be found by id; image 40 is best by the second but not on the list."""
    assert listed(Both([4, 3, 2, 1], [1, 3, 2, 9]), k=3, shortlist=3) == [(10, 3.0, 0), (20, 2.0, 1), (30, 1.0, 2)]


def test_ties_of_the_second_are_ties_and_those_at_the_lists_end_are_on_it():
    assert listed(Both([4, 2, 2, 1], [1, 5, 5, 9]), k=1, shortlist=2) == [(10, 5.0, 0), (20, 5.0, 0)]


def test_a_list_ends_with_the_tie_of_its_last_image_however_many_codes_were_ranked():
    """The first method ranks three groups; with the tie, two hold the three images that the list asks for."""
    assert [image for image, *_ in listed(Both([4, 2, 2, 1], [1, 2, 3, 9]), k=4, shortlist=3)] == [20, 10, 30]


def test_a_list_without_a_shortlist_is_as_long_as_the_beam():
    pair = Both([4, 3, 2, 1], [1, 2, 3, 4], shortlists=False)
    assert [image for image, *_ in listed(pair, k=1, beam=3)] == [20]
    assert [image for image, *_ in listed(pair, k=4, beam=3)] == [40, 20, 10, 30]


def test_an_index_names_whose_each_array_is():
    pair = Both([4, 3, 2, 1], [1, 2, 3, 4])
    assert set(pair.index()) == {"ids_N", "first-ids_N", "first-vectors_ND", "second-ids_N", "second-vectors_ND"}
    assert pair.index_bytes() == 3 * 4 * 8 + 2 * 4 * 4


def plan(method, settings=None, protocol="clean", seed=0):
    return cell_stages(Row(key=method, label=method, method=method, settings=settings or {}), DATA, protocol, seed)


def test_parts_are_those_of_the_two_methods_and_shared_with_their_own_rows():
    own = {name: plan(name).ranking.inputs for name in ("avg", "clip", "blip")}
    for method, first, second in (("clip-blip", "clip", "blip"), ("avg-clip", "avg", "clip")):
        inputs = plan(method).ranking.inputs
        for which, name in (("first", first), ("second", second)):
            for part, stage in own[name].items():
                if part not in ("data", "index"):
                    assert inputs[f"{which}-{part}"].key == stage.key


def test_knobs_and_depth_are_the_lists():
    assert plan("clip-blip").knobs == {"shortlist": 128}
    short = cell_stages(Row(key="r", label="r", method="clip-blip", knobs={"shortlist": 5}), DATA, "clean", 0)
    beam = cell_stages(Row(key="r", label="r", method="avg-clip", knobs={"beam": 5}), DATA, "clean", 0)
    assert (short.depth, beam.depth, plan("avg-clip").knobs) == (5, 5, {"beam": 40})


def test_settings_protocol_and_exposure_reach_the_part():
    row = Row(key="avg-clip", label="", method="avg-clip")
    given = {"avg-clip": {"generator.epochs": 7}, "avg": {"codebook_size": 64}}
    settings = create("avg-clip", resolved(row, False, given, OFFICIAL).settings).first.config
    assert (settings.generator.epochs, settings.tokenizer.codebook_size, settings.tokenizer.start) == (7, 64, "kmeans-first-batch")
    assert exposure_for(row, OFFICIAL).learned == ("test",)
    assert exposure_for(Row(key="r", label="", method="clip-blip"), OFFICIAL).learned == ()
    blip = create("clip-blip", {"blip": {"training": {"layers": 2}}, "encoder": {"epochs": 9}, "seed": 4})
    assert (blip.second.config.training.layers, blip.first.config.encoder.epochs, blip.second.config.seed) == (2, 9, 4)


@pytest.mark.parametrize("method", ["blip", "clip-blip"])
def test_a_named_blip_draws_nothing_and_a_trained_one_does(method, tmp_path):
    (tmp_path / "model").mkdir()
    named = {"model": str(tmp_path / "model")}
    rows = [Row(key="r", label="", method=method, settings=each) for each in ({}, named if method == "blip" else {"blip": named})]
    assert [seeded(row) for row in rows] == [True, False]
    assert plan(method, seed=0).ranking.key != plan(method, seed=1).ranking.key


def test_what_a_beam_finds_is_ordered_whole_where_images_share_a_code():
    """One code of three images: all three are re-ranked, though one was asked for."""
    both = Both([2, 2, 2, 1], [1, 2, 3, 4], shortlists=False)
    assert listed(both, 1, beam=1) == [(20, 3.0, 0)]
    assert [image for image, *_ in listed(both, 2, beam=1)] == [40, 20], "the second code's image is found too, and best"
