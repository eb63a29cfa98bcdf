"""What a beam misses: the command runs from end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.run import main
from benchmarks.speed.search_error import BEAMS, latex, markdown
from benchmarks.stages import Store


@pytest.mark.slow
def test_the_command_writes_what_each_search_found(tmp_path, capsys, tiny_features):
    shutil.copytree(tiny_features, tmp_path / "store")
    options = ["--tiny", "--queries", "20", "--rounds", "1", "--results", str(tmp_path / "results"), "--store", str(tmp_path / "store")]
    assert main(["search-error", *options]) == 0
    assert "**Search error.** avg on openmoji-scenes-tiny" in capsys.readouterr().out
    folder = tmp_path / "results" / "openmoji-scenes-tiny"
    lines = {line["way"]: line for line in json.loads((folder / "search-error-avg.json").read_text())["lines"]}
    assert list(lines)[: len(BEAMS)] == [f"beam {beams}" for beams in BEAMS]
    exact = lines["exact, best first"]
    assert lines["beam 1"]["positions"] == 4 < lines["beam 40"]["positions"] <= 1 + 3 * 40
    # a wider beam never shares less of the exact ten by much, and over this small gallery the widest misses next to nothing
    assert lines["beam 40"]["of the ten"] > 0.9
    assert lines["beam 40"]["same first"] >= lines["beam 1"]["same first"] and exact["positions"] >= 4


def test_val_is_not_written(capsys):
    assert main(["search-error", "--tiny", "--split", "val", "--results", "results"]) == 2
    assert "--split val is to look at and --results keeps what was measured on test" in capsys.readouterr().err


def test_a_row_without_a_beam_is_refused(capsys):
    assert main(["search-error", "--tiny", "--rows", "clip"]) == 2
    assert "row clip is not generative, it searches without a beam" in capsys.readouterr().err


def test_what_is_committed_is_what_its_numbers_say():
    paths = list((Path(__file__).resolve().parents[2] / "results").glob("*/search-error-*.json"))
    assert paths
    for path in paths:
        for ending, form in (("md", markdown), ("tex", latex)):
            assert path.with_suffix(f".{ending}").read_text() == form(json.loads(path.read_text()))


def test_a_results_folder_that_cannot_be_is_said_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Store, "run", lambda *_: pytest.fail("a stage was run"))
    assert main(["search-error", "--tiny", "--results", "/dev/null/x", "--store", str(tmp_path)]) == 2
    assert "cannot write to /dev/null/x/openmoji-scenes-tiny (Not a directory): name another folder with" in capsys.readouterr().err
