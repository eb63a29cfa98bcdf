"""One query's answer, rankings to and from TREC's formats, outside rows in a table: the commands, over a small table that was measured."""

from __future__ import annotations

import json
import re
import shutil
import webbrowser
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks.run import main
from benchmarks.stages import Store
from methods.stage import Stage

DATASET = "openmoji-scenes-tiny"
ROWS = "avg,clip,scene-facts,random"


@pytest.fixture(scope="module")
def measured(tmp_path_factory, tiny_features) -> Path:
    """A folder with the store and results of some of Table 1's rows."""
    folder = tmp_path_factory.mktemp("answers")
    shutil.copytree(tiny_features, folder / "store")
    paths = ["--store", str(folder / "store"), "--results", str(folder / "results")]
    assert main(["table1", "--tiny", "--rows", ROWS, *paths]) == 0
    assert main(["render", "--from-committed", "--results", str(folder / "results")]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Page(HTMLParser):
    """Notes tags with their attributes, and refuses a page that does not close what it opens."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


@pytest.mark.slow
def test_search_prints_tables_and_writes_a_page_that_stands_alone(measured, tmp_path, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(webbrowser, "open", lambda address: shown.append(address) or True)
    before = contents(measured / "store")
    query = "a dog <script>alert(1)</script> & a red apple"
    page = tmp_path / "page.html"
    options = ["--tiny", "--method", "clip,avg", "--k", "4", "--to", str(page), "--store", str(measured / "store")]
    assert main(["search", query, *options, "--open"]) == 0
    out = capsys.readouterr().out
    assert out.index("CLIP, AVG's own encoder") < out.index("AVG\n"), "rows come in the order that was asked for"
    clip, avg = out.split("AVG\n")
    rows = [line.split() for line in clip.splitlines() if re.match(r" *\d+=? +\d+ ", line)]
    assert len(rows) == 4 and [float(row[2]) for row in rows] == sorted([float(row[2]) for row in rows], reverse=True)
    assert "codes" not in clip and re.search(r"^ *1=? +\d+ +-\d+\.\d+ +\d+-\d+-\d+-\d+ ", avg, re.MULTILINE)
    assert shown == [page.resolve().as_uri()]

    text = page.read_text()
    found = Page(text)
    assert "<script>alert" not in text and query in found.words, "what a user types is text"
    pictures = [attributes for tag, attributes in found.found if tag == "img"]
    assert len(pictures) == 8
    assert all(picture["src"].startswith("data:image/jpeg;base64,") and picture["alt"].startswith("Image ") for picture in pictures)
    assert "http" not in re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", text).replace("https://openmoji.org", "")
    assert "OpenMoji" in found.words, "pictures made of OpenMoji's name it"
    assert contents(measured / "store").keys() == before.keys(), "nothing was made in passing"


@pytest.mark.slow
def test_a_search_finds_what_the_table_ranked(measured, tmp_path, capsys):
    """The first query of the split, asked by hand."""
    store = ["--tiny", "--store", str(measured / "store")]
    assert main(["export-trec", "--to", str(tmp_path), "--rows", "avg,clip", *store]) == 0
    query = (tmp_path / "test.queries.tsv").read_text().splitlines()[0].split("\t")[1]
    capsys.readouterr()
    for row in ("avg", "clip"):
        ranked = [line.split()[2] for line in (tmp_path / f"{row}-seed0.run").read_text().splitlines() if line.startswith("test-0 ")]
        assert main(["search", query, "--method", row, "--to", str(tmp_path / "page.html"), "--no-open", *store]) == 0
        found = re.findall(r"^ *\d+=? +(\d{4,}) ", capsys.readouterr().out, re.MULTILINE)
        assert found == ranked[:10]


def test_search_makes_nothing_that_takes_minutes_unasked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Store, "run", lambda *_: pytest.fail("a stage was run"))
    assert main(["search", "a dog", "--method", "avg,random", "--store", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert re.search(r"avg, random cannot be searched yet: \d+ stages are missing \(data, .*encoder.*\), about \d+ min: make them", error)
    assert "--make" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "a dog", "--method", "avgg"], "unknown row 'avgg': did you mean avg"),
        (["search", " "], "the query is empty"),
        (["search", "a dog", "--method", ","], "no row is named"),
        (["search", "a dog", "--tiny", "--method", "scene-facts"], "row scene-facts reads the facts of made captions, and no other query"),
        (["search", "a dog", "--dataset", "openmoji-scenes,openmoji-scenes-5k"], "search takes one data set"),
        (["export-trec", "--to", "x", "--tiny", "--rows", "avg"], "avg on openmoji-scenes-tiny, test split: not measured yet"),
        (["export-trec", "--to", "x", "--tiny"], "nothing was measured yet on openmoji-scenes-tiny"),
        (["export-trec", "--to", "x", "--rows", "avg", "--qrels"], "--qrels writes no rankings and --rows names some"),
        (["score", "x.run", "--name", "My System"], "'My System' cannot name a row: use small letters"),
        (["score", "x.run", "--into", "tabel1"], "unknown table 'tabel1': did you mean table1?"),
    ],
)
def test_a_mistake_gets_one_line_and_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_an_exported_run_scores_as_the_row_that_it_came_from(measured, tmp_path, capsys):
    results, store = measured / "results", ["--tiny", "--store", str(measured / "store")]
    assert main(["export-trec", "--to", str(tmp_path), *store]) == 0
    assert {path.stem for path in tmp_path.glob("*.run")} == {f"{row}-seed0" for row in ROWS.split(",")}
    table = results / DATASET / "table1.csv"
    own = table.read_text()
    before = contents(results)
    for row in ("avg", "scene-facts"):
        options = ["--name", row, "--label", f"Outside {row}", "--exposure", "none", "--results", str(results), *store]
        assert main(["score", str(tmp_path / f"{row}-seed0.run"), *options]) == 0
    assert f"{DATASET}/table1.md .tex .csv" in capsys.readouterr().out
    lines = [line.split(",") for line in table.read_text().splitlines()]
    values = {(line[1], line[5]): line[6:10] for line in lines}
    for metric in ("R@1", "R@5", "R@10"):
        assert values["outside-avg", metric] == values["avg", metric], "ties and intervals too"
    # it lists the possible images alone: over a gallery so small never ten, and a run does not say that ten were asked for
    assert values["outside-scene-facts", "R@1"] == values["scene-facts", "R@1"]
    assert values["outside-scene-facts", "R@10"][0] == "inapplicable"
    assert set(own.splitlines()) < set(table.read_text().splitlines()), "no other row is touched"
    kinds = {line[1]: line[3:5] for line in lines}
    assert kinds["outside-avg"] == ["reference", "none"]
    markdown = (results / DATASET / "table1.md").read_text()
    assert "*Outside avg*" in markdown and "Outside avg: not of this suite, scored from avg-seed0.run (sha256 " in markdown
    stands = contents(results)

    assert main(["render", "--from-committed", "--results", str(results)]) == 0
    assert contents(results) == stands, "rendered again, the same bytes"
    assert main(["table1", "--rows", ROWS, "--results", str(results), *store]) == 0
    assert "*Outside avg*" in (results / DATASET / "table1.md").read_text(), "measured again, the table keeps them"
    for path in (results / DATASET / "runs").glob("outside-*.json"):
        path.unlink()
    assert main(["render", "--from-committed", "--results", str(results)]) == 0
    assert contents(results) == before


def test_tiny_settings_on_other_data_are_only_printed(cell_work, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmarks.datasets.data_stage", lambda name: Stage("data", "cell_work:data", {"name": name}))
    Path("a.run").write_text("".join(f"test-{query} Q0 {100 + query // 2} 1 1.0 a\n" for query in range(20)))
    score = ["score", "a.run", "--dataset", "ten", "--tiny"]
    assert main(["score", "b.run", *score[2:], "--store", "store"]) == 2
    assert "b.run (No such file" in capsys.readouterr().err and not Path("store").exists(), "asked before the data are made"
    assert main([*score, "--store", "store"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("a: R@1 100.0  R@5 -  R@10 -\nwritten: nowhere: tiny settings on other data (see --results)\n")
    assert not Path("results").exists()
    assert main([*score, "--store", "store", "--results", "mine"]) == 0
    assert Path("mine/ten/runs/outside-a-seed0.json").is_file()


@pytest.mark.slow
def test_a_run_that_answers_only_some_queries(measured, tmp_path, capsys):
    results, store = tmp_path / "results", ["--tiny", "--store", str(measured / "store")]
    assert main(["export-trec", "--qrels", "--to", str(tmp_path / "trec"), *store]) == 0
    assert sorted(path.name for path in (tmp_path / "trec").iterdir()) == ["test.images.tsv", "test.qrels", "test.queries.tsv"]
    right = [line.split() for line in (tmp_path / "trec" / "test.qrels").read_text().splitlines()]
    half = tmp_path / "half.run"
    half.write_text("".join(f"{query} Q0 {image} 1 1.0 half\n" for query, _, image, _ in right[: len(right) // 2]))
    score = ["score", str(half), "--results", str(results), *store]
    assert main(score) == 2
    assert f"has nothing for {len(right) // 2} of {len(right)} queries" in capsys.readouterr().err
    assert not list(results.glob("*/runs/*")), "nothing of a refused run is kept"
    assert main([*score, "--missing"]) == 0
    out = capsys.readouterr().out
    assert "half: R@1 50.0  R@5 -  R@10 -" in out, "it ranks one image a query"
    assert f"table1 of {DATASET} is not in {results} yet" in out
    kept = json.loads((results / DATASET / "runs" / "outside-half-seed0.json").read_text())
    assert (kept["unanswered"], kept["exposure"], kept["outside"]["tables"]) == (len(right) // 2, "not stated", ["table1"])
