"""The identifier report: ceilings by hand, what is printed of a record, and the command from end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.identifiers import codes, codes_figure, codes_report
from benchmarks.identifiers.codes import RANDOM, SHARED, caption_means, dual_tower, ideal_matcher, levels, recalls, shared
from benchmarks.identifiers.command import table_of
from benchmarks.run import main
from benchmarks.stages import Store
from benchmarks.statistics import SEED
from methods.code_statistics import random_others
from methods.coding import Coding
from methods.dense import unit
from methods.recall import dense_recall


def coding(rows: list[list[int]]) -> Coding:
    return Coding(np.array(rows), np.arange(len(rows)), 100 + np.arange(len(rows)))


def test_collisions_cap_recall_as_ties_do():
    """Twelve images of one code and one alone: at k a query of the twelve hits with chance k / 12."""
    this = coding([[1, 2]] * 12 + [[3, 4]])
    queries = np.array([0, 5, 12, 12])
    assert recalls(ideal_matcher(this, queries), "expected") == {
        "R@1": pytest.approx(100 * (1 / 12 + 1 / 12 + 2) / 4),
        "R@5": pytest.approx(100 * (5 / 12 + 5 / 12 + 2) / 4),
        "R@10": pytest.approx(100 * (10 / 12 + 10 / 12 + 2) / 4),
    }
    # image 0 stands first in its bucket and image 5 sixth; by codes, nothing is lost
    assert recalls(ideal_matcher(this, queries), "index") == {"R@1": 75.0, "R@5": 75.0, "R@10": 100.0}
    assert recalls(ideal_matcher(this, queries), "codes") == {"R@1": 100.0, "R@5": 100.0, "R@10": 100.0}


def test_the_dual_tower_agrees_with_the_report_of_the_codes_stage():
    rng = np.random.default_rng(0)
    vectors_CD, code_N = rng.normal(size=(30, 4)), np.r_[np.arange(30), rng.integers(0, 30, 20)]
    rows_Q = rng.integers(0, 50, 100)
    texts_QD = vectors_CD[code_N[rows_Q]] + rng.normal(size=(100, 4))
    found = recalls(dual_tower(texts_QD, vectors_CD, code_N, 7 * np.arange(50), rows_Q), "expected")
    assert found["R@1"] == pytest.approx(dense_recall(unit(texts_QD), unit(vectors_CD[code_N]), rows_Q))
    assert found["R@1"] < found["R@5"] < found["R@10"]


def test_pictures_of_equal_vectors_tie_in_the_report_of_vectors():
    """Given as if all were different, as vectors of pictures are: the second of two copies is as good as the first."""
    vectors_ND = np.random.default_rng(0).normal(size=(1000, 256)).astype(np.float32)
    vectors_ND[700] = vectors_ND[3]
    texts_QD = np.random.default_rng(1).normal(size=(500, 256)).astype(np.float32) + 4 * vectors_ND[3]
    for row in (3, 700):
        found = dual_tower(texts_QD, vectors_ND, np.arange(1000), np.arange(1000), np.full(500, row))
        assert recalls(found, "expected")["R@1"] == 50 and recalls(found, "codes")["R@1"] == 100


def test_levels_are_told_of_train_and_of_the_split():
    told = levels(coding([[0, 1], [0, 2]]), coding([[0, 1], [1, 1], [3, 3]]), [np.arange(4)] * 2)
    assert [(level["level"], level["size"]) for level in told] == [("1", 4), ("2", 4), ("all", 4)]
    assert [(level["train"]["dead"], level["split"]["coverage"]) for level in told] == [(1, 0.25), (2, 0.5), (1, 0.75)]


def test_neighbours_share_what_random_images_do_not():
    """Twelve images at each of two places; those of a place have the first voken in common, and nothing else."""
    place_N = np.repeat([0, 1], 12)
    vectors_ND = np.eye(2)[place_N] + 0.01 * np.random.default_rng(0).normal(size=(24, 2))
    found = shared(coding([[place, 100 + n] for n, place in enumerate(place_N)]), vectors_ND, vectors_ND[:, ::-1])
    assert list(found) == list(SHARED)
    assert found["nearest"] == found["pictures"] == found["captions"] == [1.0, 0.0]
    others = random_others(24, RANDOM, np.random.default_rng(SEED))
    assert found["random"] == [(place_N[others] == place_N[:, None]).mean(), 0.0]


def test_an_image_is_where_its_captions_point():
    means = caption_means(np.array([[3.0, 0.0], [0.0, 5.0], [2.0, 0.0]]), np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(means, [[1.0, 1.0], [1.0, 0.0]])


def test_rows_of_any_table_are_found_and_mistakes_are_told():
    assert [row.key for row in table_of(()).rows] == [
        *("grace-numeric", "grace-string", "grace-semantic", "grace-structured"),
        *("irgen", "avg"),
    ]
    assert [(row.key, row.label) for row in table_of(("avg-codebook256", "avg")).rows] == [("avg-codebook256",) * 2, ("avg", "AVG")]
    with pytest.raises(ValueError, match=r"row clip has no identifiers: .*valid are grace-numeric"):
        table_of(("clip",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["codes", "--rows", "avgg"], "unknown row 'avgg': did you mean avg?"),
        (["codes", "--rows", "random"], "row random has no identifiers"),
        (["codes", "--name", "../x"], "--name '../x' becomes part of a file's name"),
        (["codes", "--split", "val", "--results", "results"], "--split val is to look at"),
        (["codes", "--dataset", "openmoji"], "unknown data set"),
        (["figure5", "--row", "clip"], "row clip has no identifiers"),
        (["figure5", "--row", "avg-t5-base"], "openmoji-scenes-tiny has no row avg-t5-base"),
        (["figure5", "--pairs", "0"], "0 is not in the range"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, tmp_path, capsys):
    assert main([*arguments, "--tiny", "--store", str(tmp_path / "store")]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("command", ["codes", "figure5"])
def test_a_results_folder_that_cannot_be_is_said_before_the_work(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Store, "run", lambda *_: pytest.fail("a stage was run"))
    assert main([command, "--tiny", "--results", "/dev/null/x", "--store", str(tmp_path)]) == 2
    assert "cannot write to /dev/null/x/openmoji-scenes-tiny (Not a directory): name another folder with" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, tiny_features) -> Path:
    """A folder with a store in which the tokenizer of `avg` and the identifiers of `grace-structured` are made, and their reports."""
    folder = tmp_path_factory.mktemp("codes")
    shutil.copytree(tiny_features, folder / "store")
    assert main(["codes", "--rows", "avg,grace-structured", *_where(folder, "results")]) == 0
    assert main(["figure5", *_where(folder, "results")]) == 0
    return folder


def _where(folder: Path, results: str) -> list[str]:
    return ["--tiny", "--results", str(folder / results), "--store", str(folder / "store")]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.slow
def test_the_report_needs_no_generator_and_tells_every_row(tiny):
    assert not (tiny / "store" / "generator").exists() and not (tiny / "store" / "index").exists()
    folder = tiny / "results" / "openmoji-scenes-tiny"
    assert {f"codes.{ending}" for ending in ("md", "tex", "csv", "json", "png", "pdf")} <= set(_contents(folder))
    avg, grace = json.loads((folder / "codes.json").read_text())["rows"]
    assert avg["reached"] is None and grace["decoded vectors"] is None and grace["cosines"] is None
    assert grace["unique rate"] == 1.0 and grace["ceiling of collisions"] == {"R@1": 100.0, "R@5": 100.0, "R@10": 100.0}
    assert len(avg["cosines"]) == 5 and all(-1 <= value <= 1 for cosines in avg["cosines"] for value in cosines.values())
    assert avg["decoded vectors"]["R@1"] <= avg["decoded vectors"]["R@10"] <= 100
    assert avg["ceiling of collisions"]["R@1"] <= 100 and avg["largest bucket"] >= 1
    nearest, by_chance = (sum(avg["shared"][kind]) for kind in ("nearest", "random"))
    assert nearest > by_chance
    text = (folder / "codes.md").read_text()
    assert "| AVG" in text and "| GRACE (Structured Id)" in text and "the nearest picture" in text


@pytest.mark.slow
def test_the_same_comes_again_from_the_store_and_from_what_is_committed(tiny, capsys):
    folder = tiny / "results" / "openmoji-scenes-tiny"
    first = _contents(folder)
    assert main(["codes", "--rows", "avg,grace-structured", *_where(tiny, "again")]) == 0
    assert main(["figure5", *_where(tiny, "again")]) == 0
    assert _contents(tiny / "again" / "openmoji-scenes-tiny") == first
    for name in first:
        if not name.endswith(".json") and name not in ("figure5.png", "figure5.pdf"):
            (folder / name).unlink()
    assert main(["render", "--from-committed", "--results", str(tiny / "results")]) == 0
    assert "figure5 in all formats but pictures" in capsys.readouterr().out
    assert _contents(folder) == first


@pytest.mark.slow
def test_a_part_is_written_under_a_name_only(tiny, monkeypatch, capsys):
    monkeypatch.chdir(tiny)
    assert main(["codes", "--rows", "avg", "--tiny", "--store", str(tiny / "store")]) == 0
    assert "written: nowhere" in capsys.readouterr().out
    assert main(["codes", "--rows", "avg", "--name", "one", *_where(tiny, "named")]) == 0
    assert "codes-one.json" in _contents(tiny / "named" / "openmoji-scenes-tiny")


def test_a_report_on_fewer_rows_does_not_take_the_place_of_one_on_more(tmp_path, capsys):
    folder = tmp_path / "openmoji-scenes-tiny"
    folder.mkdir()
    (folder / "codes.json").write_text(before := json.dumps({"format": 1, "rows": [{"row": "avg"}, {"row": "irgen"}]}))
    assert main(["codes", "--rows", "avg", "--tiny", "--results", str(tmp_path), "--store", str(tmp_path / "store")]) == 2
    assert "has irgen besides, which would be lost: give these rows a report of their own with --name" in capsys.readouterr().err
    assert (folder / "codes.json").read_text() == before
    codes_report.refuse_loss(folder, "codes", ["avg", "irgen", "grace-string"])


def test_what_a_row_reached_is_what_its_table_says(tmp_path):
    """The record was made beside an older ranking; of other identifiers the table's recall says nothing."""
    committed = Path(__file__).resolve().parents[2] / "results" / "openmoji-scenes"
    stored, summary = (json.loads((committed / name).read_text()) for name in ("codes.json", "runs/avg-seed0.json"))
    (row,) = (row for row in stored["rows"] if row["row"] == "avg")
    stale = stored | {"rows": [row | {"reached": {"R@1": 1.0, "R@5": 2.0, "R@10": 3.0}}]}
    (tmp_path / "runs").mkdir()
    for stages, reached in ((summary["stages"], summary["metrics"]["R@1"]["value"]), ({"tokenizer": "another"}, 1.0)):
        (tmp_path / "runs" / "avg-seed0.json").write_text(json.dumps(summary | {"stages": stages}))
        codes_report.write(stale, tmp_path)
        assert json.loads((tmp_path / "codes.json").read_text())["rows"][0]["reached"]["R@1"] == pytest.approx(reached)


