"""The list of claims is whole and can be tested; the paper's contradictions are what their arithmetic says."""

from __future__ import annotations

import re

import pytest

from benchmarks.paired import ALPHA
from benchmarks.paper.claims import CLAIMS, table_claims
from benchmarks.paper.inconsistencies import INCONSISTENCIES
from benchmarks.paper.judgement import rows_of
from benchmarks.paper.statements import SLIGHT, Beats, Rises
from benchmarks.statistics import RANDOMISATION_RESAMPLES
from benchmarks.tables import TABLES, table

SENTENCES = {
    # sentences of a section, by the rule in `Statement`
    "abstract": 9, "1": 35, "4.3": 19, "4.4": 17, "4.5": 15, "4.6.1": 10, "4.6.2": 11, "4.6.3": 12, "4.6.4": 9, "4.6.5": 11, "4.6.6": 9,
}  # fmt: skip


def test_claims_stand_in_the_paper_and_are_listed_once():
    assert len({statement.key for statement in CLAIMS}) == len({statement.text for statement in CLAIMS}) == len(CLAIMS)
    for statement in CLAIMS:
        assert len(set(statement.said)) == len(statement.said)
        for section, sentence in statement.said:
            assert sentence is None if section not in SENTENCES else 1 <= sentence <= SENTENCES[section], statement.key
    assert {section for statement in CLAIMS for section, _ in statement.said} >= set(SENTENCES), "every section claims something"


@pytest.mark.parametrize("statement", CLAIMS, ids=lambda statement: statement.key)
def test_the_named_command_measures_the_rows(statement):
    if statement.measured_by in TABLES:
        rows = {row.key: row for row in table(statement.measured_by).rows}
        assert set(rows_of(statement.test)) <= set(rows)
        for dataset in ("flickr30k", "mscoco-5k", "openmoji-scenes"):
            applies = {key for key, row in rows.items() if row.applies_to(dataset)}
            assert set(rows_of(statement.asked_of(dataset))) <= applies


def test_holm_can_still_find_something():
    """The least p of so many resamples, times the number of orderings of a recall, must be below the level."""
    pairs: dict[str, set[frozenset[str]]] = {}
    for statement in CLAIMS:
        for test in (statement.test, *statement.on.values()):
            if isinstance(test, Beats | Rises):
                for column in test.columns:
                    pairs.setdefault(column, set()).update(map(frozenset, test.pairs))
    assert max(map(len, pairs.values())) / (1 + RANDOMISATION_RESAMPLES) < ALPHA


def test_tables_show_claims_of_the_list():
    (claim,) = table_claims("semantic")
    assert (claim.text, claim.source, claim.better) == ("Semantic Id beats Numeric and String Id", "§4.3", "grace-semantic")
    assert claim.worse == ("grace-numeric", "grace-string") and claim.column == "R@1"
    keys = {statement.key: statement.text for statement in CLAIMS}
    for name in TABLES:
        assert all(keys[claim.key] == claim.text for claim in table(name).claims)
    with pytest.raises(AssertionError, match="no ordering"):
        table_claims("embedding")


def test_places_are_grouped_by_section():
    by_key = {statement.key: statement for statement in CLAIMS}
    assert by_key["avg-irgen"].places == "§4.3 (8, 19), abstract (9), §1 (30, 35)"
    assert (by_key["structured"].places, by_key["structured"].source) == ("Table 1", "Table 1")


def test_the_margin_is_where_the_papers_words_change():
    lengths, codebooks = table("table5").reported["flickr30k"], table("table4").reported["flickr30k"]
    slight = [round(six - eight, 6) for six, eight in zip(lengths["avg-length6"], lengths["avg-length8"], strict=True)]
    significant = [round(full - small, 6) for full, small in zip(codebooks["avg-beam10"], codebooks["avg-codebook256"], strict=True)]
    assert max(slight) == SLIGHT == min(significant)


@pytest.mark.parametrize("each", INCONSISTENCIES, ids=lambda each: each.key)
def test_contradictions_are_what_their_arithmetic_says(each):
    """`a = b` holds as printed, `a > b` holds: the expressions hold numbers only."""
    if each.shown:
        assert re.fullmatch(r"(round\(|[\d.,\s()+*/>=-])+", each.shown)
        equal, (left, right) = "=" in each.shown, re.split("[=>]", each.shown)
        one, other = (eval(side, {"__builtins__": {"round": round}}) for side in (left, right))
        assert one == pytest.approx(other) if equal else one > other
    assert each.text.endswith(".") and each.where


def test_contradictions_hold_the_numbers_of_the_tables():
    by_key, first = {each.key: each.shown for each in INCONSISTENCIES}, table("table1").reported["flickr30k"]
    assert by_key["string-semantic"] == f"{first['grace-string'][0]} > {first['grace-semantic'][0]}"
    assert all(string > semantic for string, semantic in zip(first["grace-string"], first["grace-semantic"], strict=True))
    ablation = table("table3").reported["flickr30k"]
    assert by_key["embedding-rises"] == f"{ablation['avg-without-voken-embedding'][0]} > {ablation['avg-beam10'][0]}"
    assert by_key["two-beams"].startswith(f"{first['avg'][2]} - {ablation['avg-beam10'][2]} =")
