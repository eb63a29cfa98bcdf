"""What is said of a run where no one watches: how many stages, and how long still."""

from __future__ import annotations

import json

import pytest

from benchmarks.datasets import data_stage
from benchmarks.progress import Bar, Durations
from methods.stage import Stage

FIRST, SECOND, THIRD = (Stage(name, "m:f", {}) for name in ("first", "second", "third"))


@pytest.fixture
def bar(tmp_path):
    path = tmp_path / "durations.json"
    path.write_text(json.dumps({"first": 60, "second": 180, "third": 60}))
    return Bar([FIRST, SECOND, THIRD], Durations(path))


def said(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_line_when_a_stage_begins_and_when_it_ends(bar, capsys):
    bar.begin(FIRST)
    bar.end(FIRST, 60.0)
    bar.begin(SECOND)
    assert said(capsys) == ["[1/3] first: about 5 min left", "[1/3] first: done in 60.0 s", "[2/3] second: about 4 min left"]


def test_a_slow_first_stage_lengthens_the_rest(bar, capsys):
    """Twice as slow as expected over a minute, with a minute of prior: (120 + 60) / (60 + 60) = 1.5 times the four minutes left."""
    bar.end(FIRST, 120.0)
    bar.begin(SECOND)
    assert said(capsys)[-1] == "[2/3] second: about 6 min left"


def test_what_will_not_run_is_not_waited_for(bar, capsys):
    bar.end(FIRST, 60.0)
    bar.keep([THIRD])
    bar.begin(THIRD)
    assert said(capsys)[-1] == "[2/2] third: about 60 s left"


def test_durations_are_averaged_over_stages_of_a_kind(tmp_path):
    durations = Durations(tmp_path / "durations.json")
    durations.remember(FIRST, 10.0)
    durations.remember(FIRST, 20.0)
    assert durations.expected(FIRST) == 15.0


def on(dataset: str) -> Stage:
    return Stage("tokenizer", "m:f", {}, {"data": data_stage(dataset)})


def test_an_unknown_data_set_takes_as_long_as_the_one_nearest_in_size_image_for_image(tmp_path):
    """31,014 images against 11,500, which are nearer than the 440 of the tiny one."""
    durations = Durations(tmp_path / "durations.json")
    durations.remember(on("openmoji-scenes"), 115.0)
    durations.remember(on("openmoji-scenes-tiny"), 1.0)
    assert durations.expected(on("openmoji-scenes-30k")) == pytest.approx(310.14)
    assert durations.expected(on("openmoji-scenes-tiny")) == 1.0


def ranking(method: str, dataset: str = "openmoji-scenes") -> Stage:
    return Stage("ranking", "m:f", {"method": method}, {"data": data_stage(dataset)})


def test_what_a_tiny_run_took_tells_nothing_of_a_whole_one(tmp_path):
    durations = Durations(tmp_path / "durations.json")
    whole = [on("openmoji-scenes"), ranking("avg"), ranking("irgen")]
    before = [durations.expected(stage) for stage in whole]
    for stage in (on("openmoji-scenes-tiny"), ranking("avg", "openmoji-scenes-tiny")):
        durations.remember(stage, 50.0)
    assert [durations.expected(stage) for stage in whole] == before
    durations.remember(on("openmoji-scenes-train2500"), 25.0)
    assert durations.expected(whole[0]) == pytest.approx(25 * 11_500 / 4_000), "not much smaller"


def test_a_slow_method_does_not_speak_for_the_others(tmp_path):
    durations = Durations(tmp_path / "durations.json")
    durations.remember(ranking("blip"), 3000.0)
    durations.remember(ranking("avg"), 100.0)
    assert durations.expected(ranking("avg")) == 100.0
    assert durations.doubt([ranking("avg")]) == ""
    durations.remember(ranking("avg", "openmoji-scenes-30k"), 110.0)
    assert durations.expected(ranking("blip", "openmoji-scenes-30k")) == pytest.approx(3000 * 31_014 / 11_500), "its own, on other data"


def test_a_method_that_never_ran_takes_as_long_as_the_others_on_the_same_data(tmp_path):
    durations = Durations(tmp_path / "durations.json")
    durations.remember(ranking("blip"), 3000.0)
    durations.remember(ranking("avg"), 100.0)
    assert durations.expected(ranking("irgen")) == 1550.0
    assert durations.doubt([ranking("irgen")])


def test_what_never_ran_is_estimated_by_size_too(tmp_path):
    durations = Durations(tmp_path / "durations.json")
    whole, tiny = durations.expected(on("openmoji-scenes")), durations.expected(on("openmoji-scenes-tiny"))
    assert tiny / whole == pytest.approx(340 / 11_500)


def test_what_never_ran_here_is_said_to_be_guessed(tmp_path):
    durations = Durations(tmp_path / "durations.json")
    durations.remember(on("openmoji-scenes"), 115.0)
    assert durations.doubt([on("openmoji-scenes")]) == ""
    assert durations.doubt([on("openmoji-scenes"), on("openmoji-scenes-30k"), FIRST]).startswith(" (of 2, no such stage")
