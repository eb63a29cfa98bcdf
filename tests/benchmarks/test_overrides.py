"""Settings of rows: which is stronger, and what mistakes get."""

from __future__ import annotations

import pytest

from benchmarks.overrides import parsed, resolved
from benchmarks.spec import RECALL, Row, Table

ROW = Row(key="row", label="Row", method="pairs")
STEADY = Row(key="steady", label="Steady", method="pairs-steady")
FACTS = Row(key="facts", label="Facts", method="scene-facts")
TABLE = Table(name="small", caption="", columns=RECALL, rows=(ROW, STEADY, FACTS), reported={})


def test_values_are_json_or_words():
    given = parsed(["pairs.offset=2", "pairs.part.shape=long one", "pairs.broken=true", 'pairs-steady.offset="2"'], TABLE)
    assert given == {"pairs": {"offset": 2, "part.shape": "long one", "broken": True}, "pairs-steady": {"offset": "2"}}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("offset=2", "cannot read --set 'offset=2': write METHOD.SETTING=VALUE"),
        ("pairs.offset", "cannot read --set"),
        ("pairs.=3", "cannot read --set"),
        ("pear.offset=2", "no row of the table has the method 'pear': did you mean pairs"),
        ("scene.offset=2", "no row of the table has the method 'scene'"),
        ("pairs.seed=2", "--seeds"),
        ("pairs.part.seed=2", "--seeds"),
    ],
)
def test_what_cannot_be_an_assignment_is_named(assignment, message):
    with pytest.raises(ValueError, match=message):
        parsed([assignment], TABLE)


def test_a_setting_of_a_part_keeps_the_methods_defaults_for_the_others(cell_work):
    assert resolved(ROW, False, {"pairs": {"part.size": 7}}).settings == {"part": {"size": 7, "shape": "round"}}
    assert resolved(ROW, False, {"pairs": {"size": 7}}).settings == {"part": {"size": 7, "shape": "round"}}


def test_the_stronger_wins(cell_work):
    assert resolved(ROW, True, {}).settings == {"part": {"size": 1, "shape": "round"}}
    own = Row(key="row", label="Row", method="pairs", settings={"part": {"size": 5}, "offset": 1})
    assert resolved(own, True, {}).settings == {"part": {"size": 5, "shape": "round"}, "offset": 1}
    assert resolved(own, True, {"pairs": {"size": 6}}).settings == {"part": {"size": 6, "shape": "round"}, "offset": 1}


def test_a_family_is_set_together_and_a_member_more_strongly(cell_work):
    assert resolved(STEADY, False, {"pairs": {"offset": 4}}).settings == {"offset": 4}
    assert resolved(STEADY, False, {"pairs-steady": {"offset": 5}, "pairs": {"offset": 4}}).settings == {"offset": 5}
    assert resolved(ROW, False, {"pairs-steady": {"offset": 5}}).settings == {}


def test_a_search_knob_is_no_setting(cell_work):
    found = resolved(ROW, False, {"pairs": {"beam": 3}})
    assert (found.settings, found.knobs) == ({}, {"beam": 3})


def test_an_unknown_setting_lists_the_valid_ones(cell_work):
    with pytest.raises(ValueError, match=r"unknown setting 'siz' of pairs.*part\.size"):
        resolved(ROW, False, {"pairs": {"siz": 3}})


def test_a_row_of_facts_has_no_settings(cell_work):
    assert resolved(FACTS, True, {}) is FACTS


def test_a_settings_file_is_weaker_than_everything_but_the_methods_own(cell_work):
    base = {"pairs": {"part.size": 9, "offset": 3}, "pairs-steady": {"offset": 8}}
    assert resolved(ROW, False, {}, base=base).settings == {"part": {"size": 9, "shape": "round"}, "offset": 3}
    assert resolved(ROW, True, {}, base=base).settings == {"part": {"size": 1, "shape": "round"}, "offset": 3}
    assert resolved(STEADY, False, {}, base=base).settings == {"offset": 8}, "a member's own, and none of what it does not have"
    own = Row(key="row", label="Row", method="pairs", settings={"offset": 1})
    assert resolved(own, False, {"pairs": {"size": 6}}, base=base).settings == {"part": {"size": 6, "shape": "round"}, "offset": 1}
