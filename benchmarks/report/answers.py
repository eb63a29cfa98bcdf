"""What finished methods answered: read from the store, where the rankings are. Nothing is computed anew.

Q queries, N images, X identifiers, L identifier length, W columns of a ranking.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks import campaign, tables
from benchmarks.cells import CellPlan
from benchmarks.everything import OF_OTHERS
from benchmarks.metrics import UNRANKED, Outcomes, outcomes
from benchmarks.overrides import Given
from benchmarks.render import title
from benchmarks.stages import Store
from benchmarks.statistics import SEED
from methods.data import Dataset, Split
from methods.files.archive import mapped
from methods.registry import METHODS, method_class
from methods.retriever import Ranking
from methods.spelling import suggestion


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one row of a table answered.

    Args:
        paradigm: as of `Retriever`; `reference` for what is no retriever.
        codes: {image id: its identifiers}, none for a method that writes none.
    """

    key: str
    label: str
    paradigm: str
    ranking: Ranking
    outcomes: Outcomes
    codes: Mapping[int, Sequence[Sequence[int]]]

    @cached_property
    def found_first(self) -> float:
        """Part of the queries whose image stands first, alone or tied."""
        return float((self.outcomes.before_Q == 0).mean())

    def worst(self, count: int) -> np.ndarray:
        """Returns up to `count` queries whose image does not stand first, the worst first: those whose image is not listed at all before
        those where it stands low; among equals the one whose first answer has the highest score, then the earlier one."""
        before_Q = self.outcomes.before_Q
        place_Q = np.where(before_Q == UNRANKED, np.iinfo(np.int32).max, before_Q)
        order_Q = np.lexsort((np.arange(len(place_Q)), -self.ranking.scores_QW[:, 0], -place_Q))
        return order_Q[place_Q[order_Q] > 0][:count]


def finished(
    dataset: str,
    protocol: str,
    store: Store,
    tiny: bool = False,
    rows: Sequence[str] = (),
    measured: Collection[str] = (),
    base: Given | None = None,
) -> tuple[Split | None, list[Answers]]:
    """Returns the test split, None where it is not in the store, and the answers of all rows of all tables that are, each row once.

    Args:
        rows: keys of those wanted; all by default.
        measured: keys of those with a summary. Tables of published models are looked at only for one of these or of the wanted: to know
            what their stages are, all of open_clip has to be imported.
        base: the settings file's that they were measured with.

    Raises:
        ValueError: if a wanted row is in no table, or is not finished.
    """
    plans: dict[str, CellPlan] = {}
    for name in tables.TABLES:
        table = tables.table(name)
        if name in OF_OTHERS and not {row.key for row in table.rows} & {*rows, *measured}:
            continue
        for plan in campaign.plan_cells(table, [dataset], protocol, tiny=tiny, base=base):
            plans.setdefault(plan.row.key, plan)
    for key in rows:
        if key not in plans:
            raise ValueError(f"unknown row {key!r} of all tables on {dataset}: {suggestion(key, list(plans))}")
        if not store.done(plans[key].ranking):
            raise ValueError(f"row {key} is not finished in {store.root}: run its table first, or name others with --rows")
    wanted = [plan for key, plan in plans.items() if not rows or key in rows]
    done = [plan for plan in wanted if store.done(plan.ranking) and store.done(plan.data)]
    if not done:
        return None, []
    split = Dataset(store.folder(done[0].data)).split("test")
    return split, [_answers(plan, split, store) for plan in done]


def answering_otherwise(methods: Sequence[Answers], summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the labels of methods whose answers are not those that were measured: trained elsewhere or again, they have other weights."""
    measured = {summary["row"]: summary for summary in summaries if summary["seed"] == 0}
    return [
        method.label
        for method in methods
        if method.key in measured and not method.outcomes.same(Outcomes.unpack(measured[method.key]["outcomes"]))
    ]


def labels() -> dict[str, str]:
    """Returns what each row is called outside its table: rows of other tables than the first are named with theirs."""
    found: dict[str, str] = {}
    for number, name in enumerate(tables.TABLES):
        table = tables.table(name)
        for row in table.rows:
            found.setdefault(row.key, f"{title(name)}: {table.called(row)}" if number else row.label)
    return found


def drawn(count: int, total: int) -> np.ndarray:
    """Returns which queries are shown, without looking at any answer: `count` of them from a fixed seed, in their order."""
    return np.sort(np.random.default_rng(SEED).choice(total, min(count, total), replace=False))


def _answers(plan: CellPlan, split: Split, store: Store) -> Answers:
    ranking = Ranking.load(store.folder(plan.ranking) / "ranking.npz")
    method = plan.row.method
    return Answers(
        key=plan.row.key,
        label=labels()[plan.row.key],
        paradigm=method_class(method)[0].paradigm if method in METHODS else "reference",
        ranking=ranking,
        outcomes=outcomes(ranking, split.caption_image_ids_Q, plan.depth),
        codes=_codes(plan, store),
    )


def _codes(plan: CellPlan, store: Store) -> dict[int, list[list[int]]]:
    """Returns the identifiers in a generative method's index, without what pads."""
    index = plan.ranking.inputs.get("index")
    if index is None or not store.done(index):
        return {}
    arrays = mapped(store.folder(index) / "index.npz")
    if not {"ids_N", "codes_XL", "rows_X"} <= set(arrays):
        return {}
    found: dict[int, list[list[int]]] = {}
    for code_L, row in zip(arrays["codes_XL"].tolist(), arrays["rows_X"].tolist(), strict=True):
        found.setdefault(int(arrays["ids_N"][row]), []).append([token for token in code_L if token >= 0])
    return found
