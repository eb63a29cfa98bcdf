"""What of a store is served to be timed: the trained models of Table 1's rows and a data set's captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.campaign import DEFAULT_PROTOCOL, chosen, plan_cells
from benchmarks.cells import CellPlan, indexed
from benchmarks.datasets import data_stage
from benchmarks.spec import RECALL, Row, Table
from benchmarks.speed.efficiency import SERVED
from benchmarks.stages import Store
from benchmarks.tables.table1 import TABLE1
from methods.data import Dataset

if TYPE_CHECKING:
    from methods.timing.serving import Models, Pairs

QUERIES = 256
GRACE = "grace-structured"
"""A row of Table 1, and the series of the same name."""
WEIGHTS = ("generator", "encoder")


def captions(dataset: str, store: Store) -> Sequence[str]:
    """Returns captions of a data set's test split, in an order that takes them from everywhere."""
    found = Dataset(store.run(data_stage(dataset))).split("test").captions
    return found[:: max(1, len(found) // QUERIES)][:QUERIES]


def plans(dataset: str, tiny: bool, series: Sequence[str]) -> list[CellPlan]:
    """Returns the cells whose models are served: of Table 1, its first seed; GRACE's only where it is timed."""
    rows = [row for row in SERVED if row != GRACE or row in series]
    return plan_cells(chosen(TABLE1, rows), [dataset], DEFAULT_PROTOCOL, tiny=tiny)


def behind(plans: Sequence[CellPlan]) -> dict[str, str]:
    """Returns {row key: key of the stage whose weights are served}: a generator, or where there is none the encoder."""
    found = {}
    for plan in plans:
        of_name = {stage.name: stage.key for stage in plan.ranking.ancestors()}
        found[plan.row.key] = next(of_name[name] for name in WEIGHTS if name in of_name)
    return found


def trained(plans: Sequence[CellPlan], store: Store) -> Models:
    """Returns the models of cells as `plans` returns them; what is missing of their stages is made."""
    from methods.timing.serving import Models, real_vectors

    retrievers = {plan.row.key: _indexed(plan, store) for plan in plans}
    clip, avg, grace = (retrievers.get(key) for key in SERVED)
    assert clip is not None and avg is not None
    return Models(clip.encode, real_vectors(clip.index()), avg, avg.index()["codes_XL"], grace)


def cross_encoder(dataset: str, tiny: bool, store: Store, trained: bool) -> tuple[Pairs, str, str | None]:
    """Returns BLIP before some pictures, which it is, and the key of the stage that it comes from: the data set's own where the store has
    it, else BLIP's shape with random weights."""
    from methods.timing.serving import Pairs

    if trained and (plan := _finished("blip", dataset, tiny, store)):
        retriever = _indexed(plan, store)
        pairs = Pairs.of_index(retriever.matcher, retriever.index()["states_UPH"])
        return pairs, "the data set's own", plan.ranking.inputs["blip"].key
    from methods.timing import full_size

    return full_size.blip(tiny), "a tiny shape with random weights" if tiny else "BLIP-base's shape with random weights", None


def _finished(method: str, dataset: str, tiny: bool, store: Store) -> CellPlan | None:
    """Returns the cell of a method with its own settings, if all of it is in the store."""
    table = Table(name=method, caption="", columns=RECALL, rows=(Row(key=method, label=method, method=method),), reported={})
    (plan,) = plan_cells(table, [dataset], DEFAULT_PROTOCOL, tiny=tiny)
    return plan if store.done(plan.ranking.inputs["index"]) else None


def _indexed(plan: CellPlan, store: Store) -> Any:
    inputs = {name: store.run(stage) for name, stage in plan.ranking.inputs.items()}
    return indexed(plan.ranking.config, inputs)
