"""The report as a folder: what is chosen, what is said to be missing, what is written, and that nothing a text holds becomes HTML."""

from __future__ import annotations

import errno
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import tables
from benchmarks.protocol import protocol as rules_of
from benchmarks.rankings import outside, trec
from benchmarks.report import page, provenance
from benchmarks.report.documents import Document, absent_figures, documents, markdown, measured_tables, of_no_dataset
from benchmarks.run import main
from benchmarks.spec import RECALL
from benchmarks.speed import efficiency_report
from tests.benchmarks.made_evidence import speed_record
from tests.benchmarks.test_render_golden import summary
from tests.benchmarks.test_report_answers import answers
from tests.benchmarks.test_trec import SPLIT, N, Q, made_ranking

ROOT = Path(__file__).resolve().parents[2]


def test_a_table_is_printed_from_its_grid_and_the_others_are_said_to_be_missing():
    found, absent = measured_tables(
        "openmoji-scenes",
        [{**summary(row, hits), "seconds": {}, "index_bytes": 0} for row, hits in (("avg", 1.0), ("clip", 0.0))],
        "--dataset openmoji-scenes --protocol paper",
        Path("nowhere"),
    )
    table = next(each for each in found if each["name"] == "table1")
    lines = {line["cells"][0]: line for line in table["groups"][0]["lines"]}
    written = (ROOT / "tests/benchmarks/golden/table1.md").read_text()
    assert table["headers"] == ["Method", "R@1", "paper R@1", "R@5", "paper R@5", "R@10", "paper R@10", "Sees test images"]
    assert all(header in written for header in table["headers"])
    value = lines["AVG"]["percent"][1]
    assert re.match(rf"<strong>{value:.1f}</strong> \[", lines["AVG"]["cells"][1])
    assert "<em>CLIP, AVG&#x27;s own encoder</em>" in lines
    assert "irgen" in table["missing"]
    missing = {each["title"]: each["command"] for each in absent}
    assert missing["References"] == "python -m benchmarks.run references --dataset openmoji-scenes --protocol paper"
    assert len(found) + len(absent) == len(tables.TABLES)


def test_markdown_becomes_tables_with_headings_and_its_html_stays_text():
    heading, lead, body = markdown(
        "**Search error.** A *beam* <b>misses</b>.\n\n| a | b |\n|:--|--:|\n| x | <script>1</script> |\n\nAfter.\n"
    )
    assert heading == "Search error"
    assert lead == " A <em>beam</em> &lt;b&gt;misses&lt;/b&gt;."
    assert '<th scope="col" style="text-align:right">b</th>' in body
    assert '<th scope="row" style="text-align:left">x</th>' in body
    assert "<script>" not in body
    assert 'tabindex="0" role="region"' in body
    assert "<p>After.</p>" in body
    verdict = markdown("x\n\n| a | b |\n|:--|:--|\n| x | **not supported** |\n")[2]
    assert 'data-verdict="not supported"><strong>not supported</strong>' in verdict
    assert "<img" not in markdown("![x](y.png)")[1]
    assert markdown("# Codes\n\nOf **avg**.\n")[:2] == ("Codes", "Of <strong>avg</strong>.")
    assert markdown("Plain.\n\nMore.\n") == ("", "Plain.", "\n<p>More.</p>\n")


def test_figures_have_words_and_files(tmp_path):
    folder, page = tmp_path / "results", tmp_path / "page"
    folder.mkdir()
    for name, text in {"speed.png": "", "speed.pdf": "", "speed.md": "**Speed.** One & two.\n", "lone.png": "", "table1.md": "x"}.items():
        (folder / name).write_text(text)
    found = {each.name: each for each in documents(folder, page, "files")}
    assert set(found) == {"speed", "lone"}
    assert found["speed"].alt == "Figure speed."
    assert found["speed"].files == [("md", "files/speed.md"), ("pdf", "files/speed.pdf"), ("png", "files/speed.png")]
    assert found["lone"].alt == "Figure lone."
    (tmp_path / "decoding").mkdir()
    for name in ("codes-avg", "t5-base"):
        (tmp_path / "decoding" / f"{name}.png").touch()
        (tmp_path / "decoding" / f"{name}.md").write_text("**Heading.** What is said of it.\n\n| a |\n|--|\n| 1 |\n")
    codes, decoding = (each.alt for each in documents(tmp_path / "decoding", page, "files/decoding"))
    assert codes.startswith("Four panels, a colour a row: share of tokens") and decoding.startswith("Queries per second over beams")
    assert all(alt.endswith(" The numbers follow.") and "What is said" not in alt for alt in (codes, decoding))
    assert sorted(path.name for path in (page / "files").iterdir() if path.is_file()) == [
        "lone.png",
        "speed.md",
        "speed.pdf",
        "speed.png",
        "table1.md",
    ]


