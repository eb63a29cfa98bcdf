"""prefetch against a hub of this machine's own, then the same plan without any network; and doctor."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.overrides import parsed
from benchmarks.prefetch import _patterns, faults, needs_of, read_manifest, remedied
from benchmarks.run import main
from benchmarks.tables import TABLES, table
from methods.needs import Need, is_met
from tests import checkpoints

ROOT = Path(__file__).resolve().parents[2]
COMMIT, LATER = "a" * 40, "b" * 40


class Hub(http.server.ThreadingHTTPServer):
    """As much of huggingface.co as downloads ask for: repositories are folders, `main` is one commit."""

    def __init__(self, repositories: dict[str, Path]):
        self.repositories, self.head, self.asked = repositories, COMMIT, []
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        path = self.path.partition("?")[0]
        info = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path)
        tree = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = info or tree or file
        folder = self.server.repositories.get(found[1]) if found else None
        if folder is None:
            return self.send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        names = sorted(path.name for path in folder.iterdir())
        commit = self.server.head if found[2] in (None, "main") else found[2]
        if info:
            return self.send_json({"id": info[1], "modelId": info[1], "sha": commit, "siblings": [{"rfilename": name} for name in names]})
        if tree:
            entries = [{"type": "file", "path": name, "size": (folder / name).stat().st_size, "oid": "0" * 40} for name in names]
            return self.send_json(entries)
        if file[3] not in names:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        data = (folder / file[3]).read_bytes()
        return self.send(200, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": commit})

    do_HEAD = do_GET

    def send_json(self, what):
        self.send(200, json.dumps(what).encode(), {"Content-Type": "application/json"})

    def send(self, status, data, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    tokenizer = checkpoints.siglip_tokenizer(root / "tokenizer")
    checkpoints.open_clip_folder(root / "siglip", checkpoints.SIGLIP)
    (root / "siglip" / "flax_model.msgpack").write_bytes(b"for another framework")
    checkpoints.transformers_clip(root / "clip")
    hub = Hub({"tiny/siglip": root / "siglip", "tiny/siglip-tokenizer": tokenizer, "tiny/clip": root / "clip"})
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    yield hub
    hub.shutdown()
    hub.server_close()


def run(folder: Path, *arguments: str, hub: Hub | None = None) -> subprocess.CompletedProcess[str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("VOKENBENCH_", "HF_"))}
    network = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "NO_PROXY": "*"} if hub else {"HF_HUB_OFFLINE": "1"}
    places = {"PYTHONPATH": str(ROOT), "VOKENBENCH_STORE": str(folder / "store"), "HF_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "benchmarks.run", *arguments]
    return subprocess.run(command, cwd=folder, env={**own, **network, **places}, capture_output=True, text=True, timeout=300)


def clip_row(model: str) -> list[str]:
    return ["table1", "--rows", "clip", "--set", f"clip.encoder.model={model}"]


@pytest.mark.slow
def test_what_is_fetched_on_one_machine_runs_offline(hub, tmp_path):
    """The model's tokenizer is in a repository that only the model's own configuration names."""
    missing = run(tmp_path, *clip_row("tiny/siglip"), "--tiny")
    assert missing.returncode == 2
    assert missing.stderr == (
        "vokenbench: not on this machine: model tiny/siglip: "
        "run `prefetch` with the same table, --rows, --settings, --set and --protocol where there is a network\n"
    )
    fetched = run(tmp_path, "prefetch", *clip_row("tiny/siglip"), hub=hub)
    assert fetched.returncode == 0, fetched.stderr
    assert "written: " in fetched.stdout and "with 2 models" in fetched.stdout
    manifest = read_manifest(tmp_path / "store" / "prefetch.json")
    assert [(entry["name"], entry["commit"]) for entry in manifest["models"]] == [
        ("tiny/siglip", COMMIT),
        ("tiny/siglip-tokenizer", COMMIT),
    ]
    files = {file["path"]: file for file in manifest["models"][0]["files"]}
    assert set(files) == {"open_clip_config.json", "open_clip_model.safetensors"}, "nothing for other frameworks"
    original = (hub.repositories["tiny/siglip"] / "open_clip_model.safetensors").read_bytes()
    assert files["open_clip_model.safetensors"] == {
        "path": "open_clip_model.safetensors", "bytes": len(original), "sha256": hashlib.sha256(original).hexdigest()
    }  # fmt: skip

    asked = len(hub.asked)
    done = run(tmp_path, *clip_row("tiny/siglip"), "--tiny")
    assert done.returncode == 0, done.stderr
    assert "CLIP, AVG's own encoder" in done.stdout
    assert len(hub.asked) == asked

    blob = next((tmp_path / "home" / "hub" / "models--tiny--siglip" / "snapshots").rglob("open_clip_model.safetensors")).resolve()
    blob.write_bytes(original[:-8])
    checked = run(tmp_path, "prefetch", "--check")
    assert checked.returncode == 2
    assert "tiny/siglip: open_clip_model.safetensors differs from the manifest" in checked.stdout
    (tmp_path / "store" / "model").rename(tmp_path / "aside")
    cut = run(tmp_path, *clip_row("tiny/siglip"), "--tiny", "--split", "val")
    assert cut.returncode == 2
    assert f"is damaged (it has {len(original) - 8:,} bytes instead of {len(original):,}): fetch it again" in cut.stderr


@pytest.mark.slow
def test_the_manifest_pins_the_commit(hub, tmp_path):
    assert run(tmp_path, "prefetch", *clip_row("tiny/clip"), "--manifest", "models.json", hub=hub).returncode == 0
    (tmp_path / "home").rename(tmp_path / "aside")
    hub.head = LATER
    try:
        again = run(tmp_path, "prefetch", *clip_row("tiny/clip"), "--manifest", "models.json", hub=hub)
    finally:
        hub.head = COMMIT
    assert again.returncode == 0, again.stderr
    assert read_manifest(tmp_path / "models.json")["models"][0]["commit"] == COMMIT
    assert run(tmp_path, *clip_row("tiny/clip"), "--dry-run").stdout.count("not on this machine") == 0


def test_of_weights_in_two_formats_and_shards_one_is_fetched(monkeypatch, tmp_path):
    """As of LLaMA-2-7b: the index of the other format names shards that do not come."""
    shards = {kind: [f"model-0000{part}-of-00002{kind}" for part in (1, 2)] for kind in (".safetensors", ".bin")}
    names = ["config.json", "tokenizer.json", "model.safetensors.index.json", "pytorch_model.bin.index.json", "README.md"]
    monkeypatch.setattr("benchmarks.prefetch._listed", lambda repository, revision: [*names, *shards[".safetensors"], *shards[".bin"]])
    need = Need("hub", "tiny/sharded")
    wanted = _patterns(need, "main")
    assert set(wanted) == {*names[:3], *shards[".safetensors"]}
    snapshot = tmp_path / "models--tiny--sharded" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("methods.needs.hub_cache", lambda: tmp_path)
    for name in wanted:
        (snapshot / name).write_text(json.dumps({"weight_map": dict(zip("ab", shards[".safetensors"], strict=True))}))
    assert is_met(need)
    (snapshot / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": dict(zip("ab", shards[".bin"], strict=True))}))
    assert is_met(need), "fetched by another program, index and all"
    (snapshot / shards[".safetensors"][1]).unlink()
    assert not is_met(need)


@pytest.mark.slow
def test_what_the_hub_does_not_have_is_one_line(hub, tmp_path):
    done = run(tmp_path, "prefetch", *clip_row("tiny/nothing"), hub=hub)
    assert done.returncode == 2
    assert done.stderr == "vokenbench: the hub has no model tiny/nothing, or it is private: check the name, or log in (`hf auth login`)\n"
    done = run(tmp_path, "prefetch", *clip_row("tiny/nothing"))
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE is set and model tiny/nothing is not here" in done.stderr
    done = run(tmp_path, *clip_row("tiny/nothing"), "--dry-run")
    assert "not on this machine: model tiny/nothing\n" in done.stdout
    assert f"by `python -m benchmarks.run prefetch {' '.join(clip_row('tiny/nothing'))}`\n" in done.stdout


def test_rows_need_the_same_on_whichever_data_set_they_are():
    needs = needs_of(table("references").rows)
    assert {need.name for need in needs if need.kind == "hub"} == {"Salesforce/blip-itm-base-flickr", "Salesforce/blip-itm-base-coco"}
    assert {need.name for need in needs if need.kind == "lavis"} == {"blip_retrieval/flickr", "blip_retrieval/coco"}
    assert needs.count(Need("environment", "lavis")) == 1
    assert len([need for need in needs if need.kind == "open_clip"]) == 8
    assert needs_of(table("table1").rows) == []
    given = parsed(["avg.backbone=tiny/t5"], table("table1"))
    assert needs_of(table("table1").rows, "paper", given) == [Need("hub", "tiny/t5")]
    with pytest.raises(ValueError, match="unknown protocol"):
        needs_of(table("table1").rows, "papre")


@pytest.mark.parametrize("name", TABLES)
def test_blip_is_wanted_though_it_has_no_row_on_the_default_data(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.prefetch._fetch", lambda need, commit: fetched.append(need))
    monkeypatch.setattr("benchmarks.prefetch._described", lambda need: {"kind": "", "name": "", "revision": "", "commit": "", "files": []})
    fetched: list[Need] = []
    main(["prefetch", name, "--manifest", str(tmp_path / "new" / "models.json")])
    assert (Need("hub", "Salesforce/blip-itm-base-coco") in fetched) == (name in ("references", "table2"))
    assert (tmp_path / "new" / "models.json").is_file()


@pytest.mark.parametrize("place", ["/proc/x/y", "file/models.json"])
def test_a_manifest_that_cannot_be_written_is_said_before_anything_is_fetched(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["prefetch", "references", "--manifest", place]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"vokenbench: cannot write {place} (") and told.err.endswith("): name another file with --manifest\n")
    assert (told.out, told.err.count("\n")) == ("", 1)


def test_a_manifest_of_another_kind_is_refused(tmp_path):
    assert faults(read_manifest(tmp_path / "none.json")) == []
    (tmp_path / "other.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match=r"other\.json is no manifest that prefetch wrote .*--manifest"):
        read_manifest(tmp_path / "other.json")


def test_a_check_without_a_manifest_says_what_is_there_and_what_is_not(tmp_path, capsys):
    (tmp_path / "t5").mkdir()
    (tmp_path / "t5" / "config.json").write_text('{"model_type": "t5"}')
    (tmp_path / "t5" / "tokenizer.json").write_text("{}")
    check = ["prefetch", "table1", "--rows", "avg", "--check", "--store", str(tmp_path), "--set"]
    assert main([*check, f"avg.backbone={tmp_path}/t5"]) == 0
    there = f"all that is needed is on this machine; there is no manifest at {tmp_path}/prefetch.json, so hashes could not be compared\n"
    assert capsys.readouterr().out == there
    assert main([*check, "avg.backbone=tiny/nothing"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(
        f"vokenbench: no manifest at {tmp_path}/prefetch.json: run prefetch, or name another with --manifest; not on this"
    )
    assert "not on this machine: model tiny/nothing" in told and told.count("\n") == 1


def test_the_remedy_of_many_models_is_one_command():
    lines = [f"{need}: {need.remedy}" for need in (Need("hub", "a/b"), Need("hub", "c/d"), Need("environment", "lavis"))]
    command = "models are fetched, where there is a network, by `python -m benchmarks.run prefetch references --rows a,b`"
    assert remedied(lines, "references", "--rows", "a,b") == ["model a/b", "model c/d", "environment lavis: run `make lavis`", command]
    assert remedied(lines[2:], "references") == lines[2:]


@pytest.mark.slow
def test_doctor_tells_what_runs_and_what_tables_lack(tmp_path):
    done = run(tmp_path, "doctor")
    assert done.returncode == 0, done.stderr
    assert "  table1 on openmoji-scenes: can run now" in done.stdout
    assert "! references on openmoji-scenes: needs models" in done.stdout
    assert "HF_HUB_OFFLINE=1" in done.stdout
    found = json.loads(run(tmp_path, "doctor", "--json").stdout)
    assert found["tables"]["table1"]["data"]["openmoji-scenes"] == {"ready": True, "needs": ""}
    assert any("tokenizer of timm/ViT-B-16-SigLIP: run `prefetch`" in line for line in found["tables"]["references"]["models lacking"])
    assert any("Salesforce/blip-itm-base-flickr: run `prefetch`" in line for line in found["tables"]["references"]["models lacking"])
    assert found["tables"]["table1"]["rows that lack a model"] == []
    assert "blip-base-transformers-mscoco-5k" in found["tables"]["references"]["rows that lack a model"]
    assert found["hub"]["cache"] == str(tmp_path / "home" / "hub")
    assert found["python"]["ok"] and {each["name"] for each in found["packages"]} >= {"torch", "transformers"}
    assert not (tmp_path / "store").exists(), "it changes nothing"
