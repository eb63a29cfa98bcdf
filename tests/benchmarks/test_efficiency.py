"""What is made of the seconds, and the command from end to end."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.drawing import apart
from benchmarks.run import main
from benchmarks.speed.checkpoint import Checkpoint
from benchmarks.speed.efficiency import LEAST, SERIES, Answers, measured, paired
from benchmarks.speed.efficiency_figure import LOOKS, NAMES
from benchmarks.speed.served import plans
from benchmarks.stages import Store
from methods.dense import unit
from methods.timing.serving import Models, Way, shared

QUERIES = ("a cat", "two dogs", "a red hat")


class Slow:
    """Models of two ways, one much slower than the other."""

    def __init__(self):
        self.asked, self.made = [], []

    def ways(self, images, gallery, wanted, probe):
        self.made.append((gallery, images))

        def encode(texts):
            self.asked.append(list(texts))
            return texts

        for name, seconds in (("clip-paper", 0.03), ("clip-hnsw", 0.0), ("avg-beam10", 0.000002 * images)):
            if wanted(name):
                yield name, Way(encode, lambda encoded, seconds=seconds: time.sleep(seconds), 8 * images)


def test_every_way_has_its_points_and_what_reads_everything_only_where_it_matters():
    points = measured(
        Slow(), QUERIES, [100, 1000], ["clip-paper", "avg-beam10"], rounds=25, seconds=0.1, hnsw_to=1, say=lambda text: None
    )  # fmt: skip
    at = {(p["series"], p["gallery"], p["images"], p["batch"]): p for p in points}
    # one query at a time only, and its time does not depend on clusters
    assert {key[1:] for key in at if key[0] == "clip-paper"} == {("random", 100, 1), ("random", 1000, 1)}
    assert len([key for key in at if key[0] == "avg-beam10"]) == 2 * 2 + 2
    slow, quick = at["clip-paper", "random", 1000, 1], at["avg-beam10", "random", 100, 1]
    assert slow["rounds"] == LEAST and slow["search_p95_ms"] is None and slow["search_ms"] >= 30
    assert LEAST < quick["rounds"] <= 25 and quick["search_p95_ms"] >= quick["search_ms"] >= 0.2
    assert quick["queries_per_second"] == pytest.approx(1000 / quick["both_ms"])
    assert quick["both_ms"] >= quick["search_ms"] > quick["encode_ms"] and quick["index_bytes"] == 800
    batched = at["avg-beam10", "random", 1000, 32]
    assert batched["queries_per_second"] == pytest.approx(1000 / batched["both_ms"]) and batched["search_ms"] >= 2 / 32


@pytest.mark.parametrize(
    ("series", "galleries"), [(["clip-paper"], [("random", 1), ("random", 2)]), (["clip-hnsw"], [("random", 1), ("clustered", 1)])]
)
def test_a_gallery_of_which_nothing_is_wanted_is_not_made_ready(series, galleries):
    """What reads every vector is not timed in clustered galleries, and HNSW not in large ones."""
    models = Slow()
    said = []
    points = measured(models, QUERIES, [1, 2], series, rounds=1, seconds=0, hnsw_to=1, say=said.append)
    assert models.made == galleries and len([line for line in said if "ready after" in line]) == len(galleries)
    assert {point["series"] for point in points} == set(series)


def test_what_was_timed_before_a_kill_is_not_timed_again(tmp_path, capsys):
    how = {"rounds": 1, "seconds": 0.0, "hnsw_to": 1, "say": lambda text: None}
    whole, store, of = [100, 1000], Store(tmp_path), {"settings": {"rounds": 1}}
    models, said = Slow(), []

    def killed(images, *rest):
        if len(models.made) == 2:
            raise KeyboardInterrupt
        return Slow.ways(models, images, *rest)

    models.ways = killed
    with pytest.raises(KeyboardInterrupt):
        measured(models, QUERIES, whole, ["avg-beam10"], **how, once=Checkpoint(store, of, said.append).once)
    again, checkpoint = Slow(), Checkpoint(store, of, said.append)
    points = measured(again, QUERIES, whole, ["avg-beam10"], **how, once=checkpoint.once)
    assert models.made == [("random", 100), ("random", 1000)] and again.made == [("clustered", 100), ("clustered", 1000)]
    assert [(p["gallery"], p["images"], p["batch"]) for p in points] == [
        ("random", 100, 1), ("random", 100, 32), ("random", 1000, 1), ("random", 1000, 32), ("clustered", 100, 1), ("clustered", 1000, 1),
    ]  # fmt: skip
    assert said == [f"2 galleries were timed before, and are not again; delete {checkpoint.path} to begin anew"]
    other = Checkpoint(store, {"settings": {"rounds": 2}}, said.append)
    assert other.path != checkpoint.path and len(said) == 1, "of other settings nothing was timed"
    checkpoint.remove()
    other.remove()
    assert not list(checkpoint.path.parent.iterdir())
    checkpoint.path.write_text("{")
    with pytest.raises(ValueError, match=r"is damaged .*: delete it and run figure4 again"):
        Checkpoint(store, of, said.append)


def test_grace_is_trained_only_where_it_is_timed():
    timed = (["clip-flat", "blip-pairs"], list(SERIES))
    rows = [{plan.row.key for plan in plans("openmoji-scenes-tiny", True, series)} for series in timed]
    assert rows == [{"clip", "avg"}, {"clip", "avg", "grace-structured"}]


def test_generators_of_full_size_compute_in_the_format_of_towers(monkeypatch):
    from methods.timing.full_size import models

    for format_ in ("float32", "bfloat16"):
        monkeypatch.setenv("VOKENBENCH_PRECISION", format_)
        assert str(next(models(tiny=True).avg.generator.parameters()).dtype) == f"torch.{format_}"


def test_a_text_tower_of_full_size_gives_without_padding_what_it_gives_with_it(monkeypatch):
    import torch

    from methods.timing.full_size import TEXT_TINY, TextTower

    monkeypatch.setenv("VOKENBENCH_PRECISION", "float32")
    tower, texts = TextTower(TEXT_TINY), ["a dog", "a cat next to a large red apple on a table"]
    read = []
    tower.model.register_forward_pre_hook(lambda _, given, named: read.append(named["input_ids"].shape), with_kwargs=True)
    with torch.inference_mode():
        padded = unit(tower.model(input_ids=tower.tokenize(texts)).text_embeds.numpy())
    np.testing.assert_allclose(tower(texts), padded, atol=1e-6)
    assert read == [(2, 77), (2, 13)], "both with a token before and one after the words"
    np.testing.assert_allclose(tower(texts[:1]), padded[:1], atol=1e-6)
    assert read[-1] == (1, 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--seconds", "nan"], "nan is no number of seconds"),
        (["--seconds", "inf"], "inf is no number of seconds"),
        (["--sizes", "1e14"], "at most 1,000,000,000"),
        (["--sizes", "1e9", "--full-size"], "1,000,000,000 images take some 596 GiB of memory, and"),
    ],
)
def test_what_no_machine_can_do_is_refused_in_a_line(given, message, tmp_path, tiny_features, capsys):
    shutil.copytree(tiny_features, tmp_path / "store")
    assert main(["figure4", "--tiny", *given, "--store", str(tmp_path / "store"), "--results", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_queries_come_by_turns():
    models = Slow()
    ((_, way),) = models.ways(1, "random", lambda name: name == "avg-beam10", ())
    answers = Answers(way, QUERIES, 2)
    for _ in range(3):
        answers()
    assert models.asked == [["a cat", "two dogs"], ["a red hat", "a cat"], ["two dogs", "a red hat"]]
    assert len(answers.encoding) == 3


def test_pairs_are_added_up_by_hand():
    point = {"series": "clip-matrix", "gallery": "random", "batch": 1, "images": 1000, "encode_ms": 5.0, "search_ms": 2.0}
    points = paired([{**point, "index_bytes": 100}], {"pair": 0.004, "caption": 0.006}, 50, list(SERIES))
    found = {p["series"]: p for p in points}
    assert all(p["extrapolated"] for p in points)
    assert found["blip-pairs"]["queries_per_second"] == pytest.approx(1 / 4.0), "a thousand pairs of 4 ms"
    assert found["blip-rerank"]["both_ms"] == pytest.approx(6 + 2 + 128 * 4)
    assert found["clip-blip"]["both_ms"] == pytest.approx(5 + 2 + 128 * 4)
    assert found["clip-blip"]["index_bytes"] == 50_100 and found["blip-pairs"]["index_bytes"] == 50_000
    (few,) = paired([{**point, "images": 10, "index_bytes": 1}], {"pair": 0.004, "caption": 0.006}, 50, ["blip-rerank"])
    assert few["search_ms"] == pytest.approx(2 + 10 * 4), "no more pairs than pictures"


def test_what_an_inexact_search_misses():
    assert shared(np.array([[1, 2], [5, -1]]), np.array([[2, 1], [5, 6]])) == 0.75
    padded = np.array([[3, 1, -1], [5, -1, -1], [6, -1, -1]]), np.array([[1, 2, 3], [5, -1, -1], [5, -1, -1]])
    assert shared(*padded) == pytest.approx((2 / 3 + 1 + 0) / 3), "what pads is found by nobody"


def test_names_keep_apart_and_near_their_lines():
    assert apart({"a": 0.1, "b": 0.9}, 0.05) == {"a": 0.1, "b": 0.9}
    crowd = apart({"a": 0.5, "b": 0.5, "c": 0.5}, 0.1)
    assert crowd == pytest.approx({"a": 0.4, "b": 0.5, "c": 0.6})
    top = apart(dict.fromkeys("abc", 1.0) | {"low": 0.98}, 0.1)
    assert max(top.values()) == pytest.approx(1.0) and min(np.diff(sorted(top.values()))) >= 0.1 - 1e-9
    assert min(top, key=lambda name: top[name]) == "low"


def test_every_series_can_be_told_in_grey():
    assert set(LOOKS) == set(NAMES) == set(SERIES)
    assert len({(mark, dashes) for _, mark, dashes in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--series", "avg-beam11"], "unknown series 'avg-beam11': did you mean avg-beam10?"),
        (["--sizes", "many"], "give numbers of images"),
        (["--sizes", "0"], "at least one image"),
        (["--sizes", "inf"], "give numbers of images"),
        (["--series", "clip-hnsw", "--hnsw-to", "500"], "clip-hnsw is timed in galleries of up to 500 images: name smaller --sizes, or a"),
        (["--dataset", "openmoji-scenes,openmoji-scenes-5k"], "figure4 serves the models of one data set"),
    ],
)
def test_what_cannot_be_is_named(options, message, capsys):
    assert main(["figure4", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("full_size", "series"),
    [
        (True, tuple(SERIES)),
        (False, ("clip-paper", "clip-matrix", "clip-hnsw", "avg-beam20", "grace-structured", "avg-clip", "blip-pairs")),
    ],
)
def test_the_command_writes_record_and_figure(full_size, series, tmp_path, tiny_features, capsys):
    shutil.copytree(tiny_features, tmp_path / "store")
    options = ["--tiny", "--sizes", "100", "--rounds", "1", "--pairs", "2", "--results", str(tmp_path), "--store", str(tmp_path / "store")]
    assert main(["figure4", *options, "--series", ",".join(series), *(["--full-size"] if full_size else [])]) == 0
    ending = "-full-size" if full_size else ""
    folder: Path = tmp_path / "openmoji-scenes-tiny"
    assert {path.name for path in folder.iterdir()} == {
        f"efficiency{ending}.json", *(f"figure4{ending}.{form}" for form in ("md", "csv", "png", "pdf")),
    }  # fmt: skip
    found = json.loads((folder / f"efficiency{ending}.json").read_text())
    assert {point["series"] for point in found["points"]} == set(series)
    of_one = {(p["gallery"], p["batch"]) for p in found["points"] if p["series"] == "avg-beam20"}
    assert of_one == {("random", 1), ("random", 32), ("clustered", 1)}
    assert all(p["queries_per_second"] > 0 and p["index_bytes"] > 0 for p in found["points"])
    assert found["blip"]["pairs"] == 2 and found["machine"]["products"] == "float32"
    assert set(found["models"]) == (set() if full_size else {"clip", "avg", "grace-structured"})
    exact = [p["of_the_ten"] for p in found["points"] if p["series"] == "clip-hnsw"]
    assert min(exact) > 0.9, "of a hundred images a graph misses next to nothing"
    heading = "Figure 4 at full model size" if full_size else "Figure 4"
    assert ("with random weights" in capsys.readouterr().out.split(f"\n**{heading}.**")[1].split("BLIP")[0]) == full_size


@pytest.mark.slow
def test_a_command_that_was_ended_goes_on(tmp_path, tiny_features, capsys, monkeypatch):
    """With a series of which clustered galleries have none."""
    shutil.copytree(tiny_features, tmp_path / "store")
    options = ["--tiny", "--full-size", "--sizes", "50,100", "--rounds", "1", "--pairs", "2", "--series", "blip-pairs"]
    command = ["figure4", *options, "--store", str(tmp_path / "store"), "--results", str(tmp_path / "results")]
    with monkeypatch.context() as patched:
        patched.setattr("benchmarks.speed.efficiency.pair_seconds", lambda *given: pytest.exit("killed"))
        with pytest.raises(pytest.exit.Exception):
            main(command)
    (kept,) = (tmp_path / "store" / "figure4").iterdir()
    before = json.loads(kept.read_text())["timed"]
    assert {point["series"] for part in before.values() for point in part} == {"clip-matrix"}
    assert list(before) == ["random 50", "random 100"]
    capsys.readouterr()
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "2 galleries were timed before" in out and "ready after" not in out
    assert not kept.exists(), "the whole is in the results"
    points = json.loads((tmp_path / "results" / "openmoji-scenes-tiny" / "efficiency-full-size.json").read_text())["points"]
    assert [point["series"] for point in points] == ["blip-pairs"] * 2, "what a shortlist is chosen by was not asked for"
    assert main(command) == 0, "the same part takes its own place"


def test_each_way_searches_with_its_own_model_and_beam():
    class Asked:
        generator, encode, index_bytes = SimpleNamespace(tokens=30), list, int

        def __init__(self, name):
            self.name = name

        def use_index(self, arrays):
            pass

        def search(self, encoded, k, knobs):
            return self.name, k, knobs.beam

    avg, grace = Asked("avg"), Asked("grace")
    models = Models(encode=list, vectors_RD=np.ones((1, 2)), avg=avg, codes_RL=np.zeros((1, 2), int), grace=grace)
    wanted = {f"avg-beam{beam}": ("avg", 10, beam) for beam in (10, 20, 40)} | {"grace-structured": ("grace", 10, 10)}
    assert {name: way.search(()) for name, way in models.ways(50, "random", wanted.__contains__, ())} == wanted