def test_folders_of_no_dataset_have_neither_its_name_nor_runs_nor_tables(tmp_path):
    others = ("openmoji-scenes-5k/figure5.md", "openmoji-scenes@paper/codes.md", "mscoco-5k-five-captions/figure5.md")
    for name in ("decoding/x.md", "own/runs/avg-seed0.json", "a+b/table1.md", *others):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert [path.name for path in of_no_dataset(tmp_path)] == ["decoding"]
    assert of_no_dataset(tmp_path / "nowhere") == []
    (tmp_path / "seeds" / "openmoji-scenes" / "runs").mkdir(parents=True)
    assert documents(tmp_path / "seeds", tmp_path / "page", "files") == [], "a results folder of its own"


def test_the_papers_figures_that_are_missing_are_named(tmp_path):
    there, data = [Document(name="figure4-full-size", heading="")], "--dataset scenes --tiny"
    assert absent_figures("scenes", there, tmp_path, data, "") == [("Figure 5", "python -m benchmarks.run figure5 --dataset scenes --tiny")]
    assert absent_figures("scenes", [], tmp_path, data, " --protocol paper") == [
        ("Figure 4", "python -m benchmarks.run figure4 --dataset scenes --tiny"),
        ("Figure 5", "python -m benchmarks.run figure5 --dataset scenes --tiny --protocol paper"),
    ]
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "figure4.md").write_text("")
    assert [name for name, _ in absent_figures("scenes", [], tmp_path, data, "")] == ["Figure 5"], "speed depends on no protocol"


def test_stages_that_rows_share_count_once():
    one = {"row": "a", "seed": 0, "stages": {"data": "d", "ranking": "r1"}, "seconds": {"data": 10.0, "ranking": 1.0}}
    two = {"row": "b", "seed": 0, "stages": {"data": "d", "ranking 2": "r2"}, "seconds": {"data": 10.0, "ranking 2": 2.5}}
    assert provenance.stages([one, two]) == [("data", 1, 10.0), ("ranking", 2, 3.5)]


def test_provenance_says_which_rows_differ():
    same = {"seed": 0, "versions": {"torch": "2"}, "hardware": {"cores": 2, "cpu": "X", "memory_gib": 4, "platform": "Linux", "gpus": []}}
    rows = [{**same, "row": "a", "git": {"commit": "c1", "dirty": False}}, {**same, "row": "b", "git": {"commit": "c2", "dirty": True}}]
    found = dict(provenance.facts(rows))
    assert found["commit"] == [("c1", "a seed 0"), ("c2 with uncommitted changes", "b seed 0")]
    assert found["torch"] == [("2", "")]
    assert found["processor"] == [("2 cores of X, 4 GiB, Linux", "")]


def run(tmp_path: Path, *options: str) -> int:
    return main(["report", "--tiny", *options, "--results", str(tmp_path / "results"), "--store", str(tmp_path / "store")])


def test_nothing_measured_is_a_mistake_with_a_remedy(tmp_path, capsys):
    assert run(tmp_path, "--to", str(tmp_path / "page")) == 2
    assert "measure first, e.g. `python -m benchmarks.run table1 --dataset openmoji-scenes-tiny --tiny`" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "thesis.txt").touch()
    assert run(tmp_path, "--to", str(tmp_path / "page")) == 2
    assert "holds something that is no report: name another folder with --to" in capsys.readouterr().err
    assert (tmp_path / "page" / "thesis.txt").is_file()