def test_the_figure_says_where_it_stops(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(codes_figure, "save", lambda figure, *_: kept.append(figure))
    committed = Path(__file__).resolve().parents[2] / "results" / "openmoji-scenes"
    stored = json.loads((committed / "codes.json").read_text())
    short = stored | {"rows": [row for row in stored["rows"] if row["row"] == "avg"]}
    for each, said in ((stored, "level, the first 10"), (short, "level")):
        codes_figure.figure(each, tmp_path, "codes")
        axes = kept[-1].axes[:2]
        assert [axis.get_xlabel() for axis in axes] == [said] * 2
        assert max(len(line.get_xdata()) for line in axes[0].lines) == (10 if each is stored else 4)


def test_what_is_committed_is_what_its_numbers_say():
    for path in (Path(__file__).resolve().parents[2] / "results").glob("*/codes*.json"):
        stored = json.loads(path.read_text())
        for ending, text in (("md", codes_report.markdown), ("tex", codes_report.latex), ("csv", codes_report.csv)):
            assert path.with_suffix(f".{ending}").read_text() == text(stored)


def test_numbers_are_rounded_wherever_they_stand():
    assert codes.rounded({"a": [0.12345678, 3, None], "b": {"c": 1 / 3}}) == {"a": [0.123457, 3, None], "b": {"c": 0.333333}}
