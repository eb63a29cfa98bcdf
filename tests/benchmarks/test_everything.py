"""`all`: one plan over every table, and what tables share is done once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial

import pytest

from benchmarks import campaign
from benchmarks.everything import further, plan_lines
from benchmarks.run import cli, main
from benchmarks.stages import StageFailed
from methods.stage import Stage
from tests.benchmarks.test_campaign import TABLE


def run(folder, *arguments):
    return subprocess.run([sys.executable, "-m", "benchmarks.run", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_plan_counts_what_is_shared_once(cell_work, store):
    plans = {"one": campaign.plan_cells(TABLE, ("ten",)), "two": campaign.plan_cells(TABLE, ("ten",), seeds=2)}
    text = "\n".join(plan_lines(plans, store, 2))
    first, second = (len(campaign.missing(of_table, store)) for of_table in plans.values())
    rows = [line.split() for line in text.splitlines()]
    assert ["one", "3", str(first), str(first), "0"] in [row[:5] for row in rows]
    assert ["two", str(len(plans["two"])), str(second), str(first)] in [row[:4] for row in rows]
    assert f"{second} stages are missing, {first} of them for several tables" in text
    assert "on 2 processes" in text


def test_what_follows_the_tables_are_commands_as_a_user_types_them(tmp_path):
    """Each parses, with nothing left over; a figure that is timed is not timed again."""
    names = []
    for name, *arguments in further(("openmoji-scenes-tiny",), "clean", True, tmp_path, tmp_path / "store"):
        context = cli.commands[name].make_context(name, list(arguments))
        assert context.params["results"] == tmp_path
        assert context.params["datasets"] == ("openmoji-scenes-tiny",)
        names.append(name)
    assert names == ["codes", "figure5", "figure4", "claims", "report"]
    record = tmp_path / "openmoji-scenes-tiny" / "efficiency.json"
    record.parent.mkdir()
    record.touch()
    left = further(("openmoji-scenes-tiny",), "clean", True, tmp_path, tmp_path / "store")
    assert "figure4" not in [name for name, *_ in left]
    # whose models Figure 4 serves are those of the default protocol
    assert "figure4" not in [name for name, *_ in further(("other",), "paper", True, tmp_path, tmp_path / "store")]


@pytest.mark.parametrize("fails", ["code 2", "a stage", "a bug"])
def test_what_fails_behind_the_tables_does_not_keep_the_rest_from_running(tmp_path, monkeypatch, capsys, fails):
    """All is in its place, but for what the commands would do."""
    given: list[str] = []

    def invoke(command, context):
        given.append(command.name)
        if command.name == "figure4":
            if fails == "code 2":
                raise ValueError("it cannot be")
            raise RuntimeError("out of memory") if fails == "a bug" else StageFailed(Stage("generator", "a:b", {}), "NaN", tmp_path)

    monkeypatch.setattr("benchmarks.tables.TABLES", {})
    for name in ("codes", "figure5", "figure4", "claims", "report"):
        monkeypatch.setattr(cli.commands[name], "invoke", partial(invoke, cli.commands[name]))
    monkeypatch.chdir(tmp_path)
    assert main(["all", "--tiny", "--store", str(tmp_path / "store")]) == 1
    assert given == ["codes", "figure5", "figure4", "claims", "report"]
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("failed: python -m benchmarks.run figure4 --dataset openmoji-scenes-tiny")
    assert last.endswith(f"(exit code {2 if fails == 'code 2' else 1})")


def test_an_interrupt_behind_the_tables_ends_it(tmp_path, monkeypatch):
    def interrupted(context):
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.tables.TABLES", {})
    monkeypatch.setattr(cli.commands["codes"], "invoke", interrupted)
    monkeypatch.setattr(cli.commands["figure5"], "invoke", lambda context: pytest.fail("it went on"))
    monkeypatch.chdir(tmp_path)
    assert main(["all", "--tiny", "--store", str(tmp_path / "store")]) == 130


@pytest.mark.slow
def test_tables_are_made_together_in_their_tiny_form(tmp_path, tiny_features):
    shutil.copytree(tiny_features, tmp_path / "store")
    given = ["all", "--tiny", "--tables", "table3,table7", "--store", "store"]
    done = run(tmp_path, *given, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "openmoji-scenes-tiny"
    assert not (folder / "table1.md").exists()
    for name in ("table3", "table7"):
        assert {(folder / f"{name}.{ending}").is_file() for ending in ("md", "tex", "csv")} == {True}
        text = (folder / f"{name}.md").read_text()
        assert "missing" not in text and "failed" not in text
    again = run(tmp_path, *given, "--dry-run")
    assert "0 stages are missing" in again.stdout
    exact = [line for line in (folder / "table7.csv").read_text().splitlines() if ",avg-exact," in line]
    beams = [line for line in (folder / "table7.csv").read_text().splitlines() if ",avg-beam1," in line]
    assert len(exact) == 3
    assert [line.split(",")[6] for line in beams] == ["measured", "inapplicable", "inapplicable"]
