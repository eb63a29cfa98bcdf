"""BLIP's rows on a tree of Flickr30K's form, through the public command line."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.test_on_disk_tables import run
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


def test_a_row_without_a_checkpoint_says_how_to_give_one(tmp_path):
    write_flickr30k(tmp_path / "root", (8, 3, 4))
    done = run(tmp_path, "references", "--dataset", "flickr30k", "--data-root", "root", "--rows", ROW, "--set", 'blip.model=""')
    assert done.returncode == 2
    assert "blip has no checkpoint: give one with --set blip.model=FOLDER_OR_ID" in done.stderr.splitlines()[-1]
