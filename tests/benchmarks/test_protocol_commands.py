"""Real methods under every protocol, through the command line, on a data set of a few hundred scenes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import avg.torchvision_schema  # noqa: F401

import pytest

from benchmarks.side_by_side import MEASURED, SHOWN
from tests.command import run

ROWS = ("avg", "grace-semantic", "clip")
DATASET = "openmoji-scenes-tiny"


def test_protocols_are_explained_at_once(tmp_path):
    for arguments in ([], ["paper"], ["official"]):
        done = run(tmp_path, "explain-protocol", *arguments)
        assert done.returncode == 0, done.stderr
        assert "avg.tokenizer.start" in done.stdout
    done = run(tmp_path, "explain-protocol", "papper")
    assert done.returncode == 2
    assert "unknown protocol 'papper': did you mean paper?" in done.stderr


@pytest.fixture(scope="module")
def measured(tmp_path_factory, tiny_features) -> Path:
    folder = tmp_path_factory.mktemp("protocols")
    shutil.copytree(tiny_features, folder / "store")
    done = run(folder, "protocols", "--tiny", "--rows", ",".join(ROWS), "--results", "results")
    assert done.returncode == 0, done.stderr
    assert "**Protocols.**" in done.stdout
    return folder


@pytest.mark.slow
def test_every_protocol_leaves_a_table_and_all_of_them_a_comparison(measured):
    results = measured / "results"
    for name in MEASURED:
        folder = results / (DATASET if name == "clean" else f"{DATASET}@{name}")
        assert f"protocol {name}, " in (folder / "table1.md").read_text()
        assert "LEAK" not in (folder / "table1.md").read_text()
        assert {path.name for path in (folder / "runs").iterdir()} == {f"{row}-seed0.json" for row in ROWS}
    lines = list(csv.DictReader((results / DATASET / "protocols.csv").read_text().splitlines()))
    assert {(line["row"], line["protocol"]) for line in lines} == {(row, name) for row in ROWS for name in SHOWN}
    assert "selection on test" in (results / f"{DATASET}@official" / "table1.md").read_text()
    avg = json.loads((results / f"{DATASET}@official" / "runs" / "avg-seed0.json").read_text())
    assert avg["exposure"] == "pseudo-queries" and avg["selection"] == "test"


@pytest.mark.slow
def test_again_nothing_is_made_and_rendering_gives_the_same_bytes(measured):
    results = measured / "results"
    before = {path: path.read_bytes() for path in results.rglob("*.*") if path.is_file()}
    assert run(measured, "protocols", "--tiny", "--rows", ",".join(ROWS), "--dry-run").stdout.startswith("0 stages are missing")
    for path in results.glob("*/protocols.*"):
        if path.suffix != ".md":  # what is there is what is rendered
            path.unlink()
    done = run(measured, "render", "--from-committed", "--results", "results")
    assert done.returncode == 0, done.stderr
    for path in results.glob("*/protocols.*"):
        assert path.read_bytes() == before[path]


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_no_method_reads_what_its_protocol_forbids(measured, name):
    done = run(measured, "leakage", "--tiny", "--protocol", name, "--rows", ",".join(ROWS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"protocol {name} allows all of this" in done.stdout
    of_avg = [line.split() for line in done.stdout.splitlines() if line.startswith("avg")]
    sees_test = [line for line in of_avg if line[1] in ("tokenizer", "generator") and line[2] == "training" and "test" in line]
    assert len(sees_test) == (2 if name in ("official", "clean+exposure") else 0)


@pytest.mark.slow
def test_pseudo_queries_are_shown_beside_the_true_captions(measured):
    done = run(measured, "pseudo-queries", "--tiny", "--show", "2")
    assert done.returncode == 0, done.stderr
    assert "250 pseudo-queries for 50 pictures, by nearest" in done.stdout
    assert done.stdout.count("    made  ") == done.stdout.count("    true  ") == 10
    made = {line[10:] for line in done.stdout.splitlines() if line.startswith("    made  ")}
    data = next((measured / "store" / "data").glob("*/train.json"))
    assert made <= set(json.loads(data.read_text())["captions"])


@pytest.mark.slow
def test_a_captioning_model_makes_pseudo_queries_that_avg_is_trained_on(measured):
    from transformers import BlipForConditionalGeneration

    from tests.tiny_blip import write_blip

    folder = write_blip(measured / "captioner", BlipForConditionalGeneration)
    done = run(measured, "pseudo-queries", "--tiny", "--by", str(folder), "--count", "1")
    assert done.returncode == 0, done.stderr
    assert f"50 pseudo-queries for 50 pictures, by {folder}" in done.stdout
    chosen = ("--set", f"avg.pseudo_queries_by={folder}", "--set", "avg.pseudo_queries=1")
    done = run(measured, "table1", "--tiny", "--rows", "avg", "--protocol", "official", *chosen)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("pseudo-queries")] == ["cached"]
    done = run(measured, "pseudo-queries", "--tiny", "--by", str(measured / "nowhere"))
    assert done.returncode == 2
    assert "not on this machine: file " in done.stderr