def test_a_folder_that_cannot_be_is_named_with_its_own_option(tmp_path, capsys):
    runs = tmp_path / "results" / "openmoji-scenes-tiny" / "runs"
    runs.mkdir(parents=True)
    (runs / "avg-seed0.json").write_text(json.dumps(summary("avg", 1.0, "openmoji-scenes-tiny")))
    assert run(tmp_path, "--to", "/dev/null/x/page") == 2
    assert "cannot write to /dev/null/x (Not a directory): name another folder with --to" in capsys.readouterr().err


@pytest.fixture
def measured(tmp_path) -> Path:
    """Returns the results folder of one row of the tiny data."""
    runs = tmp_path / "results" / "openmoji-scenes-tiny" / "runs"
    runs.mkdir(parents=True)
    cell = {**summary("avg", 1.0, "openmoji-scenes-tiny"), "index_bytes": 0, "seconds": {}}
    (runs / "avg-seed0.json").write_text(json.dumps(cell))
    return tmp_path / "results"


def test_another_data_sets_figure_is_not_this_ones(tmp_path, measured):
    for name in ("openmoji-scenes-5k/figure5", "decoding/speed"):
        (measured / name).parent.mkdir()
        (measured / f"{name}.png").touch()
    (measured / "seeds" / "openmoji-scenes" / "runs").mkdir(parents=True)
    assert run(tmp_path, "--to", str(tmp_path / "page")) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert "files/decoding/speed.png" in page and "openmoji-scenes-5k" not in page and "files/seeds" not in page
    assert (
        "<strong>Figure 5: not measured.</strong> Command: <code>python -m benchmarks.run figure5 --dataset openmoji-scenes-tiny --tiny"
        in page
    )
    assert "Each method searches all pictures for every caption" in page


def test_the_claims_command_names_the_protocol(tmp_path, measured):
    path = measured / "openmoji-scenes-tiny@paper" / "runs" / "avg-seed0.json"
    path.parent.mkdir(parents=True)
    told = json.loads((measured / "openmoji-scenes-tiny" / "runs" / path.name).read_text())
    path.write_text(json.dumps({**told, "protocol": "paper"}))
    for protocol, rules in (("clean", ""), ("paper", " --protocol paper")):
        assert run(tmp_path, "--to", str(tmp_path / "page"), "--protocol", protocol) == 0
        page = (tmp_path / "page" / "index.html").read_text()
        assert f"<code>python -m benchmarks.run claims --dataset openmoji-scenes-tiny{rules}</code>" in page


def test_a_document_that_is_no_text_is_named(tmp_path, measured, capsys):
    (path := measured / "openmoji-scenes-tiny" / "codes.md").write_bytes(b"\xff\xfe")
    assert run(tmp_path, "--to", str(tmp_path / "page")) == 2
    assert capsys.readouterr().err == f"vokenbench: {path} is no text: delete it or render again\n"


@pytest.mark.parametrize("name", [".", "link"])
def test_a_folder_that_is_there_is_filled(tmp_path, measured, monkeypatch, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "link").symlink_to(tmp_path / "page")
    (tmp_path / "page").mkdir()
    monkeypatch.chdir(tmp_path / ("page" if name == "." else "empty"))
    for _ in range(2):
        assert run(tmp_path, "--to", name) == 0
        assert {path.name for path in (tmp_path / "page").iterdir()} == {"index.html", "data.js", "report.css", "report.js", "pictures"}
        assert Path(name, "index.html").is_file(), "nobody stands in a folder that is gone"
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "page", "results", "store"}


