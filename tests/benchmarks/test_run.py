"""The command line, in processes of its own, as a user meets it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from benchmarks.drawing import save
from benchmarks.options import tiny_option
from benchmarks.stages import Store
from tests.command import ROOT, environment
from tests.command import run as run_here


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.run", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=120)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """A folder in which a small part of Table 1 was measured."""
    folder = tmp_path_factory.mktemp("measured")
    done = run(folder, "table1", "--tiny", "--rows", "random,scene-facts", "--results", "results", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert "Random, seed 0, openmoji-scenes-tiny: R@1" in done.stderr
    assert "*Random*" in done.stdout
    assert "fresh" in done.stdout
    assert "\r" not in done.stderr, "no bar is drawn where no one watches"
    return folder


def test_help_answers_without_heavy_imports(tmp_path):
    source = (
        "import sys; from benchmarks.run import main; main(['--help']); print({'torch', 'numpy', 'pydantic', 'tqdm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("set()\n")
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    assert "table1" in done.stdout
    assert "goes on" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel1"], "unknown command or table 'tabel1': did you mean table1?"),
        (["table1", "--datset", "x"], "unknown option '--datset': did you mean --dataset?"),
        (["table1", "--dataset", "openmoji-scene"], "unknown data set 'openmoji-scene': did you mean openmoji-scenes"),
        (["table1", "--rows", "random,avgg"], "unknown row 'avgg' of table1: did you mean avg?"),
        (["table1", "--rows", "random", "--protocol", "klean"], "unknown protocol 'klean': did you mean clean?"),
        (["table1", "--seeds", "0"], "Invalid value for '--seeds'"),
        (["table1", "--set", "avgg.x=1"], "no row of the table has the method 'avgg': did you mean avg?"),
        (["table1", "--set", "avg.codebook_sise=1"], "unknown setting 'codebook_sise' of avg: did you mean tokenizer.codebook_size?"),
        (["table1", "--set", "avg.codebook_size=0"], "impossible setting of avg: tokenizer.codebook_size = 0"),
        (["table1", "--set", "avg.beam=0"], "impossible search knob: beam = 0"),
        (
            ["table1", "--tiny", "--results", "file/results"],
            "cannot write to file/results/openmoji-scenes-tiny (Not a directory): name another",
        ),
        (
            ["table1", "--tiny", "--rows", "random", "--store", "file/store"],
            "file/store (Not a directory): name another folder with --store",
        ),
        (["table1", "--rows", "random", "--split", "tset"], "unknown split 'tset': did you mean test? valid are train, val, test"),
        (
            ["table1", "--rows", "avg", "--set", "avg.backbone=."],
            "is no transformers folder: config.json is missing or states no model_type",
        ),
        (
            ["table1", "--rows", "avg", "--set", "avg.lora_rank=8"],
            "impossible setting of avg: generator: Value error, lora_rank: the default",
        ),
        (
            ["table1", "--rows", "avg", "--set", "avg.language_model=llama", "--set", "avg.generator.heads=7"],
            "heads: 7 of a language_model do not divide its width 256 into even parts: set heads or width",
        ),
        (["prefetch", "nonsense", "--check"], "unknown table 'nonsense'"),
        (["prefetch", "--check", "--manifest", "none.json"], "no manifest at none.json: run prefetch, or name another with --manifest"),
        (["table1", "--tiny", "--profile", "generic"], "--profile is for --executor slurm: give both"),
        (["table1", "--tiny", "--executor", "local", "--profile", "generic"], "--profile is for --executor slurm: give both"),
        (["all", "--tiny", "--profile", "generic", "--dry-run"], "--profile is for --executor slurm: give both"),
        (
            ["render", "--from-committed"],
            "results holds no tables (table1, ",
        ),
        (["data", "--dataset", "flickr"], "unknown data set 'flickr'"),
        (["data", "--dataset", "openmoji-scenes,openmoji-scenes-tiny", "--contact-sheet", "x.png"], "--contact-sheet shows one data set"),
        (["methods", "avgg"], "unknown method 'avgg': did you mean avg?"),
    ],
)
def test_a_mistake_gets_one_line_and_code_2(tmp_path, arguments, message):
    (tmp_path / "file").touch()
    done = run(tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.startswith("vokenbench: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("own", "options", "policy"), [(None, ["--tiny"], "passive"), (None, [], None), ("active", ["--tiny"], "active")])
def test_tiny_work_waits_asleep_unless_the_user_says_otherwise(monkeypatch, own, options, policy):
    monkeypatch.setenv("OMP_WAIT_POLICY", own or "")  # what stands there afterwards is as before
    if own is None:
        del os.environ["OMP_WAIT_POLICY"]
    told: list[str | None] = []

    @click.command()
    @tiny_option
    def command(tiny: bool) -> None:
        told.append(os.environ.get("OMP_WAIT_POLICY"))

    command.main(options, standalone_mode=False)
    assert told == [policy]


def test_without_arguments_the_help_is_shown_as_it_is(tmp_path):
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == run(tmp_path, "--help").stdout


def test_again_it_is_quick_makes_nothing_and_leaves_the_same_bytes(measured):
    results, store = contents(measured / "results"), contents(measured / "store")
    assert {"openmoji-scenes-tiny/table1.md", "openmoji-scenes-tiny/table1.tex", "openmoji-scenes-tiny/table1.csv"} < set(results)
    assert {"openmoji-scenes-tiny/runs/random-seed0.json", "openmoji-scenes-tiny/runs/scene-facts-seed0.json"} < set(results)
    source = (
        "import sys; from benchmarks.run import main\n"
        "code = main(['table1', '--tiny', '--rows', 'random,scene-facts', '--results', 'results'])\n"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=measured, env=environment(measured), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.endswith("0 False\n"), done.stderr
    assert "fresh" not in done.stdout
    assert contents(measured / "results") == results
    assert contents(measured / "store") == store


def test_rendering_writes_the_rows_that_were_measured_as_they_were(measured):
    before = (measured / "results" / "openmoji-scenes-tiny" / "table1.csv").read_text()
    done = run(measured, "render", "--from-committed", "--results", "results")
    assert done.returncode == 0, done.stderr
    after = (measured / "results" / "openmoji-scenes-tiny" / "table1.csv").read_text()
    assert after == before
    assert "avg" in after, "rows that were not measured are shown as missing"
    assert "missing" in after


def test_a_part_of_a_table_does_not_overwrite_the_whole_one(measured):
    before = contents(measured / "results")
    done = run(measured, "table1", "--tiny", "--rows", "random")
    assert done.returncode == 0, done.stderr
    assert "*Random*" in done.stdout
    assert "see --results" in done.stdout
    assert contents(measured / "results") == before


def test_rows_are_added_to_a_results_folder_and_a_variant_is_not(measured, tmp_path):
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "results" / "openmoji-scenes-tiny"
    done = run(tmp_path, "table1", "--tiny", "--rows", "random", "--results", "results")
    assert done.returncode == 0, done.stderr
    assert "Ideal matcher" in (folder / "table1.md").read_text() and (folder / "runs" / "scene-facts-seed0.json").is_file()
    before = contents(tmp_path / "results")
    done = run(tmp_path, "table1", "--tiny", "--rows", "avg", "--set", "avg.beam=3", "--results", "results")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert "holds table1 with other settings than these (" in done.stderr and "name another folder with --results" in done.stderr
    assert contents(tmp_path / "results") == before


@pytest.mark.parametrize("command", [["table1"], ["table1", "--rows", "random"], ["table2"], ["all"], ["protocols"], ["training-size"]])
def test_no_command_mixes_with_a_variant(measured, tmp_path, command):
    runs = tmp_path / "results" / "openmoji-scenes-tiny" / "runs"
    runs.mkdir(parents=True)
    stated = json.loads((measured / "results" / "openmoji-scenes-tiny" / "runs" / "random-seed0.json").read_text())
    (runs / "avg-seed0.json").write_text(json.dumps({**stated, "row": "avg", "method": "avg", "variant": {"beam": 3}}))
    before = contents(tmp_path / "results")
    done = run_here(tmp_path, *command, "--tiny", "--results", "results")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    name = command[0] if command[0].startswith("table") else "table1"
    assert f"openmoji-scenes-tiny holds {name} with other settings than these (avg-seed0.json): name another folder" in done.stderr
    assert contents(tmp_path / "results") == before
    assert not list((tmp_path / "store").glob("ranking/*"))


def full_disk(handle):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_under_results_is_one_line_and_loses_nothing(measured, tmp_path, monkeypatch):
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path / "results")
    monkeypatch.setattr("methods.files.durable.os.fsync", full_disk)
    for command in (["table1", "--tiny", "--rows", "random", "--results", "results"], ["render", "--from-committed"]):
        done = run_here(tmp_path, *command)
        told = done.stderr.splitlines()[-1]
        assert done.returncode == 2
        assert told.startswith("vokenbench: cannot read or write results/openmoji-scenes-tiny/")
        assert "(No space left on device): make room there, or name another place, and give the same command again" in told
        assert contents(tmp_path / "results") == before


def test_a_full_disk_under_a_figure_is_named(tmp_path):
    figure = SimpleNamespace(savefig=lambda path, **how: full_disk(None))
    with pytest.raises(OSError, match=r"No space left on device: '.*/figure4.png'"):
        save(figure, tmp_path, "figure4")


def test_a_folder_where_a_file_belongs_is_named(measured, tmp_path):
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    (tmp_path / "trec" / "test.qrels").mkdir(parents=True)
    done = run_here(tmp_path, "export-trec", "--tiny", "--qrels", "--to", "trec")
    assert done.returncode == 2
    assert done.stderr == (
        "vokenbench: cannot read or write trec/test.qrels (Is a directory): put that right, or name another place, and give the same "
        "command again; finished stages are kept\n"
    )
    (tmp_path / "results" / "openmoji-scenes-tiny" / "runs" / "avg-seed0.json").mkdir()
    done = run_here(tmp_path, "render", "--from-committed")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "avg-seed0.json cannot be read (Is a directory): delete it and run its cell again" in done.stderr


def test_an_error_of_no_file_is_not_taken_for_the_users(tmp_path, monkeypatch):
    def refused(*arguments):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr("benchmarks.stages.Store.__init__", refused)
    with pytest.raises(ConnectionRefusedError):
        run_here(tmp_path, "table1", "--tiny", "--rows", "random")


def test_a_dry_run_lists_what_is_missing_and_runs_nothing(measured):
    done = run(measured, "table1", "--tiny", "--rows", "random,clip", "--dry-run")
    assert done.returncode == 0, done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines()[:-1]]
    assert "encoder" in names
    assert "ranking" in names
    assert "data" not in names, "that is there"
    assert names.count("ranking") == 1
    assert f"{len(names)} stages of 2 cells are missing" in done.stdout.splitlines()[-1]
    assert run(measured, "table1", "--tiny", "--rows", "random", "--dry-run").stdout.startswith("0 stages of 1 cells")


def test_a_damaged_stage_is_named_and_made_again(measured):
    before = contents(measured / "results")
    path = sorted((measured / "store" / "ranking").glob("*/ranking.npz"))[0]
    path.write_bytes(path.read_bytes()[:-7])
    done = run(measured, "table1", "--tiny", "--rows", "random,scene-facts")
    assert done.returncode == 0, done.stderr
    assert "ranking.npz has " in done.stderr
    assert "rebuilding" in done.stderr
    assert "1 fresh, 1 cached" in done.stdout
    assert contents(measured / "results") == before


def test_data_says_what_is_in_it_and_draws_a_sheet(measured):
    done = run(measured, "data", "--tiny", "--contact-sheet", "sheet.png")
    assert done.returncode == 0, done.stderr
    assert "240 images" in done.stdout
    assert "% of captions also fit another image" in done.stdout
    assert (measured / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_methods_lists_what_can_be_set(tmp_path):
    assert "tokenizer.codebook_size" in run(tmp_path, "methods", "avg").stdout
    listed = run(tmp_path, "methods")
    assert listed.returncode == 0, listed.stderr
    assert "grace-structured" in listed.stdout


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_an_interrupt_is_one_line_and_nothing_half_written_is_taken_for_whole(tmp_path, sent, code):
    command = [sys.executable, "-m", "benchmarks.run", "data", "--dataset", "openmoji-scenes"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` has its commands ignore it, and what they start
    )  # fmt: skip
    assert "[1/1] data" in process.stderr.readline()
    time.sleep(0.5)
    process.send_signal(sent)
    out, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == ""
    assert error.strip() == "interrupted; finished stages are kept, run the same command to go on"
    if sent == signal.SIGTERM:
        Store(tmp_path / "store")  # what a terminated one leaves is removed by the next
    assert list((tmp_path / "store").glob("*/.*")) == []
    assert list((tmp_path / "store").glob("data/*")) == []
