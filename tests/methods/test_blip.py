"""The rows `blip`, `blip-itc` and `blip-exhaustive` on the tiny scenes, from one small random checkpoint; what is missing is named."""

from __future__ import annotations

import sys
from dataclasses import replace

import avg.torchvision_schema  # noqa: F401

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from avg.padding import PAD
from baselines.blip_checkpoint import to_original
from benchmarks import cells
from benchmarks.cells import cell_stages, summary
from benchmarks.datasets import data_stage
from benchmarks.run import main
from benchmarks.spec import RECALL, Row
from benchmarks.stages import Store
from methods.blip import prepare
from methods.data import Dataset, Gallery, Pictures
from methods.needs import Need, identity
from methods.registry import create
from methods.retriever import Ranking
from tests.tiny_blip import VIT_B, write_blip

ROW = Row(key="blip", label="BLIP", method="blip", knobs={"shortlist": 6})


@pytest.fixture(scope="module", autouse=True)
def few():
    """A test split of 10 scenes: the cross-encoder reads each of them with each of 50 captions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "data_stage", lambda name: data_stage(name, train=6, val=3, test=10))
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def measured(row, checkpoint, store):
    """Returns a cell's plan, ranking and summary."""
    plan = cell_stages(replace(row, settings={"model": str(checkpoint), "precision": "float32"}), "openmoji-scenes-tiny", "clean", 0)
    folder = store.run(plan.ranking)
    return plan, Ranking.load(folder / "ranking.npz"), summary(plan, folder, store.run(plan.data), store.report(plan.ranking), RECALL)


@pytest.fixture(scope="module")
def rerank(checkpoint, store):
    return measured(ROW, checkpoint, store)


@pytest.fixture(scope="module")
def itc(checkpoint, store):
    return measured(replace(ROW, key="itc", method="blip-itc", knobs={}), checkpoint, store)


@pytest.fixture(scope="module")
def exhaustive(checkpoint, store):
    return measured(replace(ROW, key="all", method="blip-exhaustive", knobs={}), checkpoint, store)


def test_r_at_k_beyond_the_shortlist_is_inapplicable(rerank):
    plan, ranking, found = rerank
    assert (plan.depth, plan.knobs) == (6, {"shortlist": 6})
    assert found["metrics"]["R@5"] is not None and found["metrics"]["R@10"] is None
    assert ((ranking.ids_QW != PAD).sum(1) == 6).all()


def test_the_shortlist_holds_the_nearest_images_in_another_order(rerank, itc):
    near, ranked = itc[1].ids_QW[:, :6], rerank[1].ids_QW[:, :6]
    np.testing.assert_array_equal(np.sort(near, axis=1), np.sort(ranked, axis=1))
    assert (near != ranked).any()
    assert itc[0].depth == 10 and itc[2]["metrics"]["R@10"] is not None


def test_a_shortlist_of_the_whole_gallery_is_exhaustive(checkpoint, store, exhaustive):
    _, ranking, _ = measured(replace(ROW, knobs={"shortlist": 10}), checkpoint, store)
    np.testing.assert_array_equal(ranking.ids_QW, exhaustive[1].ids_QW)
    np.testing.assert_allclose(ranking.scores_QW, exhaustive[1].scores_QW, atol=1e-5)


def test_a_summary_says_how_it_was_computed(rerank, itc):
    plan, _, found = rerank
    assert set(found["stages"]) == {"data", "blip", "index", "ranking"}
    assert found["settings"]["model"] == plan.settings["model"] and found["knobs"] == {"shortlist": 6}
    assert (found["exposure"], found["precision"]) == ("none", "float32 towers, float32 scores")
    # the states of 10 pictures: 5 positions of width 64 in float16; ids and rows of 8 bytes; vectors of 256 floats
    assert found["index_bytes"] == 10 * (5 * 64 * 2 + 8 + 8 + 256 * 4)
    assert itc[2]["index_bytes"] == 10 * (8 + 8 + 256 * 4)


def test_the_protocol_of_blip_gives_the_shortlist(checkpoint):
    row = replace(ROW, knobs={}, settings={"model": str(checkpoint)})
    for dataset, width in (("openmoji-scenes-tiny", 128), ("openmoji-scenes-5k", 256)):
        plan = cell_stages(row, dataset, "clean", 0)
        assert (plan.knobs, plan.depth) == ({"shortlist": width}, 10)
    assert cell_stages(replace(row, method="blip-itc"), "openmoji-scenes-5k", "clean", 0).knobs == {}


def test_another_checkpoint_under_the_same_name_is_another_stage(tmp_path, checkpoint):
    def key(folder):
        return cell_stages(replace(ROW, settings={"model": str(folder)}), "openmoji-scenes-tiny", "clean", 0).ranking.inputs["blip"].key

    folder = write_blip(tmp_path / "model")
    first = key(folder)
    assert key(folder) == first
    write_blip(folder, seed=1)
    assert key(folder) != first


