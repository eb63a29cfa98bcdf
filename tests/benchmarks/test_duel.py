"""Two folders against each other: hand-made outcomes whose difference is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.metrics import Outcomes, hits
from benchmarks.paired import compare as claims_compare
from benchmarks.run import main


def put(folder: Path, row: str, before: list[int], seed: int = 0, depth: int = 10, **changed) -> Outcomes:
    """Writes a summary of queries whose targets stand behind so many images; two queries an image."""
    before_Q = np.array(before, np.int32)
    one = np.ones_like(before_Q)
    images_Q = np.repeat(np.arange(len(before) // 2, dtype=np.int32), 2)
    found = Outcomes(before_Q, one, before_Q, one - 1, images_Q, depth)
    kept = {"format": 1, "row": row, "seed": seed, "dataset": "d", "split": "test", "protocol": "clean", "stages": {"data": "x"}}
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    (folder / "runs" / f"{row}-seed{seed}.json").write_text(json.dumps({**kept, **changed, "outcomes": found.pack()}))
    return found


def stored(folder: Path, row: str) -> Outcomes:
    return Outcomes.unpack(json.loads((folder / "runs" / f"{row}-seed0.json").read_text())["outcomes"])


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    a, b = tmp_path / "a", tmp_path / "b"
    rng = np.random.default_rng(0)
    worse = rng.integers(3, 30, 200).tolist()
    put(a, "avg", worse)
    put(b, "avg", [0] * 150 + worse[150:])
    put(a, "clip", worse, depth=5)
    put(b, "clip", worse, depth=5)
    put(a, "only-a", worse)
    return a, b


def test_rows_that_both_have_are_compared_as_the_tables_compare(folders, capsys):
    a, b = folders
    assert main(["compare", str(a), str(b), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    lines = {(line["row"], line["metric"]): line for line in told["lines"]}
    assert set(lines) == {(row, metric) for row in ("avg", "clip") for metric in ("R@1", "R@5", "R@10")}
    seen = {name: stored(folder, "avg") for name, folder in zip("ab", folders)}
    avg = lines["avg", "R@1"]
    assert (avg["a"], avg["b"], avg["difference"]) == (0, 75, 75)
    clip = hits(stored(a, "clip"), 1)
    series = {name: {0: found} for name, found in {"a": hits(seen["a"], 1), "b": hits(seen["b"], 1), "c": clip, "d": clip}.items()}
    expected = claims_compare([("b", "a"), ("d", "c")], series, seen["a"].image_ids_Q)
    assert {key: avg[key] for key in ("low", "high", "p")} == {key: getattr(expected["b", "a"], key) for key in ("low", "high", "p")}
    same = lines["clip", "R@1"]
    assert (same["difference"], same["p"]) == (0, 1)
    assert "difference" not in lines["clip", "R@10"], "it ranks no ten images"


def test_a_terminal_is_shown_words_and_what_was_left_out(folders, capsys):
    assert main(["compare", *map(str, folders)]) == 0
    out = capsys.readouterr().out
    assert "+75.0 [" in out and "B is better" in out and "no difference shown" in out
    assert f"only in {folders[0]}: only-a" in out
    assert [line.split()[2] for line in out.splitlines() if line.startswith("clip") and "R@10" in line] == ["-"]


def test_a_side_that_ranks_enough_is_shown_beside_one_that_does_not(folders, capsys):
    a, b = folders
    assert main(["compare", f"{a}:clip", f"{b}:avg"]) == 0
    out = capsys.readouterr().out
    known = f"{100 * hits(stored(b, 'avg'), 10).mean():.1f}"
    assert next(line for line in out.splitlines() if "R@10" in line).split()[3:] == ["R@10", "-", known, "-", "-", "-", "1/1"]
    assert out.endswith("-: ranks fewer than K images.\n")
    assert main(["compare", f"{a}:clip", f"{b}:avg", "--json"]) == 0
    *_, line = json.loads(capsys.readouterr().out)["lines"]
    assert line == {"row": "clip / avg", "metric": "R@10", "seeds": [1, 1], "b": float(known)}
    assert main(["compare", f"{a}:avg", f"{b}:avg"]) == 0
    assert "fewer than K" not in capsys.readouterr().out


def test_two_named_rows_and_the_other_way_round(folders, capsys):
    a, b = folders
    assert main(["compare", f"{b}:avg", f"{a}:only-a", "--json"]) == 0
    (line, *_) = json.loads(capsys.readouterr().out)["lines"]
    assert (line["row"], line["difference"]) == ("avg / only-a", -75)


def test_seeds_are_averaged(folders, capsys):
    a, b = folders
    put(b, "avg", [20] * 200, seed=1)
    (b / "runs" / "avg-seed0 copy.json").write_bytes((b / "runs" / "avg-seed0.json").read_bytes())  # is no further seed
    assert main(["compare", f"{a}:avg", f"{b}:avg", "--json"]) == 0
    (line, *_) = json.loads(capsys.readouterr().out)["lines"]
    assert (line["b"], line["seeds"]) == (37.5, [1, 2])


def test_differing_protocols_are_said(folders, capsys):
    a, b = folders
    put(b, "avg", [0] * 200, protocol="official")
    assert main(["compare", f"{a}:avg", f"{b}:avg"]) == 0
    assert "A was measured under protocol clean, B under clean, official." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "count", "message"),
    [
        ({"dataset": "e"}, 200, "measured on different queries, {a}:avg on dataset d, {b}:avg on e: choose folders"),
        ({"split": "val"}, 200, "on split test"),
        ({}, 100, "d: avg of {a}:avg and avg of {b}:avg were measured on different queries"),
        ({"stages": {"data": "y"}}, 200, "different versions of d; run the older of them again"),
    ],
)
def test_different_queries_are_refused(folders, capsys, changed, count, message):
    a, b = folders
    put(b, "avg", [0] * count, **changed)
    assert main(["compare", f"{a}:avg", f"{b}:avg"]) == 2
    assert message.format(a=a, b=b) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}", "{b}/nowhere"], "holds no run summaries"),
        (["{a}:avgg", "{b}:avg"], "has no row 'avgg': did you mean avg?"),
        (["{a}:avg", "{b}"], "avg is compared with a whole folder: name a row on both sides"),
        (["{a}:avg", "{b}:avg", "--ties", "luck"], "'luck' is not one of"),
    ],
)
def test_mistakes(folders, capsys, arguments, message):
    a, b = folders
    assert main(["compare", *[argument.format(a=a, b=b) for argument in arguments]]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_summary_that_says_nothing_is_named(tmp_path, capsys):
    put(tmp_path / "a", "avg", [0, 1])
    (path := tmp_path / "a" / "runs" / "avg-seed0.json").write_text('{"format": 1}')
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "a")]) == 2
    assert f"{path} is a run summary without row, seed, dataset, split, protocol, outcomes: delete it and" in capsys.readouterr().err


def test_folders_without_a_common_row(folders, tmp_path, capsys):
    put(tmp_path / "c", "irgen", [0] * 200)
    assert main(["compare", str(folders[0]), str(tmp_path / "c")]) == 2
    assert "have no row in common: name two, e.g." in capsys.readouterr().err
