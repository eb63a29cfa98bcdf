"""One cell's work: a row of a table on a data set under a protocol, with one seed. What it leaves is a ranking; its summary is derived.

Q queries, N images, W columns of a ranking.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from benchmarks.contest import now
from benchmarks.datasets import data_stage, paper_dataset
from benchmarks.protocol import exposure_for, protocol
from benchmarks.ranked_parts import RankedParts, stacked
from benchmarks.spec import Column, Row
from methods.data import Dataset, Exposure
from methods.files.archive import mapped
from methods.fitting.heartbeat import beat
from methods.needs import Need
from methods.registry import create
from methods.retriever import PAD, Ranking, Retriever, SearchKnobs
from methods.spelling import suggestion
from methods.stage import UNFINISHED, Stage

SCENE_FACTS = "scene-facts"  # the ideal matcher reads facts, not pictures: a row of tables, but no retriever
BATCH = 128
SHORTLIST = {"flickr30k": 128, "mscoco-5k": 256}  # BLIP's k_test (salesforce/BLIP, configs/retrieval_*.yaml)
FITTED = ("encoder", "tokenizer", "codes", "language-model", "generator", "blip")  # whose reports say how fitting went
SPLITS = ("train", "val", "test")
WARM_UP = 8  # queries before the clock runs: lazy initialisation is no cost of a query


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """The stages behind one cell; `ranking` is the last of them. `depth` is the largest k at which its R@k means something."""

    row: Row
    dataset: str
    protocol: str
    seed: int
    split: str
    depth: int
    settings: Mapping[str, Any]
    knobs: Mapping[str, Any]
    exposure: Exposure
    data: Stage
    ranking: Stage
    needs: tuple[Need, ...] = ()

    @property
    def learns(self) -> bool:
        """Whether something of the row is trained on the data set, rather than taken as it is."""
        parts = [stage for name, stage in self.ranking.inputs.items() if name not in ("data", "index")]
        return any(self.data in stage.ancestors() for stage in parts)


def seeded(row: Row) -> bool:
    """Says whether a row's method draws anything at random; the cells of one that does not are the same for every seed."""
    return row.method != SCENE_FACTS and "seed" in create(row.method, row.settings).config.meaning()


def cell_stages(row: Row, dataset: str, protocol_name: str, seed: int, split: str = "test", k: int = 10) -> CellPlan:
    """Returns a cell's stages, with every setting resolved. Runs nothing, and imports nothing heavy.

    Raises:
        ValueError: unknown data set, protocol, method or setting, or an impossible value.
    """
    rules = protocol(protocol_name)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: {suggestion(split, list(SPLITS))}")
    data, exposure = data_stage(dataset), exposure_for(row, rules)
    knobs, depth = _checked(row.knobs), k
    needs: tuple[Need, ...] = ()
    if row.method == SCENE_FACTS:
        settings: dict[str, Any] = {}
        ranking = Stage("ranking", "benchmarks.datasets.scene_ceiling:rank", {"split": split, "k": k}, {"data": data}, version=2)
    else:
        retriever = create(row.method, {**row.settings, "seed": seed} if seeded(row) else row.settings)
        known = ["beam", "exact"] * (retriever.paradigm == "generative") + ["shortlist"] * retriever.shortlists
        if unknown := next((name for name in knobs if name not in known), None):
            raise ValueError(f"{row.method} has no search knob {unknown!r}: valid are {', '.join(known) or 'none'}")
        if retriever.paradigm == "generative":
            knobs = {"beam": rules.beam(row.method), **knobs}
            depth = k if knobs.get("exact") else min(k, knobs["beam"])
        if retriever.shortlists:
            knobs = {"shortlist": SHORTLIST[paper_dataset(dataset)], **knobs}
            depth = min(k, knobs["shortlist"])
        settings, needs = retriever.config.model_dump(mode="json"), tuple(retriever.needs())
        what = {"method": row.method, "settings": retriever.config.meaning(), "split": split}
        inputs = {"data": data, **retriever.stages(data, exposure)}
        index = Stage("index", "benchmarks.cells:build_index", what, inputs, retriever.version, resumes=retriever.build_resumes)
        searched = {**what, "k": k, "knobs": knobs}
        ranking = Stage("ranking", "benchmarks.cells:rank", searched, {**inputs, "index": index}, retriever.version, resumes=True)
    return CellPlan(
        row=row,
        dataset=dataset,
        protocol=rules.name,
        seed=seed,
        split=split,
        depth=depth,
        settings=settings,
        knobs=knobs,
        exposure=exposure,
        data=data,
        ranking=ranking,
        needs=needs,
    )


