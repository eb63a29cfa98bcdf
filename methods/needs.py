"""What a method needs that neither this project nor PyPI brings: models of the hub, open_clip's checkpoints, files, environments.

Looking is light and asks no network; `benchmarks/prefetch.py` downloads. A model is found where its own library would look for it: in the
hub's cache (HF_HOME), in `~/.cache/clip` for the few checkpoints that open_clip fetches by URL, on the disk, in the project's folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from avg.tokenizer_files import FILES as TOKENIZER
from methods.files.weights import INDEX, contents_hash, damage, shards_named
from methods.lavis_list import lavis_file
from methods.open_clip_list import open_clip_source

PROJECT = Path(__file__).resolve().parent.parent
TOKENIZER_PARTS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "config.json")
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.npz")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True, order=True)
class Need:
    """One thing that must be on this machine before a stage that uses it runs.

    Args:
        kind: `hub` (a repository of the Hugging Face hub), `open_clip` (a checkpoint that open_clip knows by architecture and tag),
            `lavis` (one that LAVIS knows as MODEL/TYPE), `file` (a file or folder of the user's) or `environment` (an environment of its
            own, made by `make NAME`).
        name: repository, architecture, path, or name of the environment.
        revision: of a repository: branch, tag or commit, `main` where empty; of `open_clip`: the pretrained tag.
        files: of a repository: what is wanted of it, as file name patterns of which one must be there; a whole model where empty.
    """

    kind: Literal["hub", "open_clip", "lavis", "file", "environment"]
    name: str
    revision: str = ""
    files: tuple[str, ...] = ()

    @classmethod
    def of_model(cls, name: str) -> Need:
        """Returns the need of a model that a setting names: a path where there is one or it reads like one, else `REPOSITORY[@REVISION]`.

        Raises:
            ValueError: if the name is neither.
        """
        if Path(name).exists() or name.startswith(("/", "./", "../", "~")):
            return cls("file", name)
        repository, _, revision = name.partition("@")
        if not HUB_ID.fullmatch(repository):
            raise ValueError(f"{name!r} is neither a file or folder nor a model's name on the hub, ORGANISATION/NAME")
        return cls("hub", repository, revision)

    def __str__(self) -> str:
        what = {"hub": "model", "open_clip": "open_clip model", "lavis": "LAVIS's checkpoint"}.get(self.kind, self.kind)
        if self.kind == "hub" and self.files:
            what = "tokenizer" if self.files == TOKENIZER else self.files[0]
            what += " of"
        return f"{what} {self.name}" + (f" ({self.revision})" if self.revision else "")

    @property
    def remedy(self) -> str:
        """What makes it be there, as the end of a sentence."""
        return {"file": "name one that exists", "environment": f"run `make {self.name}`"}.get(
            self.kind, "run `prefetch` with the same table, --rows, --settings, --set and --protocol where there is a network"
        )


class Missing(ValueError):
    """Something that is needed is not on this machine; one line says what and what to do."""

    def __init__(self, needs: Iterable[Need]):
        self.needs = tuple(needs)
        by_remedy: dict[str, list[str]] = {}
        for need in self.needs:
            by_remedy.setdefault(need.remedy, []).append(str(need))
        super().__init__("; ".join(f"not on this machine: {', '.join(names)}: {remedy}" for remedy, names in by_remedy.items()))


def resolve(need: Need) -> Path:
    """Returns where a need is met: a repository's snapshot folder, a checkpoint file, the file or folder, an environment's interpreter.

    Raises:
        Missing: if it is not on this machine, or only in part.
    """
    found = {"hub": _snapshot, "open_clip": _checkpoint, "lavis": _lavis, "file": _file, "environment": _interpreter}[need.kind](need)
    if found is None:
        raise Missing([need])
    return found


def is_met(need: Need) -> bool:
    try:
        resolve(need)
    except Missing:
        return False
    return True


def missing(needs: Iterable[Need]) -> list[Need]:
    """Returns the needs that are not met on this machine, with what they bring along, each once, in order.

    Raises:
        ValueError: if open_clip knows no such architecture or checkpoint; lists the nearest.
    """
    return [need for need in expanded(needs) if not is_met(need)]


def require(needs: Iterable[Need]) -> None:
    """Does nothing if all needs are met by files that are whole.

    Raises:
        Missing: if some are not; tells all of them at once.
        ValueError: if a file of weights is damaged; names it.
    """
    needs = list(needs)
    gone = missing(needs)
    if gone:
        raise Missing(gone)
    for need in needs:
        for path in weights_of(need):
            wrong = damage(path)
            if wrong:
                raise ValueError(f"{path} is damaged ({wrong}): fetch it again")


def weights_of(need: Need) -> list[Path]:
    """Returns the files of weights that meet a need, and the indexes of those in several files."""
    if need.kind == "environment" or need.files:
        return []
    path = resolve(need)
    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.is_file())
    return [file for file in files if any(fnmatch(file.name, pattern) for pattern in (*WEIGHTS, f"*{INDEX}"))]


def expanded(needs: Iterable[Need]) -> list[Need]:
    """Returns the needs and what they bring along, each once: an open_clip model may take its tokenizer from another repository."""
    return list(dict.fromkeys(each for need in needs for each in (need, *_companions(need))))


def identity(need: Need) -> str:
    """Returns what tells this very model from another of the same name: a commit, or a hash of contents.

    It enters the keys of stages. What is not there yet has its name alone; it is refused before any stage runs.
    """
    if not is_met(need):
        return f"{need.kind}:{need.name}@{need.revision}"
    path = resolve(need)
    if need.kind == "hub":
        return f"hub:{need.name}@{path.name}"
    if need.kind == "open_clip":
        # of a repository the snapshot's commit; a tag alone says nothing of what the repository holds by now
        is_snapshot = path.parent.parent.name == "snapshots"
        return f"open_clip:{need.name}@{need.revision}:{path.parent.name if is_snapshot else contents_hash(path)}"
    return f"sha256:{contents_hash(path)}"


def _file(need: Need) -> Path | None:
    path = Path(need.name).expanduser()
    return path if path.exists() else None


def _lavis(need: Need) -> Path | None:
    path = lavis_file(need.name)
    return path if path.is_file() else None


def _interpreter(need: Need) -> Path | None:
    root = Path(os.environ.get(f"VOKENBENCH_{need.name.upper()}", PROJECT / f".venv-{need.name}"))
    path = root / "bin" / "python"
    return path if path.exists() else None


def hub_cache() -> Path:
    """Returns the folder in which huggingface_hub keeps repositories, as HF_HOME and HF_HUB_CACHE say."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _snapshot(need: Need) -> Path | None:
    """Returns the folder of a repository's snapshot if what is wanted of it is there; a download that was cut short leaves less."""
    repository = hub_cache() / f"models--{need.name.replace('/', '--')}"
    reference = repository / "refs" / (need.revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else need.revision
    folder = repository / "snapshots" / commit
    if not commit or not folder.is_dir():
        return None
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if need.files:
        return folder if any(fnmatch(name, pattern) for name in names for pattern in need.files) else None
    has_config = names & {"config.json", "open_clip_config.json"}
    weights = {name for name in names for pattern in WEIGHTS if fnmatch(name, pattern)}
    of_indices = [set(shards_named(folder / name)) for name in names if name.endswith(INDEX)]  # one a format
    whole = any(shards <= names for shards in of_indices) or weights.difference(*of_indices)
    return folder if has_config and weights and whole else None


def _checkpoint(need: Need) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    repository, names, url = open_clip_source(need.name, need.revision)
    if repository:
        found = (try_to_load_from_cache(repository, name, cache_dir=hub_cache()) for name in names)
        return next((Path(path) for path in found if isinstance(path, str)), None)
    path = Path("~/.cache/clip").expanduser() / url.rpartition("/")[2]  # where open_clip puts it
    return path if path.is_file() else None


def _companions(need: Need) -> Iterator[Need]:
    """Yields the repositories from which an open_clip model takes its tokenizer and the shape of its text tower."""
    if need.kind == "open_clip":
        import avg.torchvision_schema  # noqa: F401

        import open_clip

        open_clip_source(need.name, need.revision)  # an unknown name is refused here
        yield from text_companions(open_clip.get_model_config(need.name)["text_cfg"])


def text_companions(text_cfg: dict) -> Iterator[Need]:
    """Yields what a text tower's configuration in open_clip's format names on the hub."""
    tokenizer, model = text_cfg.get("hf_tokenizer_name"), text_cfg.get("hf_model_name")
    if tokenizer:
        yield Need("hub", tokenizer, files=TOKENIZER)
    if model:
        yield Need("hub", model, files=("config.json",))