@pytest.mark.parametrize("known", [True, False])
def test_a_full_disk_names_the_folder(tmp_path, measured, monkeypatch, capsys, known):
    def full(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device", *([str(self)] if known else []))

    monkeypatch.setattr(Path, "write_text", full)
    assert run(tmp_path, "--to", str(tmp_path / "page")) == 2
    assert f"cannot read or write {tmp_path}/page (No space left on device): make room there" in capsys.readouterr().err


def test_a_table_that_shows_speed_has_the_numbers_of_figure4(tmp_path):
    folder = tmp_path / "results" / "openmoji-scenes-tiny"
    (folder / "runs").mkdir(parents=True)
    cell = {**summary("avg", 1.0, "openmoji-scenes-tiny"), "seconds": {"generator": 60.0}, "index_bytes": 48_000}
    (folder / "runs" / "avg-seed0.json").write_text(json.dumps(cell))
    efficiency_report.keep(speed_record(), folder)
    assert run(tmp_path, "--to", str(tmp_path / "page")) == 0
    table = (tmp_path / "page" / "index.html").read_text().split('<article id="table2">')[1].split("</article>")[0]
    assert "Speed is missing" not in table and "on 2 threads of Some CPU (Figure 4)" in table
    assert re.search(r'<th scope="row">AVG</th>(<td>[^<]*</td>)*<td>3\.33</td>', table)


def test_an_outside_system_stands_in_its_tables_and_not_in_the_provenance(tmp_path):
    """Summarised as `score` does; it has a data set's stage, but no time and no code."""
    (tmp_path / "a.run").write_text(trec.run(made_ranking(np.eye(Q, N)), SPLIT, "a"))
    record = {"key": "0123", "report": {"test": {}}}
    theirs = outside.summary(
        "outside-a", "Their System", ["table1"], "not stated", trec.read_run(tmp_path / "a.run", SPLIT), tmp_path / "a.run",
        "openmoji-scenes-tiny", SPLIT, rules_of("clean"), record, RECALL,
    )  # fmt: skip
    same = {fact: theirs[fact] for fact in ("outcomes", "queries", "images", "stages")}
    ours = {**summary("avg", 1.0, "openmoji-scenes-tiny"), **same, "seconds": {"data": 1.0}, "index_bytes": 0, "versions": {"torch": "2"}}
    runs = tmp_path / "results" / "openmoji-scenes-tiny" / "runs"
    runs.mkdir(parents=True)
    for cell in (ours, theirs):
        (runs / f"{cell['row']}-seed0.json").write_text(json.dumps(cell))
    assert run(tmp_path, "--to", str(tmp_path / "page")) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    tables_html, provenance_html = page.split('id="provenance"')
    assert "<em>Their System</em>" in tables_html
    assert "outside-a" not in provenance_html and "avg" not in re.search(r"<tbody>(.*?)</tbody>", provenance_html, re.DOTALL)[1]
    (runs / "avg-seed0.json").unlink()
    assert run(tmp_path, "--to", str(tmp_path / "page")) == 0
    assert "No run summary of a row of this suite" in (tmp_path / "page" / "index.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "openmoji-scenes,openmoji-scenes-tiny"], "report shows one data set"),
        (["--protocol", "klean"], "unknown protocol 'klean'"),
        (["--rows", "avgg"], "unknown row 'avgg' of all tables on openmoji-scenes-tiny: did you mean avg"),
        (["--rows", "avg"], "row avg is not finished in"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path, capsys, options, message):
    assert run(tmp_path, *options, "--to", str(tmp_path / "page")) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Returns the one method whose answers a store holds."""
    found = replace(answers([([1, 2, 3], [0.9, 0.5, 0.1], [0, 1, 2])], [1]), key="avg", label="AVG")
    split = SimpleNamespace(captions=["one"], caption_image_ids_Q=np.array([1]), folder=tmp_path)
    monkeypatch.setattr(page, "finished", lambda *_: (split, [found]))
    monkeypatch.setattr(page, "write_pictures", lambda *_: None)
    monkeypatch.setattr(page, "Dataset", lambda folder: SimpleNamespace(info={}))
    return found


def test_a_results_folder_that_is_named_must_be_there(tmp_path, shown, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["report", "--tiny", "--store", "store", "--to", "page"]
    assert main([*options, "--results", "nowhere"]) == 2
    assert "nowhere is no folder: name that of the tables with --results" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
    assert main(options) == 0, "answers alone, where nothing was written yet"
    assert (tmp_path / "page" / "index.html").is_file()


def test_answers_that_are_not_those_that_were_measured_are_named_on_the_page(tmp_path, measured, shown):
    path = measured / "openmoji-scenes-tiny" / "runs" / "avg-seed0.json"
    for outcome, named in ((None, True), (shown.outcomes.pack(), False)):
        if outcome:
            path.write_text(json.dumps({**json.loads(path.read_text()), "outcomes": outcome}))
        assert run(tmp_path, "--to", str(tmp_path / "page")) == 0
        assert ("was not measured on the answers shown here of AVG. The store" in (tmp_path / "page" / "index.html").read_text()) == named
