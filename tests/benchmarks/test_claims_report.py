"""The claims of made-up results, from the command to the bytes. After a wanted change: `python -m tests.benchmarks.test_claims_report`."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import rewriting
from benchmarks.run import main
from tests.benchmarks.made_evidence import point, summary

GOLDEN = Path(__file__).parent / "golden"
ENDINGS = ("md", "tex", "csv")
ROWS = {
    "avg": 0.6, "irgen": 0.5, "grace-numeric": 0.0, "grace-string": 0.02, "grace-semantic": 0.3, "grace-structured": 0.3, "clip": 0.7,
    "avg-beam10": 0.6, "avg-beam20": 0.6, "avg-beam30": 0.6, "avg-beam50": 0.6, "avg-without-alignment": 0.5,
    "avg-without-voken-embedding": 0.605,
}  # fmt: skip
SPEEDS = {"clip-paper": (100.0, 1.0), "avg-beam10": (30.0, 0.0), "avg-beam40": (16.8, 0.0), "grace-structured": (25.0, 0.01)}


def make(results: Path) -> None:
    """Writes runs, a speed record and an identifier report."""
    for folder, rows in (("openmoji-scenes", ROWS), ("openmoji-scenes@paper", {"avg": 0.4, "irgen": 0.5})):
        (results / folder / "runs").mkdir(parents=True)
        for row, share in rows.items():
            stated = {**summary(row, share), "protocol": folder.partition("@")[2] or "clean", "stages": {"tokenizer": "t1"}}
            (results / folder / "runs" / f"{row}-seed0.json").write_text(json.dumps(stated))
    points = [point(name, n, at / (n / 1000) ** falls) for name, (at, falls) in SPEEDS.items() for n in (1_000, 10_000, 300_000)]
    points += [point("clip-paper", 300_000, 1e6, batch=32)]
    (results / "openmoji-scenes" / "efficiency.json").write_text(json.dumps({"format": 1, "points": points}))
    shared = {"random": [0.01, 0.0], "pictures": [0.2, 0.1], "captions": [0.015, 0.0]}
    codes = {"format": 1, "rows": [{"row": "avg", "stages": {"tokenizer": "t1"}, "shared": shared}]}
    (results / "openmoji-scenes" / "codes.json").write_text(json.dumps(codes))


@pytest.fixture
def made(tmp_path) -> Path:
    make(tmp_path / "results")
    return tmp_path / "results"


def claims(results: Path, *options: str) -> int:
    return main(["claims", "--results", str(results), *options])


def verdicts(results: Path, folder: str = "openmoji-scenes") -> dict[str, dict[str, str]]:
    with (results / folder / "claims.csv").open() as file:
        return {line["claim"]: line for line in csv.DictReader(file)}


def test_rendered_bytes_from_the_command_and_from_what_is_committed(made, capsys):
    assert claims(made, "--dataset", "openmoji-scenes", "--protocol", "clean") == 0
    assert not (made / "openmoji-scenes@paper" / "claims.md").exists()
    out = capsys.readouterr().out
    for ending in ENDINGS:
        path = made / "openmoji-scenes" / f"claims.{ending}"
        assert path.read_bytes() == (GOLDEN / f"claims.{ending}").read_bytes()
        assert ending != "md" or path.read_text() in out
        path.write_text("stale")
    assert len(list(rewriting.claims(made))) == 1
    for ending in ENDINGS:
        assert (made / "openmoji-scenes" / f"claims.{ending}").read_bytes() == (GOLDEN / f"claims.{ending}").read_bytes()


def test_verdicts_reach_the_csv(made):
    assert claims(made) == 0
    found = verdicts(made)
    words = {key: line["verdict"] for key, line in found.items()}
    assert words["avg-irgen"] == words["avg-grace"] == words["alignment"] == words["beam-30-50"] == "supported"
    assert words["avg-clip"] == "not supported" and words["structured"] == "inconclusive"
    assert words["clip-grows"] == words["grace-constant"] == "supported" and words["avg-constant"] == "missing"
    assert words["alike-pictures"] == "supported" and words["alike-captions"] == "not supported"
    assert float(found["faster-clip"]["value"]) == pytest.approx(16.8 / (100 / 300)), "one query at a time, not a batch"
    assert words["one-tower-ranks"] == "missing"
    assert (found["one-tower-ranks"]["missing"], found["one-tower-ranks"]["command"]) == ("blip", "python -m benchmarks.run table2")
    paper = verdicts(made, "openmoji-scenes@paper")
    assert paper["avg-irgen"]["verdict"] == "not supported"
    assert paper["alignment"]["command"] == "python -m benchmarks.run table3 --protocol paper"
    assert paper["clip-grows"]["verdict"] == "supported", "speed depends on no protocol"


def test_counts_of_all_protocols_stand_last(made, capsys):
    assert claims(made) == 0
    *_, clean, paper = capsys.readouterr().out.splitlines()
    for line, folder in ((clean, "openmoji-scenes"), (paper, "openmoji-scenes@paper")):
        words = Counter(each["verdict"] for each in verdicts(made, folder).values())
        assert line.startswith(f"written: {made}/{folder}/claims.md")
        assert f"({words['supported']} supported, " in line and f"{words['missing']} missing)" in line


def test_rows_are_called_as_in_the_tables(made):
    assert claims(made) == 0
    text = (made / "openmoji-scenes" / "claims.md").read_text()
    assert "IRGen 50.0" in text and "irgen 50.0" not in text
    assert "AVG, first voken: near pictures / random pairs" in text and "avg, first voken" not in text
    (made / "openmoji-scenes" / "codes.json").unlink()
    assert claims(made) == 0
    assert "AVG: its identifiers" in (made / "openmoji-scenes" / "claims.md").read_text()


def test_a_larger_pool_is_read_from_its_own_folder(made):
    (made / "openmoji-scenes-5k" / "runs").mkdir(parents=True)
    for row, share in {"grace-numeric": 0.0, "grace-string": 0.0}.items():
        stated = summary(row, share, "openmoji-scenes-5k", images=300)
        (made / "openmoji-scenes-5k" / "runs" / f"{row}-seed0.json").write_text(json.dumps(stated))
    assert claims(made) == 0
    small, large = verdicts(made), verdicts(made, "openmoji-scenes-5k")
    assert small["names-fail"]["verdict"] == "supported"
    assert small["larger-pool"]["missing"] == "grace-semantic; grace-structured; irgen; avg"
    assert small["larger-pool"]["command"] == "python -m benchmarks.run table1 --dataset openmoji-scenes-5k"
    assert "names-fail" not in large
    assert "Not asked" in (made / "openmoji-scenes-5k" / "claims.md").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dataset", "openmoji-scene"], "unknown data set 'openmoji-scene': did you mean openmoji-scenes?"),
        (["--protocol", "papre"], "unknown protocol 'papre'"),
        (["--dataset", "flickr30k"], "measure it with `python -m benchmarks.run table1 --dataset flickr30k`"),
        (["--protocol", "official"], "measure it with `python -m benchmarks.run table1 --protocol official`"),
    ],
)
def test_mistakes_are_answered(made, capsys, options, said):
    assert claims(made, *options) == 2
    assert said in capsys.readouterr().err


def test_an_unknown_data_set_gets_each_known_one_once(made, capsys):
    assert claims(made, "--dataset", "zzz") == 2
    listed = capsys.readouterr().err.partition("valid are ")[2].strip().split(", ")
    assert "openmoji-scenes" in listed and len(listed) == len(set(listed))


def test_nothing_measured_at_all(tmp_path, capsys):
    assert claims(tmp_path / "results") == 2
    assert "holds nothing measured of any data set" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "said"), [("{", "is damaged"), ('{"format": 2}', "is no record of format 1"), ("[]", "is no record")])
def test_damaged_records_are_named(made, capsys, text, said):
    (made / "openmoji-scenes" / "efficiency.json").write_text(text)
    assert claims(made) == 2
    error = capsys.readouterr().err
    assert "efficiency.json" in error and said in error


@pytest.mark.parametrize(
    ("name", "part", "each"), [("codes.json", "rows", {"row": "avg"}), ("codes.json", "rows", 5), ("efficiency.json", "points", {})]
)
def test_records_that_lack_something_are_named(made, capsys, name, part, each):
    path = made / "openmoji-scenes" / name
    path.write_text(json.dumps({"format": 1, part: [each]}))
    assert claims(made) == 2
    error = capsys.readouterr().err
    assert f"{path} is damaged ({part} without " in error and "delete it and measure again" in error and error.count("\n") == 1


def test_a_report_on_other_identifiers_than_were_measured_is_left_out(made, capsys):
    path = made / "openmoji-scenes" / "codes.json"
    told = json.loads(path.read_text())
    told["rows"][0]["stages"] = {"tokenizer": "t2"}
    path.write_text(json.dumps(told))
    assert claims(made, "--dataset", "openmoji-scenes", "--protocol", "clean") == 0
    assert verdicts(made)["alike-pictures"]["verdict"] == "missing"
    assert "other identifiers than were measured, and left out: avg; run " in capsys.readouterr().out


def test_rows_of_other_queries_are_refused(made, capsys):
    other = json.dumps(summary("irgen", 0.5, images=50))
    (made / "openmoji-scenes" / "runs" / "irgen-seed0.json").write_text(other)
    assert claims(made) == 2
    assert "different queries" in capsys.readouterr().err


def test_latex_is_ascii_and_keeps_hyphens():
    text = (GOLDEN / "claims.tex").read_text()
    assert text.isascii()
    assert "-{}-dataset openmoji-scenes-5k" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 5


def test_markdown_rows_have_one_width():
    blocks = re.findall(r"(?:^\|.*\n)+", (GOLDEN / "claims.md").read_text(), flags=re.M)
    assert len(blocks) == 5
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_what_is_committed_is_what_its_measurements_say():
    from benchmarks.paper import claims_report
    from benchmarks.paper.evidence import committed

    results = Path(__file__).resolve().parents[2] / "results"
    for path in results.glob("*/claims.md"):
        dataset, _, protocol = path.parent.name.partition("@")
        assert path.read_text() == claims_report.markdown(claims_report.report(committed(results, dataset, protocol or "clean")))


def test_the_readme_counts_the_verdicts():
    root = Path(__file__).resolve().parents[2]
    with (root / "results" / "openmoji-scenes" / "claims.csv").open() as file:
        verdicts = Counter({row["claim"]: row["verdict"] for row in csv.DictReader(file)}.values())
    counted = [verdicts[each] for each in ("supported", "not supported", "inconclusive")]
    assert sum(counted) == verdicts.total(), "what is not measured has to be told as well"
    told = re.search(
        r"of (\d+) statements of the paper (\d+) are supported, (\d+) are not and (\d+) are inconclusive",
        (root / "README.md").read_text(),
    )
    assert told and list(map(int, told.groups())) == [sum(counted), *counted]


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as name:
        make(Path(name))
        code = claims(Path(name), "--dataset", "openmoji-scenes", "--protocol", "clean")
        for ending in ENDINGS:
            (GOLDEN / f"claims.{ending}").write_bytes((Path(name) / "openmoji-scenes" / f"claims.{ending}").read_bytes())
    sys.exit(code)
