"""What counts as evidence of a data set: which hits, seconds, points and reports."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.metrics import Outcomes
from benchmarks.paper.evidence import Evidence, chosen, committed, gathered, larger_than
from tests.benchmarks.made_evidence import IMAGES, PER, point, summary


def of(*summaries, protocol="clean") -> Evidence:
    return gathered("openmoji-scenes", protocol, summaries)


def test_shares_of_images():
    assert of(summary("a", 0.25)).per_image("a", "R@1").tolist() == [1.0] * (IMAGES // 4) + [0.0] * (IMAGES * 3 // 4)
    assert len(of(summary("a", 0.25)).hits("a", "R@1")) == IMAGES * PER


def test_seconds_are_of_one_query_and_the_median_over_seeds():
    timed = [summary("a", 0.5, seed=seed, seconds=seconds) for seed, seconds in enumerate((1.0, 9.0, 3.0))]
    assert of(*timed).seconds == {"a": 3 / (IMAGES * PER)} and of(*timed).over_reading == {"a": 1.5}


@pytest.mark.parametrize("reading", [None, 0.0, 0.009])
def test_what_is_no_reading_of_captions_divides_nothing(reading):
    found = of(summary("a", 0.5), summary("a", 0.5, seed=1) | {"encode_seconds": reading})
    assert found.over_reading == {} and found.seconds == {"a": 1 / (IMAGES * PER)}


def test_a_cut_data_set_is_compared_with_the_cut_of_the_larger_one():
    assert larger_than("flickr30k-five-captions") == "mscoco-5k-five-captions"
    assert (larger_than("flickr30k"), larger_than("mscoco-5k-five-captions")) == ("mscoco-5k", "")


def test_a_tie_counts_by_the_rule_of_the_protocol():
    zero = np.zeros(4, np.int32)
    tied = {**summary("a", 1.0), "outcomes": Outcomes(zero, zero + 2, zero, zero, np.arange(4, dtype=np.int32), 10).pack()}
    assert [of(tied, protocol=name).hits("a", "R@1").tolist() for name in ("clean", "official")] == [[0.5] * 4, [1.0] * 4]


def test_a_row_is_asked_for_no_more_than_all_its_seeds_rank():
    evidence = of(summary("a", 0.5), summary("a", 0.5, seed=1, depth=5))
    assert evidence.seeds("a", "R@5").keys() == {0, 1} and evidence.hits("a", "R@10") is None


def test_threads_are_known_where_all_seeds_ran_on_as_many():
    timed = [
        summary(row, 0.5, seed=seed) | {"threads": threads} for row, seed, threads in (("a", 0, 2), ("a", 1, 2), ("b", 0, 2), ("b", 1, 1))
    ]
    assert of(*timed).threads == {"a": 2}


def test_a_point_is_of_one_size_of_gallery():
    points = [point("a", images, 1.0) for images in (1_000, 300_000, 1_000_000)]
    assert Evidence(dataset="a", protocol="clean", points=points).at("a", 300_000) == {"random": points[1]}


def report(shared: float, tokenizer: str = "t1") -> str:
    row = {"row": "avg", "stages": {"tokenizer": tokenizer}, "shared": {"random": [0.1], "pictures": [shared]}}
    return json.dumps({"format": 1, "rows": [row]})


def test_reports_are_those_of_the_protocol_and_the_one_on_table_1_counts(tmp_path):
    for folder, name, shared in (("@paper", "codes-more", 0.4), ("@paper", "codes", 0.3), ("", "codes", 0.2)):
        (tmp_path / f"openmoji-scenes{folder}").mkdir(exist_ok=True)
        (tmp_path / f"openmoji-scenes{folder}" / f"{name}.json").write_text(report(shared))
    told = [committed(tmp_path, "openmoji-scenes", name).shared["avg"]["pictures"] for name in ("paper", "clean")]
    assert told == [[0.3], [0.2]], "and of a row that was not ranked"


def test_more_images_are_searched_under_the_same_protocol(tmp_path):
    for folder, share in (("openmoji-scenes-5k", 0.2), ("openmoji-scenes-5k@paper", 0.1)):
        (tmp_path / folder / "runs").mkdir(parents=True)
        (tmp_path / folder / "runs" / "avg-seed0.json").write_text(json.dumps(summary("avg", share, "openmoji-scenes-5k")))
    assert committed(tmp_path, "openmoji-scenes", "paper").larger.hits("avg", "R@1").mean() == 0.1


def test_a_folder_without_summaries_holds_nothing_measured(tmp_path):
    for folder in ("openmoji-scenes", "openmoji-scenes@paper"):
        (tmp_path / folder / "runs").mkdir(parents=True)
    (tmp_path / "openmoji-scenes@paper" / "runs" / "avg-seed0.json").write_text("{}")
    assert chosen(tmp_path, (), ()) == [("openmoji-scenes", "paper")]
