"""Columns that are no recall: what they say, and how a table that has them is printed."""

from __future__ import annotations

import csv as csv_format
import io
from dataclasses import replace

import pytest

from benchmarks import render
from benchmarks.contest import figures
from benchmarks.facts import FACTS, IMAGES, speed_of
from benchmarks.grid import Grid, build_grid
from benchmarks.tables.table2 import TABLE2
from tests.benchmarks.made_evidence import speed_record
from tests.benchmarks.test_render_golden import summary

DATASET = "openmoji-scenes"
KNOWN = replace(TABLE2, rows=tuple(row for row in TABLE2.rows if row.key in ("clip", "avg")))


def summaries() -> list[dict]:
    stages = {"data": 999.0, "encoder": 60.0, "features": 30.0, "features 2": 30.0, "index": 999.0, "ranking": 999.0}
    clip = summary("clip", 0.0) | {"seconds": stages, "index_bytes": 1_000_000}
    avg = [
        summary("avg", 2.0, seed=seed) | {"seconds": {**stages, "generator": 60.0 + 120 * seed}, "index_bytes": 48_000} for seed in (0, 1)
    ]
    return [clip, *avg]


def grid(speed: dict | None) -> Grid:
    return build_grid(KNOWN, [DATASET], summaries(), speed=speed and {DATASET: speed})


def told(made: Grid, key: str) -> dict[str, str]:
    line = next(line for line in made.groups[0].facts if line.key == key)
    return {fact.key: cell.text or cell.state for fact, cell in zip(KNOWN.facts, line.cells, strict=True)}


def test_facts_by_hand():
    made = grid(speed_record())
    assert told(made, "avg") == {
        "paradigm": "generative", "large-sets": "yes", "queries-per-second": "3.33", "training-minutes": "4", "index-mb": "0.048",
        "index-mb-300k": "300",
    }  # fmt: skip
    assert told(made, "clip")["training-minutes"] == "2", "stages that precede an index, and no others"
    # of CLIP's ways the record has one
    assert told(made, "clip")["queries-per-second"] == "missing"
    assert told(made, "clip:clip-hnsw") == {
        "paradigm": "blank", "large-sets": "yes", "queries-per-second": "3.33", "training-minutes": "blank", "index-mb": "blank",
        "index-mb-300k": "300",
    }  # fmt: skip


def test_a_stage_that_rows_share_costs_all_of_them_the_least_that_it_took():
    one, other = summary("clip", 0.0), summary("avg", 2.0)
    one |= {"seconds": {"encoder": 60.0}, "stages": {"encoder": "key"}, "index_bytes": 1}
    other |= {"seconds": {"encoder": 600.0, "generator": 60.0}, "stages": {"encoder": "key", "generator": "own"}, "index_bytes": 1}
    made = build_grid(KNOWN, [DATASET], [one, other], speed={DATASET: speed_record()})
    assert told(made, "clip")["training-minutes"] == "1" and told(made, "avg")["training-minutes"] == "2"


def test_a_method_is_for_large_sets_if_it_answers_a_query_a_second():
    record = speed_record()
    for point in record["points"]:
        point["queries_per_second"] = 0.99
    assert told(grid(record), "avg")["large-sets"] == "no"


def test_without_a_record_the_command_is_named():
    made = grid(None)
    assert told(made, "avg")["queries-per-second"] == told(made, "avg")["large-sets"] == "missing"
    assert told(made, "avg")["training-minutes"] == "4"
    assert any("python -m benchmarks.run figure4 --dataset openmoji-scenes" in note for note in made.groups[0].fact_notes)


