"""What plans need from the hub, fetched where there is a network, with a manifest by which it can be checked and fetched again.

{"format": 1, "models": [{"kind", "name", "revision", "commit", "files": [{"path", "bytes", "sha256"}]}]}
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.campaign import DEFAULT_PROTOCOL, refuse_untrainable
from benchmarks.cells import SCENE_FACTS, CellPlan
from benchmarks.overrides import Given, resolved
from benchmarks.protocol import protocol
from benchmarks.spec import Row
from benchmarks.stages import Store
from benchmarks.user_error import UserError
from methods.files.durable import write_atomically
from methods.files.weights import INDEX
from methods.lavis_list import fetch_lavis, lavis_folder
from methods.needs import TOKENIZER_PARTS, Missing, Need, expanded, hub_cache, is_met, require, resolve
from methods.open_clip_list import fetch_by_url, open_clip_source
from methods.registry import create

MANIFEST = "prefetch.json"
CONFIGURATION = (".json", ".txt", ".model", ".jinja")
Manifest = dict[str, Any]


def refuse_missing(plans: Iterable[CellPlan], store: Store) -> None:
    """Does nothing if all that unfinished cells need is on this machine; asked before the first stage runs.

    Raises:
        ValueError: one line names everything that is missing or damaged, and the remedy, or a row that cannot be trained on its data.
    """
    plans = list(plans)
    refuse_untrainable(plans)
    require(needed(plans, store))


def needed(plans: Iterable[CellPlan], store: Store) -> list[Need]:
    """Returns what unfinished cells need, each once."""
    return list(dict.fromkeys(need for plan in plans if plan.needs and store.plan([plan.ranking]) for need in plan.needs))


def needs_of(rows: Iterable[Row], rules: str = DEFAULT_PROTOCOL, given: Given | None = None, base: Given | None = None) -> list[Need]:
    """Returns what rows need, each once: of all of them, on whichever data set each is left out.

    Args:
        rules: name of the protocol.
        given, base: as of `campaign.plan_cells`.

    Raises:
        ValueError: unknown protocol, method or setting, or an impossible value.
    """
    whole = [resolved(row, False, given or {}, protocol(rules), base) for row in rows if row.method != SCENE_FACTS]
    return list(dict.fromkeys(need for row in whole for need in create(row.method, row.settings).needs()))


def prefetch(wanted: Callable[[], Iterable[Need]], manifest: Path, say: Callable[[str], None]) -> list[Need]:
    """Fetches what is wanted and can be fetched, writes the manifest, and returns what is missing all the same: files, environments.

    Args:
        wanted: asked again after each round, since a model that has just come may name another that brings its tokenizer.

    A model that stands in the manifest is fetched at the commit written there.

    Raises:
        ValueError: if the hub does not give something, or the manifest cannot be written; says what and why.
    """
    stated = read_manifest(manifest)
    _write(manifest, stated)  # before anything is fetched: where it cannot be written is said at once
    done: set[Need] = set()
    while todo := [need for need in expanded(wanted()) if need.kind in ("hub", "open_clip", "lavis") and need not in done]:
        for need in todo:
            entry = _entry_of(stated, need)
            say(f"{need} ...")
            _fetch(need, entry["commit"] if entry else "")
            done.add(need)
            made = _described(need)
            size = sum(file["bytes"] for file in made["files"]) / 1e6
            say(f"  {made['commit'][:12] or 'by URL'}: {len(made['files'])} files, {size:,.1f} MB")
            stated["models"] = [other for other in stated["models"] if other is not entry] + [made]
            _write(manifest, stated)
    return [need for need in expanded(wanted()) if not is_met(need)]


def read_manifest(path: Path) -> Manifest:
    """Returns a manifest, empty if there is none.

    Raises:
        ValueError: if the file is something else.
    """
    try:
        stated = json.loads(path.read_text())
        if stated["format"] != 1 or not all({"kind", "name", "revision", "commit", "files"} <= set(entry) for entry in stated["models"]):
            raise ValueError("another format")
    except (FileNotFoundError, NotADirectoryError):
        return {"format": 1, "models": []}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no manifest that prefetch wrote ({error}): name another with --manifest") from error
    return stated


def faults(stated: Manifest) -> list[str]:
    """Returns what of a manifest is not on this machine as it says, one line each: hashes every file."""
    found = []
    for entry in stated["models"]:
        for file in entry["files"]:
            path = _place(entry) / file["path"]
            if not path.is_file():
                found.append(f"{entry['name']}: {file['path']} is missing")
            elif path.stat().st_size != file["bytes"] or _sha256(path) != file["sha256"]:
                found.append(f"{entry['name']}: {file['path']} differs from the manifest ({path})")
    return found


def _write(path: Path, stated: Manifest) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(stated, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}): name another file with --manifest") from error


def _entry_of(stated: Manifest, need: Need) -> Mapping[str, Any] | None:
    same = (
        entry for entry in stated["models"] if (entry["kind"], entry["name"], entry["revision"]) == (need.kind, need.name, need.revision)
    )
    return next((entry for entry in same if entry.get("of", []) == list(need.files)), None)


def _fetch(need: Need, commit: str) -> None:
    from huggingface_hub import constants, errors

    if is_met(need) and (not commit or commit in resolve(need).parts):
        return
    if constants.HF_HUB_OFFLINE:
        raise ValueError(f"HF_HUB_OFFLINE is set and {need} is not here: prefetch is for a machine with a network, without that variable")
    try:
        _download(need, commit)
    except errors.GatedRepoError as error:
        raise ValueError(f"{need.name} is gated: accept its licence on huggingface.co and log in (`hf auth login`)") from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ValueError(f"the hub has no {need}, or it is private: check the name, or log in (`hf auth login`)") from error
    except Exception as error:  # the network raises kinds of its own
        first = str(error).strip().splitlines()[:1]
        raise ValueError(f"cannot fetch {need}: {type(error).__name__} {''.join(first)[:200]}") from error
    if not is_met(need):
        raise ValueError(f"{need} was fetched, but is not all that a model needs: its repository holds no configuration with weights")


def _download(need: Need, commit: str) -> None:
    from huggingface_hub import hf_hub_download, snapshot_download

    if need.kind == "hub":
        repository, revision = need.name, need.revision or "main"
        snapshot_download(
            repository, revision=commit or revision, allow_patterns=_patterns(need, commit or revision), cache_dir=hub_cache()
        )
    elif need.kind == "lavis":
        fetch_lavis(need.name)
        return
    else:
        repository, names, url = open_clip_source(need.name, need.revision)
        revision = "main"
        if url:
            fetch_by_url(url)
            return
        there = _listed(repository, commit or revision)
        file = next((name for name in names if name in there), None)
        if file is None:
            raise ValueError(f"{repository} holds none of {', '.join(names)}")
        hf_hub_download(repository, file, revision=commit or revision, cache_dir=hub_cache())
    if commit and commit != revision:
        # from here on the name means the manifest's commit, also where no network can say what it means elsewhere
        reference = hub_cache() / f"models--{repository.replace('/', '--')}" / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)


def _patterns(need: Need, revision: str) -> list[str]:
    """Returns the names to fetch: a model's configuration and weights in one format, not its copies for other frameworks."""
    names = [name for name in _listed(need.name, revision) if "/" not in name]
    if need.files:
        return [name for name in names if name in need.files + TOKENIZER_PARTS]
    weights = next((kind for kind in (".safetensors", ".bin", ".pt", ".pth") if any(name.endswith(kind) for name in names)), "")
    others = [name for name in names if name.endswith(INDEX) and not name.endswith(weights + INDEX)]  # they name files that do not come
    return [name for name in names if (name.endswith(CONFIGURATION) and name not in others) or (weights and name.endswith(weights))]


