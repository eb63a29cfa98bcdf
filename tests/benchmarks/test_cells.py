"""A cell: its stages, what ranking measures, and the summary of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import cells
from benchmarks.cells import cell_stages, labelled, summary
from benchmarks.metrics import Outcomes, recall
from benchmarks.spec import RECALL, Row
from benchmarks.stages import Store
from methods.retriever import Ranking

ROW = Row(key="row", label="Row", method="pairs")


def plan(row=ROW, **changes):
    return cell_stages(**{"row": row, "dataset": "ten", "protocol_name": "clean", "seed": 0, **changes})


def summed(plan, store) -> dict:
    folder = store.run(plan.ranking)
    return summary(plan, folder, store.run(plan.data), store.report(plan.ranking), RECALL)


def test_a_seed_and_a_setting_make_other_stages_and_a_beam_another_ranking_only(cell_work):
    first = plan()
    assert plan().ranking.key == first.ranking.key
    assert plan(seed=1).ranking.key != first.ranking.key
    assert plan(seed=1).settings["seed"] == 1
    assert plan(replace(ROW, settings={"offset": 1})).ranking.inputs["offset"].key != first.ranking.inputs["offset"].key
    narrow = plan(replace(ROW, knobs={"beam": 4}))
    assert narrow.ranking.key != first.ranking.key
    assert narrow.ranking.inputs["index"].key == first.ranking.inputs["index"].key


def test_another_version_of_a_method_makes_index_and_ranking_anew(cell_work, monkeypatch):
    first = plan()
    monkeypatch.setattr(cell_work.Pairs, "version", 2)
    assert plan().ranking.inputs["index"].key != first.ranking.inputs["index"].key
    assert plan().ranking.inputs["offset"].key == first.ranking.inputs["offset"].key


def test_the_protocol_gives_the_beam_to_generative_methods_only(cell_work):
    assert plan().knobs == {"beam": 40}
    assert plan().depth == 10
    assert plan(replace(ROW, knobs={"beam": 4})).depth == 4
    tower = plan(replace(ROW, method="tower"))
    assert (tower.knobs, tower.depth) == ({}, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": replace(ROW, knobs={"beam": 0})}, "impossible search knob: beam = 0"),
        ({"row": replace(ROW, knobs={"beams": 3})}, "impossible search knob: beams = 3"),
        ({"row": replace(ROW, knobs={"shortlist": 3})}, "pairs has no search knob 'shortlist': valid are beam, exact"),
        ({"row": replace(ROW, method="tower", knobs={"beam": 3})}, "tower has no search knob 'beam': valid are none"),
        ({"row": replace(ROW, settings={"offsets": 3})}, "unknown setting 'offsets'.*did you mean offset"),
        ({"row": replace(ROW, method="pears")}, "unknown method 'pears'.*did you mean pairs"),
        ({"protocol_name": "cleen"}, "unknown protocol 'cleen'.*did you mean clean|valid are clean"),
    ],
)
def test_mistakes_are_named(cell_work, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        plan(**changes)
    assert "\n" not in str(error.value)


def test_a_summary_holds_what_can_be_computed_by_hand(cell_work, store):
    """Every `image n` finds its image; every `pair n` finds two tied ones: half a hit at 1, a whole one at 5."""
    found = summed(plan(), store)
    assert [found["metrics"][key]["value"] for key in ("R@1", "R@5", "R@10")] == [75.0, 100.0, 100.0]
    assert (found["images"], found["queries"], found["precision"], found["index_bytes"]) == (10, 20, "integers", 80)
    assert found["knobs"] == {"beam": 40}
    assert found["data"] == {"duplicates": {"captions": 0.5, "images": 1.0, "pictures": 0.0}}
    assert set(found["seconds"]) == set(found["stages"]) == {"data", "offset", "index", "ranking"}
    assert found["settings"]["part"] == {"size": 3, "shape": "round"}
    assert found["git"].keys() == {"commit", "dirty"}
    assert recall(Outcomes.unpack(found["outcomes"]), 1, "pessimistic") == 50.0


def test_an_offset_of_one_ranks_the_wrong_image(cell_work, store):
    found = summed(plan(replace(ROW, settings={"offset": 1})), store)
    assert found["metrics"]["R@1"]["value"] == 25.0


def test_beyond_the_beam_there_is_no_recall(cell_work, store):
    found = summed(plan(replace(ROW, knobs={"beam": 4})), store)
    assert found["metrics"]["R@1"]["value"] == 75.0
    assert found["metrics"]["R@5"] is None
    assert found["metrics"]["R@10"] is None


def test_a_summary_is_the_same_bytes_in_another_process_with_the_inputs_gone(cell_work, store):
    first = summed(plan(), store)
    index = plan().ranking.inputs["index"]
    for path in store.folder(index).iterdir():
        path.unlink()
    store.folder(index).rmdir()
    again = Store(store.root)
    assert json.dumps(summed(plan(), again)) == json.dumps(first)
    assert again.made == set()


@pytest.mark.parametrize("batch", [1, 3, 20, 128])
def test_batches_do_not_change_the_ranking(cell_work, store, monkeypatch, batch):
    monkeypatch.setattr(cells, "BATCH", batch)
    ranking = Ranking.load(store.run(plan(k=1).ranking) / "ranking.npz")
    assert ranking.ids_QW.shape == (20, 2)
    assert ranking.ids_QW[:4].tolist() == [[100, -1], [100, 101], [101, -1], [100, 101]]


def test_encoding_and_searching_are_timed_apart_and_warm_up_not_at_all(cell_work, store, monkeypatch):
    monkeypatch.setattr(cell_work.Pairs, "pause", 0.1)
    monkeypatch.setattr(cells, "BATCH", 10)
    store.run(plan().ranking)
    report = store.report(plan().ranking)["report"]
    assert 0.2 <= report["encode_seconds"] < 0.3, "two batches, and neither the third call nor any search"
    assert report["search_seconds"] < 0.1


def test_the_ideal_matcher_is_a_ranking_of_the_data_alone():
    found = cell_stages(Row(key="facts", label="Facts", method="scene-facts"), "openmoji-scenes-tiny", "clean", 0)
    assert [stage.name for stage in found.ranking.ancestors()] == ["data", "ranking"]
    assert found.exposure.label == "none"


def test_stages_of_one_name_are_numbered():
    assert list(labelled([{"name": "features"}, {"name": "data"}, {"name": "features"}])) == ["features", "data", "features 2"]
