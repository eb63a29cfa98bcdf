"""BLIP's rows on a tree of Flickr30K's form, through the public command line."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from benchmarks.leakage import readings
from benchmarks.options import TINY_DATASET
from benchmarks.run import run_table
from benchmarks.spec import RECALL, Row, Table
from benchmarks.tables import TABLES
from tests.command import run
from tests.tiny_blip import write_blip
from tests.trees import write_flickr30k

ROW = "blip-base-transformers-flickr30k"


@pytest.mark.slow
def test_a_folder_of_ones_own_is_measured(tmp_path):
    write_flickr30k(tmp_path / "root", (8, 3, 12))
    write_blip(tmp_path / "model")
    given = ["--set", "blip.model=model", "--set", "blip.shortlist=6", "--results", "results"]
    done = run(tmp_path, "references", "--dataset", "flickr30k", "--data-root", "root", "--rows", ROW, *given)
    assert done.returncode == 0, done.stderr
    assert "BLIP ViT-B, fine-tuned, re-ranked through transformers" in done.stdout
    found = json.loads((tmp_path / "results" / "flickr30k" / "runs" / f"{ROW}-seed0.json").read_text())
    assert found["settings"]["model"] == "model" and found["knobs"] == {"shortlist": 6}
    assert found["queries"] == 60 and found["metrics"]["R@5"] is not None and found["metrics"]["R@10"] is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW, "model Salesforce/blip-itm-base-flickr: run `prefetch`"),
        ("blip-base-lavis-flickr30k", "LAVIS's checkpoint blip_retrieval/flickr: run `prefetch`"),
    ],
)
def test_what_is_not_on_this_machine_is_said_before_any_work(tmp_path, monkeypatch, row, message):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    write_flickr30k(tmp_path / "root", (8, 3, 4))
    done = run(tmp_path, "references", "--dataset", "flickr30k", "--data-root", "root", "--rows", row)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_a_row_without_a_checkpoint_is_trained(tmp_path):
    """On any data set, as the row `clip` trains its projections; the plan says so."""
    write_flickr30k(tmp_path / "root", (8, 3, 4))
    given = ["--rows", ROW, "--set", 'blip.model=""', "--dry-run"]
    done = run(tmp_path, "references", "--dataset", "flickr30k", "--data-root", "root", *given)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["data", "maps", "blip", "index", "ranking", "5"]


@pytest.mark.slow
def test_rows_trained_here_and_composed_ones_run_as_a_table_and_read_what_they_may(tmp_path, monkeypatch, tiny_features):
    """Through the tables' own command, at the tiny size: metrics, what each stage read, and the note that says which BLIP it is."""
    knobs = {"blip": {"shortlist": 10}, "clip-blip": {"shortlist": 10}, "avg-clip": {}}
    rows = tuple(Row(key=name, label=name, method=name, knobs=knobs[name]) for name in knobs)
    table = Table(name="probe", caption="A probe.", columns=RECALL, rows=rows, reported={})
    monkeypatch.setattr(probe_module := sys.modules[__name__], "PROBE", table, raising=False)
    monkeypatch.setitem(TABLES, "probe", f"{probe_module.__name__}:PROBE")
    folders = {"results": tmp_path / "results", "store": tmp_path / "store"}
    shutil.copytree(tiny_features, folders["store"])
    assert run_table("probe", (), "clean", 1, (), (), "test", dry_run=False, tiny=True, jobs=1, **folders) == 0
    folder = tmp_path / "results" / TINY_DATASET
    found = {row.key: json.loads((folder / "runs" / f"{row.key}-seed0.json").read_text()) for row in rows}
    for key, summary in found.items():
        assert all(value["value"] > 0 for value in summary["metrics"].values()), key
        assert not any(reading.forbidden for reading in readings(summary))
        assert summary["selection"] == "val" and summary["index_bytes"] > 0
    assert found["blip"]["stages"]["blip"] == found["clip-blip"]["stages"]["blip"]
    used = {
        reading.stage: (reading.use, set(reading.splits["captions"])) for reading in readings(found["blip"]) if "captions" in reading.splits
    }
    assert used["blip"][1] <= {"train", "val"} and "maps" not in used
    assert "BLIP trained here: MiniLM (1 layers) over EfficientNet-Lite0's feature map" in (folder / "probe.md").read_text()