def _listed(repository: str, revision: str) -> list[str]:
    from huggingface_hub import HfApi

    return HfApi().list_repo_files(repository, revision=revision)


def _described(need: Need) -> dict[str, Any]:
    path = resolve(need)
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if need.files:
        files = [file for file in files if file.name in need.files + TOKENIZER_PARTS]
    listed = [{"path": file.relative_to(folder).as_posix(), "bytes": file.stat().st_size, "sha256": _sha256(file)} for file in files]
    commit = folder.name if folder.parent.name == "snapshots" else ""
    repository = open_clip_source(need.name, need.revision)[0] if need.kind == "open_clip" else need.name
    entry = {"kind": need.kind, "name": need.name, "revision": need.revision, "repository": repository, "commit": commit, "files": listed}
    return {**entry, "of": list(need.files)} if need.files else entry


def _place(entry: Mapping[str, Any]) -> Path:
    if entry["commit"]:
        return hub_cache() / f"models--{entry['repository'].replace('/', '--')}" / "snapshots" / entry["commit"]
    return lavis_folder() if entry["kind"] == "lavis" else Path("~/.cache/clip").expanduser()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remedied(lacking: Sequence[str], *given: str) -> list[str]:
    """Returns lines of NEED: REMEDY without the remedy of models, of which there may be many; the command that fetches them is the last.

    Args:
        given: what `prefetch` is given: the table and its options.
    """
    remedy = f": {Need('hub', '').remedy}"
    lines = [line.removesuffix(remedy) for line in lacking]
    fetch = f"models are fetched, where there is a network, by `python -m benchmarks.run {shlex.join(['prefetch', *given])}`"
    return [*lines, fetch] if lines != list(lacking) else lines


def told(gone: Sequence[Need]) -> str:
    """Returns the line about what cannot be fetched."""
    return str(Missing(gone))
