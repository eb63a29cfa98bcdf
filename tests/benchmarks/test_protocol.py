"""Protocols: what each fixes is what the stages get, and what `explain-protocol` says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from benchmarks.campaign import plan_cells
from benchmarks.cells import CellPlan
from benchmarks.explain import differences, explained, rules
from benchmarks.overrides import resolved
from benchmarks.protocol import FACTORS, PROTOCOLS, exposure_for, protocol
from benchmarks.side_by_side import TIES_ONLY
from benchmarks.spec import Row
from benchmarks.tables import table
from methods.registry import METHODS, create

TABLE1 = table("table1")
PAIRS = list(itertools.combinations(PROTOCOLS, 2))


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def plans(name: str) -> dict[str, CellPlan]:
    return {plan.row.key: plan for plan in plan_cells(TABLE1, ["openmoji-scenes-tiny"], name)}


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_protocols_change_exactly_what_explain_says(one, other):
    """Settings, beams, exposure and selection of every row, resolved, differ where `differences` says so and nowhere else."""
    said = differences(protocol(one), protocol(other))
    ours, theirs = plans(one), plans(other)
    found = {}
    for row, plan in ours.items():
        family = row.partition("-")[0]
        mine, yours = dict(flat(plan.settings)), dict(flat(theirs[row].settings))
        assert mine.keys() == yours.keys()
        found |= {f"{family}.{key}": (str(mine[key]), str(yours[key])) for key in mine if mine[key] != yours[key]}
    assert found == {what: pair for what, pair in said.items() if "." in what}
    assert ("beam" in said) == any(plan.knobs != theirs[row].knobs for row, plan in ours.items())
    assert ("selection" in said) == any(plan.exposure.selection != theirs[row].exposure.selection for row, plan in ours.items())
    assert ("test images in training" in said) == any(plan.exposure.learned != theirs[row].exposure.learned for row, plan in ours.items())
    assert ("ties" in said) == (protocol(one).ties != protocol(other).ties)


def test_the_protocols_are_the_ones_of_the_design():
    clean, paper, official = (protocol(name) for name in ("clean", "paper", "official"))
    assert [each.ties for each in (clean, paper, official)] == ["expected", "expected", "codes"]
    assert [each.selection for each in (clean, paper, official)] == ["val", "val", "test"]
    assert [each.learns_test for each in (clean, paper, official)] == [False, False, True]
    for each in (paper, official):
        assert [each.beam(method) for method in ("avg", "irgen", "grace-string")] == [40, 30, 10]
    assert {clean.beam(method) for method in METHODS} == {40}
    assert not clean.settings, "clean is what the methods themselves say"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_a_protocol_fixes_exists_and_tiny_rows_and_set_are_stronger(name):
    for family, settings in protocol(name).settings.items():
        row = Row(key=family, label="", method=family)
        config = create(family, resolved(row, False, {}, protocol(name)).settings).config.model_dump(mode="json")
        assert {address: dict(flat(config))[address] for address in settings} == {address: each.value for address, each in settings.items()}
        (address, each), *_ = settings.items()
        part, _, setting = address.partition(".")
        own = create(family).config.model_dump(mode="json")[part][setting]
        stronger = Row(key=family, label="", method=family, settings={part: {setting: own}})
        assert resolved(stronger, False, {}, protocol(name)).settings[part][setting] == own != each.value
        assert resolved(row, False, {family: {address: own}}, protocol(name)).settings[part][setting] == own
        tiny = type(create(family).config).tiny()["generator"]["candidates"]
        assert resolved(row, True, {}, protocol(name)).settings["generator"]["candidates"] == tiny


def test_one_factor_protocols_differ_from_clean_in_one_thing():
    for each in FACTORS:
        assert len(differences(protocol("clean"), each)) == 1
    assert TIES_ONLY == ("clean+codes",)
    assert [plan.ranking.key for plan in plans("clean").values()] == [plan.ranking.key for plan in plans("clean+codes").values()]


def test_work_that_protocols_have_in_common_is_done_once():
    clean, paper, official = (plans(name) for name in ("clean", "paper", "official"))

    def keys(of: CellPlan, name: str) -> set[str]:
        return {stage.key for stage in of.ranking.ancestors() if stage.name == name}

    for row in clean:
        assert keys(clean[row], "encoder") == keys(paper[row], "encoder") == keys(official[row], "encoder")
    assert keys(clean["irgen"], "generator") == keys(paper["irgen"], "generator") != keys(official["irgen"], "generator")
    assert keys(clean["clip"], "ranking") == keys(official["clip"], "ranking")
    assert keys(clean["avg"], "tokenizer") == keys(plans("clean+test-selection")["avg"], "tokenizer")
    assert keys(official["avg"], "pseudo-queries") == keys(official["irgen"], "pseudo-queries")
    assert keys(official["avg"], "pseudo-queries") < keys(official["grace-semantic"], "pseudo-queries")


@pytest.mark.parametrize(
    ("row", "label"),
    [("avg", "pseudo-queries"), ("grace-numeric", "image-to-id + pseudo-queries"), ("clip", "none"), ("scene-facts", "none")],
)
def test_official_shows_test_pictures_to_generative_methods(row, label):
    exposure = exposure_for(TABLE1.row(row), protocol("official"))
    assert exposure.label == label
    assert exposure.learned == (("test",) if "pseudo" in label else ())
    assert exposure_for(TABLE1.row("avg"), protocol("paper")).label == "none"


def test_all_protocols_are_explained_with_their_sources():
    text = explained()
    for name in ("clean", "paper", "official"):
        assert f"{name}: {protocol(name).text}" in text
        alone = explained(name)
        for family, settings in protocol(name).settings.items():
            for address, each in settings.items():
                assert each.source in alone
                assert f"{family}.{address}" in text
        assert all(what in alone and why in alone for what, why in protocol(name).left_out)
    assert "16 differences" in explained("official").split("Against clean, ")[1].splitlines()[0]
    for each in FACTORS:
        assert each.name in text
    assert set(rules(protocol("clean"))) == {"beam", "ties", "selection", "test images in training"}
    with pytest.raises(ValueError, match="did you mean paper"):
        explained("papre")
