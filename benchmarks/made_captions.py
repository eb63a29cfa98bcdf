"""Pseudo-queries of a data set, made if need be, and some of them in words."""

from __future__ import annotations

import json

from benchmarks.datasets import data_stage
from benchmarks.stages import Store
from methods.data import Dataset
from methods.encoder import EncoderSettings, encoder_stages
from methods.needs import require
from methods.pseudo_queries import captioner_needs, pseudo_query_stages


def shown(dataset: str, store: Store, *, split: str, count: int, by: str, show: int, tiny: bool = False) -> str:
    """Returns what was made for a split's pictures: how many, by what, and those of the first pictures beside their true captions.

    Raises:
        ValueError: if there is no such data set or split, or no such captioner.
        StageFailed: if a stage raised.
    """
    require(captioner_needs(by))
    data = data_stage(dataset)
    stages = encoder_stages(EncoderSettings(**(EncoderSettings.tiny() if tiny else {})), data)
    folder = store.run(data)
    true = Dataset(folder).split(split)
    (stage,) = pseudo_query_stages([split], stages, data, count=count, by=by, seed=0).values()
    (made_in,) = store.run_all([stage])
    made = json.loads((made_in / "queries.json").read_text())
    report = store.report(stage)["report"]
    lines = [f"{dataset}, {split}: {report['captions']:,} pseudo-queries for {report['pictures']:,} pictures, by {report['by']}"]
    if report["pictures with fewer"]:
        lines.append(f"  {report['pictures with fewer']:,} pictures have fewer than {count}: no more different words were found")
    for row in range(min(show, report["pictures"])):
        lines.append(f"  picture {true.image_ids_N[row]} ({true.pictures.files[row]})")
        lines += [f"    made  {text}" for text in made["captions"][row]]
        lines += [f"    true  {text}" for text, of in zip(true.captions, true.caption_rows_Q, strict=True) if of == row]
    return "\n".join(lines)
