"""A leak is seen by what the stages read, whatever the method says of itself."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import campaign, leakage, results_folder
from benchmarks.cells import cell_stages, summary
from benchmarks.grid import build_grid
from benchmarks.protocol import protocol
from benchmarks.run import main
from benchmarks.spec import RECALL, Row, Table
from methods.stage import Stage

ROW = Row(key="row", label="Row", method="pairs")
TABLE = Table(name="small", caption="", columns=RECALL, rows=(ROW,), reported={})


def honest(config, inputs, out):
    (out / "offset.json").write_text("0")


def trains_on_test(config, inputs, out):
    from methods.data import Dataset

    assert Dataset(inputs["data"]).split("test").captions
    honest(config, inputs, out)


def opens_the_file(config, inputs, out):
    assert json.loads((inputs["data"] / "test.json").read_text())["captions"]
    honest(config, inputs, out)


def selects_on_test(config, inputs, out):
    from methods.reads import selecting

    with selecting():
        trains_on_test(config, inputs, out)


@pytest.fixture
def planted(cell_work, store, monkeypatch):
    """Measures the row with a training stage of this module; returns its summary."""

    def measure(function, protocol_name: str = "clean"):
        def stages(self, data, exposure):
            return {"offset": Stage("offset", "cell_work:planted", {"function": function.__name__}, {"data": data})}

        monkeypatch.setattr(cell_work, "planted", function, raising=False)
        monkeypatch.setattr(cell_work.Pairs, "stages", stages)
        plan = cell_stages(ROW, "ten", protocol_name, 0)
        folder = store.run(plan.ranking)
        return summary(plan, folder, store.run(plan.data), store.report(plan.ranking), RECALL)

    return measure


def faults(found) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.stage, each.use, each.forbidden) for each in leakage.readings(found) if each.forbidden]


def test_a_clean_run_is_clean_and_says_what_it_read(planted):
    found = planted(honest)
    assert faults(found) == []
    assert leakage.notes([found], {"row": "Row"}) == []
    assert [(each.stage, each.use, dict(each.splits)) for each in leakage.readings(found)] == [
        ("index", "indexing", {"pictures": ["test"]}),
        ("ranking", "evaluation", {"captions": ["test"]}),
    ]


@pytest.mark.parametrize(
    ("function", "forbidden"), [(trains_on_test, ("captions of test",)), (opens_the_file, ("pictures of test", "captions of test"))]
)
def test_a_planted_leak_is_seen_and_stands_under_the_table(planted, function, forbidden):
    found = planted(function)
    assert faults(found) == [("offset", "training", forbidden)]
    grid = build_grid(TABLE, ["ten"], [found])
    (note,) = [note for note in grid.groups[0].notes if note.startswith("LEAK")]
    assert note == f"LEAK: Row: stage offset read {' and '.join(forbidden)} in training, which protocol clean does not allow."
    text, lines = leakage.report([found])
    assert "NOT ALLOWED" in text and len(lines) == 1


def test_selection_on_test_is_allowed_where_the_protocol_says_so_and_marked(planted):
    assert faults(planted(selects_on_test)) == [("offset", "selection", ("captions of test",))]
    found = planted(selects_on_test, "official")
    assert faults(found) == []
    assert found["selection"] == "test"
    grid = build_grid(TABLE, ["ten"], [found])
    assert "protocol official, selection on test" in grid.groups[0].notes[0]
    assert "nobody sees their true captions" not in " ".join(grid.notes)


def test_exposure_allows_pictures_and_pseudo_queries_but_no_captions():
    exposed = {"images": [], "pseudo_queries": [], "learned": ["test"], "selection": "val"}
    own = {"pictures": ["train", "test"], "captions": ["train", "test"], "pseudo-queries": ["test", "val"]}
    cell = {"row": "avg", "seed": 0, "protocol": "official", "split": "test", "exposed": exposed, "reads": {"tokenizer 2": {"own": own}}}
    assert faults(cell) == [("tokenizer 2", "training", ("captions of test", "pseudo-queries of val"))]


def test_a_stage_that_recorded_nothing_is_named_and_not_believed(planted):
    found = planted(honest)
    older = replace_reads(found, "offset", None)
    with pytest.raises(ValueError, match=rf"row: stage offset \({found['stages']['offset']}\) ran before reads were recorded; delete it"):
        leakage.readings(older)
    assert leakage.report([older])[1][0].startswith("unknown: row")
    assert leakage.notes([older], {"row": "Row"}) == []


def replace_reads(found, stage, value):
    return {**found, "reads": {**found["reads"], stage: value}}


@pytest.mark.parametrize(("function", "code"), [(honest, 0), (trains_on_test, 1)])
def test_the_command_ends_with_1_where_something_leaked(planted, results, monkeypatch, capsys, function, code):
    monkeypatch.setattr("benchmarks.tables.table", lambda name: TABLE)
    found = planted(function)
    results_folder.write(TABLE, ["ten"], "clean", campaign.Measured(summaries=[found]), results)
    assert main(["leakage", "small", "--dataset", "ten", "--from-committed", "--results", str(results)]) == code
    printed = capsys.readouterr().out
    assert ("LEAK: row: stage offset read captions of test" in printed) == bool(code)
    assert ("protocol clean allows all of this" in printed) == (not code)


def test_nothing_measured_is_a_mistake_of_the_user(cell_work, store, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.tables.table", lambda name: replace(TABLE, rows=(ROW,)))
    assert main(["leakage", "small", "--dataset", "ten", "--store", str(store.root)]) == 2
    assert "nothing of small on ten under protocol clean was measured yet" in capsys.readouterr().err


def test_selection_is_on_test_in_official_alone():
    assert [name for name in ("clean", "paper", "official") if protocol(name).selection == "test"] == ["official"]