def build_index(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Returns the number of images and the index's bytes; writes `index.npz` to `out`."""
    retriever = fitted(config, inputs)
    retriever.workplace = out / UNFINISHED
    gallery = Dataset(inputs["data"]).split(config["split"]).gallery()
    retriever.build(gallery)
    np.savez(out / "index.npz", **retriever.index())  # type: ignore[arg-type]
    return {"images": len(gallery), "index_bytes": retriever.index_bytes()}


def rank(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Returns what answering all captions of a split took; writes `ranking.npz` to `out`. Goes on after what an interrupted run kept.

    Only the seconds of `encode` and `search` are on the clock, apart from each other, after a few queries as warm-up.
    """
    from tqdm import trange

    retriever = indexed(config, inputs)
    split = Dataset(inputs["data"]).split(config["split"])
    k, knobs = config["k"], SearchKnobs(**config["knobs"])
    retriever.search(retriever.encode(split.captions[:WARM_UP]), k, knobs)
    parts = RankedParts(out / UNFINISHED, sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 1)
    described = f"ranking with {config['method']}"
    for start in trange(parts.queries, len(split.captions), BATCH, desc=described, unit="batch", leave=False, disable=None):
        queries = split.captions[start : start + BATCH]
        begin = now()
        encoded = retriever.encode(queries)
        middle = now()
        found = retriever.search(encoded, k, knobs)
        parts.add(found, encode_seconds=middle - begin, search_seconds=now() - middle)
        beat("ranking", start + len(queries), len(split.captions))
    ranking = stacked(parts.rankings)
    ranking.save(out / "ranking.npz")
    return {
        "unanswered": int((ranking.ids_QW[:, 0] == PAD).sum()),
        "queries": len(split.captions),
        "images": len(split.image_ids_N),
        **{name: round(seconds, 4) for name, seconds in parts.seconds.items()},
        "batch": BATCH,
        "threads": parts.threads,
        "index_bytes": retriever.index_bytes(),
        "precision": retriever.precision,
    }


def summary(plan: CellPlan, folder: Path, data_folder: Path, record: Mapping[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    """Returns what is committed of a cell: enough to derive its metrics again, and how it came to be.

    Everything is taken from what the stages stored, so that asking again gives the same.

    Args:
        folder, record: of the finished ranking stage.
        data_folder: of the data stage; says which image each query describes.
    """
    from benchmarks.metrics import metrics_of, outcomes
    from benchmarks.statistics import SEED

    split = Dataset(data_folder).split(plan.split)
    found = outcomes(Ranking.load(folder / "ranking.npz"), split.caption_image_ids_Q, plan.depth)
    rule, rng = protocol(plan.protocol).ties, np.random.default_rng(SEED)
    behind = labelled([*record["lineage"].values(), record])
    report, environment = record["report"], record["environment"]
    data = record["lineage"][plan.data.key]["report"].get(plan.split, {})
    return {
        "format": 1,
        "row": plan.row.key,
        "method": plan.row.method,
        "dataset": plan.dataset,
        "split": plan.split,
        "protocol": plan.protocol,
        "seed": plan.seed,
        "seeded": seeded(plan.row),
        "settings": dict(plan.settings),
        "knobs": dict(plan.knobs),
        "exposure": plan.exposure.label,
        **_selection(behind),
        "precision": report.get("precision", "float64"),
        "generator": next((stage["report"].get("model") for label, stage in behind.items() if label == "generator"), None),
        **({"blip": behind["blip"]["report"]["model"]} if "blip" in behind else {}),
        "images": len(split.image_ids_N),
        "queries": len(split.captions),
        "metrics": metrics_of(found, columns, rng, rule),
        "index_bytes": report.get("index_bytes", 0),
        "peak_memory_bytes": max(stage["peak_memory_bytes"] for stage in behind.values()),
        "encode_seconds": report.get("encode_seconds"),
        "search_seconds": report.get("search_seconds"),
        "threads": report.get("threads"),
        "fitted": {label: stage["report"] for label, stage in behind.items() if label in FITTED},
        "seconds": {label: stage["seconds"] for label, stage in behind.items()},
        "resumed": [label for label, stage in behind.items() if stage.get("resumed")],
        **reads_behind(plan, record),
        "unanswered": report.get("unanswered"),
        "data": {fact: data[fact] for fact in ("duplicates", "as_published") if fact in data},
        "versions": environment["versions"],
        "git": environment["git"],
        "hardware": environment["hardware"],
        "outcomes": found.pack(),
    }


def reads_behind(plan: CellPlan, record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a cell's method was allowed to see, the stages behind it, and what each of them read (None: by an older version)."""
    behind = labelled([*record["lineage"].values(), record])
    exposed = {name: value if isinstance(value, str) else list(value) for name, value in asdict(plan.exposure).items()}
    return {
        "exposed": exposed,
        "stages": {label: stage["key"] for label, stage in behind.items()},
        "reads": {label: stage.get("reads") for label, stage in behind.items()},
    }


def labelled(records: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Returns stage records by name; what comes again under a name is numbered, e.g. `features`, `features 2`."""
    by_label: dict[str, Mapping[str, Any]] = {}
    for record in records:
        label, count = record["name"], 1
        while label in by_label:
            count += 1
            label = f"{record['name']} {count}"
        by_label[label] = record
    return by_label


def _selection(behind: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns {"selection": the split by which checkpoints were chosen, `test` if one was, None if there was nothing to choose}; nothing
    where a stage was made before reads were recorded."""
    if any("reads" not in stage for stage in behind.values()):
        return {}
    splits = {split for stage in behind.values() for names in stage["reads"].get("selection", {}).values() for split in names}
    return {"selection": "test" if "test" in splits else ", ".join(sorted(splits)) or None}


def _checked(knobs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return SearchKnobs(**knobs).model_dump(include=set(knobs))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"impossible search knob: {'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}") from error


def fitted(config: Mapping[str, Any], inputs: Mapping[str, Path]) -> Retriever:
    """Returns the retriever of a finished index or ranking stage's configuration, with the parts in its inputs."""
    retriever = create(config["method"], config["settings"])
    retriever.use({part: folder for part, folder in inputs.items() if part not in ("data", "index")})
    return retriever


def indexed(config: Mapping[str, Any], inputs: Mapping[str, Path]) -> Retriever:
    """Returns the retriever of a ranking stage's configuration, with its gallery's index: ready to be asked."""
    retriever = fitted(config, inputs)
    retriever.use_index(mapped(inputs["index"] / "index.npz"))
    return retriever
