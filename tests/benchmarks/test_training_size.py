"""R@1 against the number of training scenes: from made-up outcomes whose numbers are known, and the command from end to end."""

from __future__ import annotations

import csv
import io
import shutil

import numpy as np
import pytest

from benchmarks.growth import training_size
from benchmarks.metrics import Outcomes
from benchmarks.run import main

IMAGES, PER = 200, 5
SMALL, LARGE = "openmoji-scenes-train2500", "openmoji-scenes"
SIZES = ("openmoji-scenes-train2500", "openmoji-scenes-train5000", "openmoji-scenes")


def summary(row: str, dataset: str, share: float, seed: int = 0, images: int = IMAGES):
    """The first `share` of the images are found first. A random ranking alone is fitted to nothing."""
    image = np.repeat(np.arange(images, dtype=np.int32), PER)
    before = np.where(image < round(share * images), 0, 50).astype(np.int32)
    zero = np.zeros_like(before)
    outcomes = Outcomes(before, zero + 1, (before > 0).astype(np.int32) * 9, zero, image, 10)
    fitted = {} if row == "random" else {"encoder": {"loss": 1.0}}
    stages = dict.fromkeys(fitted, f"encoder of {dataset}")
    return {"row": row, "dataset": dataset, "seed": seed, "outcomes": outcomes.pack(), "fitted": fitted, "stages": stages}


ALL = (
    summary("avg", SMALL, 0.2), summary("avg", LARGE, 0.4), summary("avg", LARGE, 0.5, seed=1), summary("clip", SMALL, 0.5),
    summary("clip", LARGE, 0.55), summary("irgen", LARGE, 0.3), summary("random", SMALL, 0.0), summary("random", LARGE, 0.0),
)  # fmt: skip


def test_what_the_encoder_is_ahead_by_is_paired_at_each_size():
    found = training_size.curves(SIZES, ALL)
    assert list(found.sizes.values()) == [2500, 5000, 10000]
    assert found.points["avg", SMALL].value == 20 and found.gaps["avg", SMALL].difference == -30
    large, gap = found.points["avg", LARGE], found.gaps["avg", LARGE]
    assert (large.value, large.seeds, gap.difference) == (45, 2, -15), "the encoder has no seed 1"
    assert large.spread == pytest.approx(100 * np.std([0.4, 0.5], ddof=1))
    assert ("clip", LARGE) not in found.gaps
    assert gap.high < -5 and gap.low > -25, "narrower than unpaired: most of the images agree"


def test_a_row_of_one_size_is_no_curve_and_one_that_learns_nothing_is_none_either():
    found = training_size.curves(SIZES, ALL)
    assert [row.key for row in found.rows] == ["avg", "clip"]
    assert [remark for remark in found.remarks if remark.endswith("learned from training scenes: Random.")], "nor is that hidden"
    assert training_size.curves(SIZES, ()).points == {}


def test_other_queries_are_refused():
    with pytest.raises(ValueError, match=f"avg on {SMALL} and clip on {SIZES[1]} were measured on different queries"):
        training_size.curves(SIZES, [*ALL, summary("clip", SIZES[1], 0.5, images=201)])


def test_rows_of_two_trainings_are_remarked_on():
    again = {"fitted": {"encoder": {"loss": 2.0}}}
    found = training_size.curves(SIZES, [summary("avg", SMALL, 0.2), summary("clip", SMALL, 0.5) | again, *ALL[1:3], ALL[4]])
    (remark,) = found.remarks
    assert f"AVG on {SMALL} | CLIP, AVG's own encoder on {SMALL}" in remark and "NOT ONE TRAINING" in training_size.markdown(found)
    assert "NOT ONE TRAINING" not in training_size.markdown(training_size.curves(SIZES, ALL))


def test_sizes_of_two_number_formats_are_remarked_on():
    rows = [{**each, "precision": "float32" if each["dataset"] == LARGE else "bfloat16"} for each in ALL]
    assert "(2,500 scenes: bfloat16; 10,000 scenes: float32)" in training_size.curves(SIZES, rows).remarks[0]
    assert "number format" not in training_size.markdown(training_size.curves(SIZES, ALL))


def test_tables_say_what_was_measured_and_what_was_not():
    found = training_size.curves(SIZES, ALL)
    text = training_size.markdown(found)
    lines = {line.split("|")[1].strip(): line for line in text.split("\n\n")[2].splitlines()}
    assert [cell.strip().split(" ")[0] for cell in lines["AVG"].split("|")[2:-1]] == ["20.0", "missing", "45.0"]
    assert "-30.0\\*" in text and "2,500" in text and "CLIP" not in text.split("\n\n")[4]
    assert r"\begin{table}" in training_size.latex(found)
    body = list(csv.DictReader(io.StringIO(training_size.csv(found))))
    assert {(line["row"], line["train"]): float(line["value"]) for line in body}["avg", "10000"] == 45
    assert next(line for line in body if line["row"] == "clip")["minus_clip"] == ""


def test_other_test_scenes_are_refused(capsys, tmp_path):
    assert main(["training-size", "--sizes", "openmoji-scenes-5k", "--store", str(tmp_path)]) == 2
    assert "openmoji-scenes-5k is not among the data sets with the same test scenes" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_measures_what_is_missing_and_draws_it(tmp_path, capsys, tiny_features):
    shutil.copytree(tiny_features, tmp_path / "store")
    given = ["--tiny", "--results", str(tmp_path / "results"), "--store", str(tmp_path / "store"), "--rows", "clip,random"]
    assert main(["training-size", *given]) == 0
    told = capsys.readouterr().out
    folder = tmp_path / "results" / "openmoji-scenes-tiny"
    assert {path.name for path in folder.iterdir()} == {
        "runs",
        *(f"training-size.{ending}" for ending in ("md", "tex", "csv", "png", "pdf")),
    }
    text = (folder / "training-size.md").read_text()
    assert text in told and "missing" not in text
    assert (tmp_path / "results" / "openmoji-scenes-tiny-train120" / "runs" / "clip-seed0.json").exists()
    (folder / "training-size.png").unlink()
    assert main(["render", "--from-committed", "--results", str(tmp_path / "results")]) == 0
    assert (folder / "training-size.png").exists() and (folder / "training-size.md").read_text() == text
