"""The decoding measurements: who meets whom, what is made of the seconds, and the command from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.contest import Contender, contest, rate, ratio
from benchmarks.run import main
from benchmarks.speed.decoding import LABELS, cases, shape
from benchmarks.speed.decoding_report import csv, latex, markdown
from methods.timing.decoders import Decoders
from methods.timing.made_galleries import LENGTH, random_codes


def test_contenders_take_turns_and_the_slow_ones_leave_early():
    order = []
    contenders = [Contender(name, lambda name=name: order.append(name), 2, rounds) for name, rounds in (("a", None), ("b", 1))]
    seconds = contest(contenders, rounds=3)
    # each once more before its first time on the clock
    assert order == ["a", "a", "b", "b", "a", "a"]
    assert [len(seconds[name]) for name in "ab"] == [3, 1]


def test_rates_and_ratios_are_medians():
    assert rate(10, [5.0, 1.0, 2.0]) == 5.0
    # round by round 4, 3 and 1: the median is 3, though the medians' ratio is 2
    assert ratio({"one": [4.0, 6.0, 2.0], "other": [1.0, 2.0, 2.0]}, "one", "other") == 3.0
    assert ratio({"one": [], "other": [1.0]}, "one", "other") is None


def test_one_thing_is_varied_at_a_time():
    found = cases(["beams", "images"])
    assert [case.beams for case in found[:7]] == [1, 5, 10, 20, 30, 40, 50]
    assert {(case.batch, case.images) for case in found[:7]} == {(8, 1000)}
    assert [case.images for case in found[7:]] == [1000, 10**4, 10**5, 10**6, 10**7]
    with pytest.raises(ValueError, match="unknown part 'beam': did you mean beams"):
        cases(["beam"])


def test_random_codes_are_distinct():
    codes = random_codes(500)
    assert codes.shape[1] == LENGTH and len(np.unique(codes, axis=0)) == len(codes) >= 499


@pytest.mark.slow
def test_all_contenders_that_search_find_codes_of_the_gallery():
    decoders = Decoders(shape("tiny"))
    runs = decoders.runs(beams=3, batch=2, images=50, exact=True)
    assert list(runs) == list(LABELS)
    codes = {tuple(code) for code in random_codes(50).tolist()}
    for name in ("released", "cached", "marisa"):
        found, _ = runs[name]()
        assert {tuple(code) for code in found.flatten(0, 1).tolist()} <= codes
    rows, scores = runs["ours"]()
    every_rows, every_scores = runs["every"]()
    exact = runs["exact"]()
    assert rows.shape == (2, 3) and every_rows.shape == (2, len(codes))
    np.testing.assert_allclose(exact.scores_Qk, every_scores[:, :3], rtol=1e-4, atol=1e-4)
    assert (scores <= every_scores[:, :3] + 1e-4).all()
    assert runs["encoder"]().states_BTW.shape[:2] == (2, 20)
    # every code is scored of a thousand at most
    assert {"exact", "every"} & set(decoders.runs(beams=1, batch=1, images=2000, exact=True)) == set()


def _stored():
    def record(contender, seconds, varied="beams", value=10):
        case = {"varied": varied, "value": value, "beams": 10, "batch": 8, "images": 1000}
        return case | {"contender": contender, "queries": 8, "seconds": seconds}

    records = [
        record("released", [4.0]),
        record("ours", [1.0, 2.0]),
        record("products", [0.5, 1.6]),
        record("packed", [0.5, 1.0]),
        record("flat", [0.004], "vectors", 1000),
    ]
    settings = {"size": "t5-base", "rounds": 2, "dtype": "float32", "threads": 2, "gpu": ""}
    return {"records": records, "settings": settings, "environment": {"hardware": {"cpu": "Some CPU"}}}


def test_the_report_says_what_was_measured():
    text = markdown(_stored())
    assert "t5-base shape with random weights, float32, on 2 threads of Some CPU" in text
    cells = {parts[0]: parts[1] for line in text.splitlines() if len(parts := [part.strip() for part in line.strip("|").split("|")]) == 2}
    assert cells["ours"] == "5.33"  # 8 queries in 1.5 s
    assert cells["*ours is faster than the released path by*"] == "4.0 ×"  # 4 s against 1 s, in the one round that both ran
    assert cells["*of ours, the matrix products as PyTorch computes them are*"] == "65 %"  # 50 % and 80 %
    assert cells["*of ours, those with packed weights are*"] == "50 %"
    assert cells["*the constraint costs*"] == ""  # nobody ran without
    assert cells["FAISS flat"] == "2,000" and "By beams (batch 8, images 1,000):" in text
    tex = latex(_stored())
    assert r"\textit{ours is faster than the released path by} & 4.0 $\times$ \\" in tex and tex.count(r"\begin{table}") == 2
    assert csv(_stored()).splitlines()[1] == "beams,10,10,8,1000,released,8,1,4.000000,2.0000"


@pytest.mark.slow
def test_the_command_writes_table_figure_and_records(tmp_path, capsys):
    assert main(["decoding", "--tiny", "--rounds", "1", "--parts", "beams,vectors,index", "--results", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "By beams" in told and "| build by sorting" in told
    folder = tmp_path / "decoding"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"tiny-float32-beams-vectors-index.{ending}" for ending in ("md", "tex", "csv", "json", "png", "pdf")}
    stored = json.loads((folder / "tiny-float32-beams-vectors-index.json").read_text())
    assert stored["environment"]["hardware"]["cores"] >= 1 and len(stored["records"]) == 26 + 7
    assert markdown(stored) == (folder / "tiny-float32-beams-vectors-index.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "bems"], "unknown part"),
        (["--size", "t5-bse"], "unknown size"),
        (["--tiny", "--size", "t5-small"], "--tiny has a shape of its own"),
    ],
)
def test_what_is_unknown_is_named(arguments, message, capsys):
    assert main(["decoding", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_help_says_when_nothing_is_written(capsys):
    """A part is: beside the whole, under a name of its own."""
    assert main(["decoding", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "[default: results; none with --tiny; --parts are written beside the whole]" in told


def test_what_is_committed_is_what_its_numbers_say():
    paths = sorted((Path(__file__).resolve().parents[2] / "results" / "decoding").glob("*.json"))
    assert paths
    for path in paths:
        stored = json.loads(path.read_text())
        for ending, form in (("md", markdown), ("tex", latex), ("csv", csv)):
            assert path.with_suffix(f".{ending}").read_text() == form(stored)
