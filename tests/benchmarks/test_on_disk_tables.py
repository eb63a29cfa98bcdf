"""Table 1 on trees of the real forms, through the public command line."""

from __future__ import annotations

import json

import pytest

from tests import checkpoints
from tests.command import run
from tests.trees import jpeg, write_coco, write_csv, write_flickr30k

ROWS = "avg,clip,grace-structured"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write", "queries", "protocol", "told"),
    [
        ("flickr30k", lambda root: write_flickr30k(root, (120, 20, 24)), 120, "paper", "selection on val, beam 40"),
        ("mscoco-5k", lambda root: write_coco(root, (80, 40, 20, 24), six=3), 123, "official", "selection on test"),
    ],
)
def test_table_1_on_a_tree(tmp_path, name, write, queries, protocol, told):
    write(tmp_path / "root")
    done = run(tmp_path, "table1", "--dataset", name, "--data-root", "root", "--tiny", "--rows", ROWS, "--results", "results")
    assert done.returncode == 0, done.stderr
    assert f"remembered in {tmp_path}/roots.toml: {name} lies in {tmp_path}/root" in done.stderr
    assert f"{name}, test split (24 images, {queries} queries)" in done.stdout
    assert "the test split here is not the published one" in done.stdout
    summaries = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "results" / name / "runs").glob("*.json")}
    assert set(summaries) == {"avg-seed0", "clip-seed0", "grace-structured-seed0"}
    for summary in summaries.values():
        assert summary["data"]["as_published"] is False
        assert summary["queries"] == queries
        assert summary["metrics"]["R@10"]["value"] > 0
    assert summaries["clip-seed0"]["metrics"]["R@10"]["value"] > 100 * 10 / 24, "better than chance: pictures and captions belong together"

    again = run(tmp_path, "table1", "--dataset", name, "--tiny", "--rows", ROWS, "--dry-run")
    assert again.stdout.startswith("0 stages of 3 cells are missing"), "the root is remembered, and nothing is made twice"

    other = run(tmp_path, "table1", "--dataset", name, "--tiny", "--rows", "avg", "--protocol", protocol, "--results", "results")
    assert other.returncode == 0, other.stderr
    assert f"protocol {protocol}, {told}" in other.stdout
    assert (tmp_path / "results" / f"{name}@{protocol}" / "table1.md").is_file()


def test_a_cut_to_five_captions_has_a_folder_of_its_own(tmp_path):
    write_coco(tmp_path / "root", (8, 2, 3, 4), six=3)
    for options, folder, queries in ([], "mscoco-5k", 23), (["--five-captions"], "mscoco-5k-five-captions", 20):
        done = run(tmp_path, "table1", "--dataset", "mscoco-5k", "--data-root", "root", "--rows", "random", "--results", "r", *options)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "r" / folder / "runs" / "random-seed0.json").read_text())["queries"] == queries


def test_what_is_wrong_with_the_data_is_one_line_before_any_work(tmp_path):
    root = write_flickr30k(tmp_path / "root", (8, 2, 3))
    done = run(tmp_path, "table1", "--dataset", "flickr30k", "--rows", "random")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "where flickr30k lies is not known" in done.stderr and "--data-root" in done.stderr
    path = root / "dataset_flickr30k.json"
    stated = json.loads(path.read_text())
    stated["images"][0]["split"] = "dev"
    path.write_text(json.dumps(stated))
    done = run(tmp_path, "data", "--dataset", "flickr30k", "--data-root", "root")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"vokenbench: flickr30k in {root}: {path} is not in Karpathy's form: images.0.split")
    assert "Traceback" not in done.stderr


def test_a_test_split_alone_is_for_models_that_are_taken_as_they_are(tmp_path):
    write_csv(tmp_path / "root", (0, 0, 6))
    model = checkpoints.open_clip_folder(tmp_path / "clip", checkpoints.NATIVE)
    given = ("table1", "--dataset", "mine", "--data-root", "root", "--rows")
    done = run(tmp_path, *given, "clip,random", "--set", f"clip.encoder.model={model}", "--results", "results")
    assert done.returncode == 0, done.stderr
    assert "mine, test split (6 images, 30 queries)" in done.stdout
    done = run(tmp_path, *given, "avg", "--set", f"avg.encoder.model={model}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("vokenbench: mine has a test split alone, and avg is trained: give it train and val, or")


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_damaged_picture_is_one_line_after_the_rows_that_need_none(tmp_path, jobs):
    root = write_csv(tmp_path / "root", (20, 6, 6))
    (root / "pictures" / "5.jpg").write_bytes(b"no picture")
    done = run(tmp_path, "table1", "--dataset", "mine", "--data-root", "root", "--tiny", "--rows", "clip,random", "--jobs", jobs)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Random, seed 0, mine: R@1" in done.stderr and "Traceback" not in done.stderr and "failed" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"vokenbench: picture pictures/5.jpg in {root} cannot be read: ")
    assert last.endswith("replace it, or take it out of the annotations; `verify-data --dataset mine` lists all such")
    (root / "pictures" / "5.jpg").write_bytes(jpeg(5))
    assert run(tmp_path, "table1", "--dataset", "mine", "--tiny", "--rows", "clip,random").returncode == 0


def test_the_data_command_lists_a_root_and_draws_a_sheet(tmp_path):
    write_flickr30k(tmp_path / "root", (8, 2, 3))
    done = run(tmp_path, "data", "--dataset", "flickr30k", "--data-root", "root", "--contact-sheet", "sheet.png")
    assert done.returncode == 0, done.stderr
    assert "test        3 images       15 captions" in done.stdout
    assert "verify-data counts equal pictures" in done.stdout
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