def test_all_formats_show_them_beside_the_papers():
    made = grid(speed_record())
    markdown = render.markdown(made)
    header, _, *lines = markdown.split("\n\n")[2].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, *lines)]
    assert len({len(row) for row in cells}) == 1
    avg = dict(zip(cells[0], next(row for row in cells if row[0] == "AVG"), strict=True))
    assert (avg["Queries/s, 300k images"], avg["paper Queries/s, 300k images"], avg["paper Large sets"]) == ("3.33", "16.8", "yes")
    assert "paper Index, MB" not in avg, "no column for what the paper never says"
    hnsw = dict(zip(cells[0], next(row for row in cells if row[0] == "CLIP, FAISS HNSW"), strict=True))
    assert (hnsw["Queries/s, 300k images"], hnsw["Paradigm"]) == ("3.33", "")
    assert "2 threads of Some CPU" in markdown
    cost = next(block for block in render.latex(made).split(r"\begin{table}") if "table2-cost" in block)
    rows = [line for line in cost.splitlines() if line.endswith(r"\\")]
    assert len(rows) == len(cells) and {row.count(" & ") for row in rows} == {len(cells[0]) - 1}
    found = {(line["row"], line["column"]): line for line in csv_format.DictReader(io.StringIO(render.csv(made)))}
    assert found["avg", "queries-per-second"]["paper"] == "16.8" and found["avg", "index-mb"]["value"] == "0.048"
    assert ("clip:clip-hnsw", "R@1") not in found and ("clip:clip-hnsw", "queries-per-second") in found


def test_every_fact_is_known_and_every_series_is_timed():
    assert {fact.key for fact in TABLE2.facts} == set(FACTS) and IMAGES == 300_000
    keys = {row.key for row in TABLE2.rows}
    for reported in TABLE2.reported_facts.values():
        assert set(reported) <= keys and all(set(values) <= set(FACTS) for values in reported.values())


def test_records_are_read_for_tables_that_show_speed_only(tmp_path):
    assert speed_of(replace(TABLE2, facts=()), [DATASET], tmp_path) == speed_of(TABLE2, [DATASET], tmp_path) == {}
    (tmp_path / DATASET).mkdir()
    (tmp_path / DATASET / "efficiency.json").write_text("[]")
    assert speed_of(replace(TABLE2, facts=()), [DATASET], tmp_path) == {}
    with pytest.raises(ValueError, match="is no record of format 1"):
        speed_of(TABLE2, [DATASET], tmp_path)


@pytest.mark.parametrize(("value", "text"), [(0.00007, "0.00007"), (0.000123, "0.000123"), (16.8, "16.8"), (1234.5, "1,234"), (0.0, "0")])
def test_figures_have_no_exponent(value, text):
    assert figures(value) == text


def test_minutes_that_are_of_the_last_run_alone_are_told():
    made = build_grid(KNOWN, [DATASET], [*summaries()[:1], *(one | {"resumed": ["generator", "index"]} for one in summaries()[1:])])
    told_of = [note for note in made.groups[0].fact_notes if "their last run alone" in note]
    assert len(told_of) == 1 and told_of[0].endswith(": AVG (generator)."), "an index is no training"
    assert not any("their last run alone" in note for note in grid(None).groups[0].fact_notes)


def test_a_seed_that_was_interrupted_is_told_whatever_the_others_were():
    clip, first, second = summaries()
    made = build_grid(KNOWN, [DATASET], [clip, first | {"resumed": ["generator"]}, second])
    assert any(note.endswith(": AVG (generator).") for note in made.groups[0].fact_notes)


def test_of_a_stage_that_was_made_twice_the_run_that_was_not_interrupted_counts():
    one, other = summary("clip", 0.0), summary("avg", 2.0)
    one |= {"seconds": {"encoder": 60.0}, "stages": {"encoder": "key"}, "resumed": ["encoder"], "index_bytes": 1}
    other |= {"seconds": {"encoder": 600.0}, "stages": {"encoder": "key"}, "index_bytes": 1}
    made = build_grid(KNOWN, [DATASET], [one, other], speed={DATASET: speed_record()})
    assert told(made, "clip")["training-minutes"] == told(made, "avg")["training-minutes"] == "10"
    assert not any("their last run alone" in note for note in made.groups[0].fact_notes)
