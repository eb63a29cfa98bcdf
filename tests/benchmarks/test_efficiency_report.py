"""What is told of the seconds: the record, its report, and what Table 2 says of it."""

from __future__ import annotations

import csv as csv_format
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import rewriting
from benchmarks.grid import build_grid
from benchmarks.run import cli, main
from benchmarks.speed import efficiency_report
from benchmarks.speed.efficiency import place
from benchmarks.speed.efficiency_figure import _readings
from benchmarks.tables.table2 import TABLE2
from tests.benchmarks.made_evidence import speed_record, summary


def test_table_2_says_what_of_blip_is_another_models():
    record = speed_record() | {"blip": {"model": "BLIP-base's shape with random weights", "pairs": 16, "pairs_per_second": 5.68}}
    (group,) = build_grid(TABLE2, ["openmoji-scenes"], [], speed={"openmoji-scenes": record}).groups
    (note,) = (note for note in group.fact_notes if note.startswith("Extrapolated from 5.68 pairs"))
    assert "with BLIP-base's shape with random weights: the speed of BLIP" in note
    assert note.endswith("Their index at 300,000 images is that model's too.")


def test_table_2_says_whose_blip_was_timed():
    record = speed_record() | {"blip": {"model": "the data set's own", "stage": "old", "pairs": 128, "pairs_per_second": 5.0}}

    def note(key: str) -> list[str]:
        made = {**summary("blip", 0.5), "stages": {"blip": key}, "seconds": {"blip": 1.0}, "index_bytes": 1}
        (group,) = build_grid(TABLE2, ["openmoji-scenes"], [made], speed={"openmoji-scenes": record}).groups
        return [each for each in group.fact_notes if "models of other settings" in each]

    assert note("old") == []
    assert note("new")[0].endswith(": BLIP.")


def test_a_record_says_what_ran_where_and_in_which_format():
    machine = {"gpu": "", "threads": 2, "hardware": {"cpu": "Some CPU"}}
    assert place(machine) == "2 threads of Some CPU", "an older record does not know"
    assert place(machine | {"products": "float32"}) == "2 threads of Some CPU, in float32"
    fast = machine | {"products": "bfloat16", "gpu": "Some GPU"}
    assert place(fast).startswith("Some GPU; on 2 threads of Some CPU what faiss searches")
    assert place(fast).endswith("products of towers and BLIP in bfloat16, all else in float32")
    assert place(fast, full_size=True).endswith("products of models in bfloat16, all else in float32")


def test_a_caption_speaks_of_grace_only_where_it_was_timed():
    record = speed_record()
    assert "GRACE" not in efficiency_report.caption(record)
    record["points"].append({**record["points"][0], "series": "grace-structured"})
    assert "GRACE has AVG's generator" in efficiency_report.caption(record) and "worst case" in efficiency_report.caption(record)


def test_at_full_size_it_is_said_that_nothing_is_near_and_who_reads():
    record = speed_record()
    record["settings"] = {**record["settings"], "full_size": True}
    text = efficiency_report.markdown(record)
    assert text.startswith("**Figure 4 at full model size.**") and "an index finds says nothing of real ones" in text
    slow = {name: {1000: {"encode_ms": ms}, 3000: {"encode_ms": ms + 2}} for name, ms in (("clip-hnsw", 80.0), ("avg-beam10", 20.0))}
    assert _readings(slow, full_size=True) == {"CLIP encodes text": 81.0, "T5 encodes text": 21.0}
    assert _readings(slow, full_size=False) == {"text encoding": 51.0}
    assert _readings({"avg-clip": {1000: {"encode_ms": 90.0}}}, full_size=True) == {}, "which reads twice"


def test_the_report_says_what_was_measured(tmp_path):
    text = efficiency_report.markdown(speed_record())
    assert "Models are those that an older version trained" in text, "the record does not say which"
    assert "Models have the settings of Table 1's" in efficiency_report.markdown(speed_record() | {"models": {"avg": "key"}})
    assert "on 2 threads of Some CPU" in text and "Measured by `python -m this`" in text and "BLIP" not in text
    lines = [[part.strip() for part in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    assert ["AVG, beam 40", "1,000", "3.33"] in lines
    assert ["CLIP, FAISS HNSW", "1 (1.5)", "300", "300", "300", "50 %"] in lines
    rows = list(csv_format.DictReader(io.StringIO(efficiency_report.csv(speed_record()))))
    assert len(rows) == 16 and rows[0]["queries_per_second"] == "1000" and rows[0]["search_p95_ms"] == ""


def test_a_committed_record_is_rendered_to_the_same_bytes(tmp_path):
    folder = tmp_path / "ten"
    folder.mkdir()
    efficiency_report.keep(speed_record(), folder)
    contents = []
    for _ in range(2):
        done = CliRunner().invoke(cli, ["render", "--from-committed", "--results", str(tmp_path)])
        assert done.exit_code == 0, done.output
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert set(contents[0]) == {"efficiency.json", "figure4.md", "figure4.csv", "figure4.png", "figure4.pdf"}
    assert contents[0] == contents[1]
    (folder / "efficiency.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        efficiency_report.read(folder / "efficiency.json")
    (folder / "efficiency.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match=r"efficiency\.json is a record without settings, .*: restore it, or delete it and measure again"):
        list(rewriting.records(tmp_path))


def test_a_part_does_not_take_the_place_of_the_whole(tmp_path, capsys):
    folder = tmp_path / "openmoji-scenes"
    folder.mkdir()
    efficiency_report.keep(speed_record(), folder)
    before = (folder / "efficiency.json").read_bytes()
    assert main(["figure4", "--series", "avg-beam40", "--sizes", "1000", "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "has 300,000 images, clip-hnsw besides, which would be lost: name another folder with --results" in error
    assert (folder / "efficiency.json").read_bytes() == before
    efficiency_report.refuse_loss(folder, False, [10, 1000, 300_000], ["avg-beam40", "clip-hnsw"])
    efficiency_report.refuse_loss(folder, True, [10], ["avg-beam40"])


def test_table_2_says_whether_other_models_were_timed():
    summary = json.loads(Path("results/openmoji-scenes/runs/avg-seed0.json").read_text())

    def said(models: dict) -> bool:
        speed = {"openmoji-scenes": speed_record() | models}
        (group,) = build_grid(TABLE2, ["openmoji-scenes"], [summary], speed=speed).groups
        return any("Speed was timed with models of other settings" in note and note.endswith(": AVG.") for note in group.fact_notes)

    assert not said({"models": {"avg": summary["stages"]["generator"]}})
    assert said({"models": {"avg": "another"}})
    assert said({}), "an older record does not say it"