def test_a_broken_picture_is_named(checkpoint, store, rerank, tmp_path):
    split = Dataset(store.run(rerank[0].data)).split("test")
    for name in split.pictures.files[:2]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        whole = split.pictures._read(name)
        (tmp_path / name).write_bytes(whole if name == split.pictures.files[0] else whole[: len(whole) // 2])
    retriever = create("blip", {"model": str(checkpoint)})
    retriever.use({"blip": store.run(rerank[0].ranking.inputs["blip"])})
    with pytest.raises(ValueError, match=f"picture {split.pictures.files[1]} in .* cannot be read"):
        retriever.build(Gallery(np.arange(2), Pictures(tmp_path, split.pictures.files[:2])))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "lavis"}, r"not the BLIP that is trained here: name one with --set blip\.model=MODEL/TYPE.*`prefetch`"),
        ({"model": "no such/name of a model"}, "is neither a file or folder nor a model's name"),
        ({"backend": "lavis", "enc_token": False, "model": "."}, "LAVIS always writes"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        cell_stages(replace(ROW, settings=settings), "openmoji-scenes-tiny", "clean", 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("setting", "value"), [("layers", 7), ("image_size", 100)])
def test_a_shape_that_cannot_be_trained_is_refused_before_anything_runs(setting, value):
    with pytest.raises(ValueError, match=f"impossible setting of blip: training.{setting} = {value}"):
        create("blip", {"training": {setting: value}})


def test_what_is_not_on_this_machine_is_needed(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("VOKENBENCH_LAVIS", str(tmp_path))
    assert create("blip").needs() == []
    assert create("blip", {"model": str(checkpoint)}).needs() == [Need("file", str(checkpoint))]
    lavis = create("blip", {"model": "Salesforce/blip-itm-base-flickr", "backend": "lavis"})
    assert lavis.needs() == [Need("hub", "Salesforce/blip-itm-base-flickr"), Need("environment", "lavis")]
    with pytest.raises(ValueError, match="environment lavis: run `make lavis`"):
        lavis.use({"blip": tmp_path})


@pytest.mark.parametrize("backend", ["transformers", pytest.param("lavis", marks=pytest.mark.slow)])
def test_a_checkpoint_of_lavis_is_found_where_lavis_keeps_it(backend, tmp_path, monkeypatch):
    """By LAVIS's name, in torch.hub's folder, with the momentum towers that it holds; either code base reads it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    blip = create("blip", {"model": "blip_retrieval/flickr", "backend": backend})
    need = Need("lavis", "blip_retrieval/flickr")
    assert blip.needs()[0] == need
    with pytest.raises(ValueError, match=r"not on this machine: LAVIS's checkpoint blip_retrieval/flickr: run `prefetch`"):
        prepare({"model": "blip_retrieval/flickr", "backend": backend, "identity": ""}, {}, tmp_path)
    source = write_blip(tmp_path / "source", **VIT_B)
    weights = to_original(load_file(source / "model.safetensors"))
    file = tmp_path / "torch" / "hub" / "checkpoints" / "blip_flickr_retrieval.pth"
    file.parent.mkdir(parents=True)
    torch.save({"model": {**weights, "temp": torch.tensor(0.05), "visual_encoder_m.norm.weight": torch.zeros(2)}}, file)
    assert identity(need).startswith("sha256:")
    (tmp_path / "out").mkdir()
    prepare({"model": "blip_retrieval/flickr", "backend": backend, "identity": identity(need)}, {}, tmp_path / "out")
    blip.use({"blip": tmp_path / "out"})
    vectors = blip.encode(["a cat"])[1]
    twin = create("blip", {"model": str(source)})
    (tmp_path / "twin").mkdir()
    prepare({"model": str(source), "backend": "transformers", "identity": ""}, {}, tmp_path / "twin")
    twin.use({"blip": tmp_path / "twin"})
    np.testing.assert_allclose(vectors, twin.encode(["a cat"])[1], atol=1e-4)


def test_settings_are_listed_on_the_command_line(capsys):
    assert main(["methods", "blip"]) == 0
    assert "backend" in capsys.readouterr().out


@pytest.mark.slow
def test_lavis_ranks_like_transformers(tmp_path_factory, store):
    """The whole path through the worker: stage, index, ranking of 50 captions."""
    source = write_blip(tmp_path_factory.mktemp("vit"), **VIT_B)
    rankings = []
    for backend in ("transformers", "lavis"):
        settings = {"model": str(source), "precision": "float32", "backend": backend}
        plan = cell_stages(replace(ROW, settings=settings), "openmoji-scenes-tiny", "clean", 0)
        rankings.append(Ranking.load(store.run(plan.ranking) / "ranking.npz"))
    first, second = rankings
    np.testing.assert_allclose(first.scores_QW[:, :6], second.scores_QW[:, :6], atol=1e-3)
    assert (first.ids_QW == second.ids_QW).mean() > 0.99


def test_nothing_heavy_is_imported_to_plan_a_row():
    import subprocess

    source = "import sys; from methods.registry import create; create('blip', {'model': 'a/b'}).needs(); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", source]).returncode == 0
