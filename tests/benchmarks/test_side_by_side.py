"""Protocols side by side, from made-up outcomes whose numbers are known."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest

from benchmarks import side_by_side
from benchmarks.campaign import Measured
from benchmarks.metrics import Outcomes
from benchmarks.render import MARKDOWN
from benchmarks.run import main
from benchmarks.stages import Store
from benchmarks.tables import table

IMAGES, PER = 200, 5


def summary(row: str, protocol: str, share: float, tied: int = 1, seed: int = 0, images: int = IMAGES):
    """The first `share` of the images are found in a tie of so many."""
    image = np.repeat(np.arange(images, dtype=np.int32), PER)
    before = np.where(image < round(share * images), 0, 50).astype(np.int32)
    zero = np.zeros_like(before)
    outcomes = Outcomes(before, zero + tied, (before > 0).astype(np.int32) * 9, zero, image, 10)
    return {
        "row": row, "protocol": protocol, "seed": seed, "dataset": "openmoji-scenes", "split": "test", "knobs": {"beam": 40},
        "precision": "float32", "images": images, "queries": len(image), "outcomes": outcomes.pack(),
    }  # fmt: skip


def side(*summaries):
    return side_by_side.side_by_side(table("table1"), "openmoji-scenes", summaries)


BOTH = (
    summary("avg", "clean", 0.5), summary("avg", "paper", 0.2), summary("avg", "official", 0.6), summary("avg", "clean+exposure", 0.55),
    summary("irgen", "clean", 0.4, tied=2), summary("irgen", "official", 0.4, tied=2),
)  # fmt: skip


def test_differences_are_from_clean_and_paired():
    found = side(*BOTH)
    assert found.values["avg", "official"].value == 60
    change = found.changes["avg", "official"]
    assert (change.difference, change.direction) == (10, 1)
    assert change.low > 5 and change.high < 15, "narrower than unpaired: half the images agree"
    assert found.changes["avg", "paper"].difference == -30
    assert ("avg", "clean") not in found.changes
    assert ("irgen", "paper") not in found.values


def test_the_tie_rule_is_recomputed_from_the_same_run():
    found = side(*BOTH)
    assert found.values["irgen", "clean"].value == 20, "a half of every hit"
    assert found.values["irgen", "clean+codes"].value == 40
    assert found.values["irgen", "official"].value == 40, "official counts codes"
    assert found.changes["avg", "clean+codes"].difference == 0
    assert found.by_rule["irgen", "clean"] == {"codes": 40, "optimistic": 40, "expected": 20, "index": 40, "pessimistic": 0}
    assert {name for _, name in found.by_rule} == {"clean", "paper", "official"}, "what one rule alone moves has no rules to tell apart"


def test_seeds_are_averaged_and_compared_with_the_same_seeds():
    found = side(
        summary("avg", "clean", 0.5), summary("avg", "clean", 0.7, seed=1), summary("avg", "clean", 0.9, seed=2),
        summary("avg", "paper", 0.4), summary("avg", "paper", 0.6, seed=1),
    )  # fmt: skip
    assert found.values["avg", "clean"].value == pytest.approx(70) and found.values["avg", "clean"].seeds == 3
    assert found.values["avg", "clean"].spread == pytest.approx(20)
    assert found.changes["avg", "paper"].difference == pytest.approx(-10), "seed 2 has no partner"
    assert "-10.0 ± 0.0" in side_by_side.markdown(found).replace("\N{NO-BREAK SPACE}", " "), "the spread of a difference is shown"


def test_what_is_only_a_tie_rule_is_not_measured(tmp_path, capsys):
    assert main(["protocols", "--tiny", "--protocols", "clean+codes", "--store", str(tmp_path / "store"), "--results", str(tmp_path)]) == 2
    assert "protocol clean+codes is computed from the rankings of clean, not measured: name clean" in capsys.readouterr().err
    assert not list(tmp_path.glob("openmoji*"))


def staged(key, *given, **options):
    return {**summary(*given, **options), "stages": {"ranking": key}}


def test_what_rests_on_one_ranking_and_tie_rule_is_no_comparison():
    """By its rules it is zero, and Holm would only make the others pay for it."""
    tested = (staged("a", "avg", "clean", 0.5), staged("b", "avg", "clean+exposure", 0.53))
    alone = side(*tested).changes["avg", "clean+exposure"]
    same = [staged("c", "clip", name, 0.6) for name in ("clean", "paper", "clean+exposure", "clean+test-selection")]
    found = side(*tested, *same)
    unchanged = found.changes["clip", "paper"]
    assert (unchanged.difference, unchanged.low, unchanged.high, unchanged.p, unchanged.spread) == (0, 0, 0, 1, None)
    # of CLIP one comparison is left, its tie rule under clean+codes
    with_one = side(*tested, staged("c", "clip", "clean", 0.6)).changes["avg", "clean+exposure"]
    assert found.changes["avg", "clean+exposure"].p == with_one.p > alone.p
    other = [staged(name, "clip", name, 0.6) for name in ("paper", "clean+exposure", "clean+test-selection")]
    assert side(*tested, same[0], *other).changes["avg", "clean+exposure"].p > with_one.p, "another ranking with the same outcome is one"
    lines = {(line["row"], line["protocol"]): line for line in csv.DictReader(io.StringIO(side_by_side.csv(found)))}
    assert {lines["clip", "paper"][field] for field in ("change", "change_low", "change_high")} == {"0.0000"}


def test_of_seeds_those_count_that_both_have():
    found = side(
        staged("a", "clip", "clean", 0.5), staged("b", "clip", "clean", 0.6, seed=1), staged("c", "clip", "clean", 0.7, seed=2),
        staged("a", "clip", "paper", 0.5), staged("b", "clip", "paper", 0.6, seed=1), staged("a", "clip", "official", 0.5),
    )  # fmt: skip
    assert (found.changes["clip", "paper"].difference, found.changes["clip", "paper"].spread) == (0, 0)
    assert side_by_side.same_by_rule(("clip", "paper"), ("clip", "clean"), [staged("a", "clip", "paper", 0.5)]) is False
    assert found.changes["clip", "official"].p == 1, "another tie rule: it is tested, and changes nothing here"


def test_protocols_on_other_queries_cannot_be_compared():
    with pytest.raises(ValueError, match="different queries"):
        side(summary("avg", "clean", 0.5), summary("avg", "paper", 0.5, images=201))


def test_markdown_shows_what_there_is_and_what_is_missing():
    text = side_by_side.markdown(side(*BOTH))
    avg, irgen = (next(line for line in text.splitlines() if line.startswith(f"| {name}")) for name in ("AVG", "IRGen"))
    assert "+10.0\\*" in avg and "-30.0\\*" in avg
    assert irgen.count("missing") == 2, "no paper, and so no difference from it"
    assert "GRACE" not in text.split("R@1 in percent")[0]
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    rules = text.split("each tie rule")[1]
    assert "| IRGen" in rules and "| AVG" not in rules, "no rule changes what has no ties"
    assert "protocol official, selection on test" in text


def test_each_number_stands_under_its_own_rule():
    found = side(
        summary("avg", "clean", 0.4, tied=2), summary("avg", "clean+exposure", 0.5, tied=2),
        summary("avg", "clean+test-selection", 0.1, tied=2), summary("irgen", "clean", 0.4),
    )  # fmt: skip
    _, (_, factors, moved), (_, rules, tied) = side_by_side.tables_of(found, MARKDOWN)
    assert factors == ["Method", "clean", "exposure", "selection on test", "tie rule codes"]
    (irgen, avg) = ([re.split(r"\\| ", cell)[0] for cell in line] for line in moved)
    assert avg == ["AVG", "20.0", "+5.0", "-15.0", "+20.0"]
    assert irgen == ["IRGen", "40.0", "missing", "missing", "+0.0"], "a tie rule wants no other run"
    assert rules == ["Method", "protocol", "codes, optimistic", "expected", "index", "pessimistic"]
    assert tied == [["AVG", "clean", "40.0", "20.0", "40.0", "0.0"]]


def test_what_is_committed_of_other_tables_is_left_out(tmp_path):
    (tmp_path / "openmoji-scenes" / "runs").mkdir(parents=True)
    for row in ("avg", "avg-beam10"):
        stated = {**summary(row, "clean", 0.5), "format": 1, "method": "avg", "exposure": "none"}
        (tmp_path / "openmoji-scenes" / "runs" / f"{row}-seed0.json").write_text(json.dumps(stated))
    assert {row for row, _ in side_by_side.committed(table("table1"), "openmoji-scenes", tmp_path).values} == {"avg"}


def test_a_cell_that_failed_under_any_protocol_is_told_by_the_exit_code(tmp_path, monkeypatch):
    ended = iter([Measured(failures={("openmoji-scenes-tiny", "avg"): "no number"}), Measured()])
    monkeypatch.setattr("benchmarks.campaign.measure", lambda *_, **__: next(ended))
    monkeypatch.setattr("benchmarks.campaign.compute", lambda *_: None)
    monkeypatch.setattr("benchmarks.prefetch.refuse_missing", lambda *_: None)
    folders = ["--store", str(tmp_path / "store"), "--results", str(tmp_path / "results")]
    assert main(["protocols", "--tiny", "--protocols", "clean,paper", *folders]) == 1


def test_latex_and_csv_hold_the_same():
    found = side(*BOTH)
    text = side_by_side.latex(found)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert "selection on test" in text and text.isascii()
    lines = list(csv.DictReader(io.StringIO(side_by_side.csv(found))))
    official = next(line for line in lines if (line["row"], line["protocol"]) == ("avg", "official"))
    assert (float(official["value"]), float(official["change"]), official["seeds"]) == (60, 10, "1")
    assert next(line for line in lines if line["row"] == "irgen" and line["protocol"] == "clean")["codes"] == "40.0000"


def test_nothing_measured_is_an_empty_table():
    assert side().values == {}
    assert side_by_side.csv(side()).count("\n") == 1
    assert "**Protocols.**" in side_by_side.markdown(side())


def test_a_results_folder_that_cannot_be_is_said_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Store, "run", lambda *_: pytest.fail("a stage was run"))
    assert main(["protocols", "--tiny", "--results", "/dev/null/x", "--store", str(tmp_path)]) == 2
    assert "cannot write to /dev/null/x/openmoji-scenes-tiny (Not a directory): name another folder with" in capsys.readouterr().err
