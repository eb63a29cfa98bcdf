"""Rows by their keys alone, over all tables: to search or to export one, nobody need know which table has it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import campaign, tables
from benchmarks.cells import CellPlan
from benchmarks.overrides import Given
from benchmarks.spec import Table
from benchmarks.stages import Store
from methods.spelling import suggestion


def holding(rows: Sequence[str]) -> list[Table]:
    """Returns the tables that hold these rows, with no others in them; a row that stands in several is in the first.

    Raises:
        ValueError: if no table has such a row; lists those there are.
    """
    every = [tables.table(name) for name in tables.TABLES]
    keys = list(dict.fromkeys(row.key for each in every for row in each.rows))
    left = list(dict.fromkeys(rows))
    for key in left:
        if key not in keys:
            raise ValueError(f"unknown row {key!r}: {suggestion(key, keys)}")
    found = []
    for each in every:
        if here := [row.key for row in each.rows if row.key in left]:
            found.append(campaign.chosen(each, here))
            left = [key for key in left if key not in here]
    return found


def finished(
    rows: Sequence[str], dataset: str, protocol: str, seeds: int, tiny: bool, split: str, store: Store, base: Given | None = None
) -> tuple[list[CellPlan], list[str]]:
    """Returns the cells whose ranking is in the store, and the rows of which one is not, or that the data set cannot have.

    Args:
        rows: of any table; all of the data set's if there are none, a row once though several tables have it.
    """
    keys = rows or [row.key for name in tables.TABLES for row in tables.table(name).rows if row.applies_to(dataset)]
    plans = [
        plan for table in holding(keys) for plan in campaign.plan_cells(table, [dataset], protocol, seeds, tiny, split=split, base=base)
    ]
    done = [plan for plan in plans if store.done(plan.ranking)]
    whole = {plan.row.key for plan in done} - {plan.row.key for plan in plans if not store.done(plan.ranking)}
    return done, [key for key in dict.fromkeys(keys) if key not in whole]
