"""A part or a variant of a table, and a results folder that holds measurements of it: rows are added, and nothing is lost or mixed up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import campaign, tables
from benchmarks.cells import CellPlan
from benchmarks.grid import Grid
from benchmarks.record import read_summary
from benchmarks.spec import Table


def whole(table: Table) -> Table:
    """Returns the table that this one may be a part of."""
    return tables.table(table.name) if table.name in tables.TABLES else table


def write(table: Table, datasets: Sequence[str], protocol: str, measured: campaign.Measured, results: Path) -> Grid:
    """Returns the grid, after writing summaries and the table: of the part alone where no other row of the table was measured before."""
    others = beside(table, datasets, protocol, results)
    return campaign.write(whole(table) if others else table, datasets, protocol, measured, results, others)


def beside(table: Table, datasets: Sequence[str], protocol: str, results: Path) -> list[dict[str, Any]]:
    """Returns the summaries under a results folder of the rows that a part of a table leaves out.

    Raises:
        ValueError: if one is damaged.
    """
    part = {row.key for row in table.rows}
    others = [row.key for row in whole(table).rows if row.key not in part]
    return [summary for row in others for summary in campaign.committed(results, datasets, protocol, f"{row}-seed*.json")]


def refuse_mixing(table: Table, plans: Sequence[CellPlan], results: Path) -> None:
    """Does nothing if a variant's cells may be written to a results folder: of their table, it holds such cells alone.

    Raises:
        ValueError: naming the folder and the first summary that would be overwritten, or stand beside a variant as if it were alike.
    """
    planned = {(plan.dataset, plan.row.key): _choice(plan.settings, plan.knobs) for plan in plans}
    for dataset, protocol in dict.fromkeys((plan.dataset, plan.protocol) for plan in plans):
        folder = results / campaign.folder_name([dataset], protocol)
        for row in whole(table).rows:
            for path in sorted((folder / "runs").glob(f"{row.key}-seed*.json")):
                found = read_summary(path)
                if planned.get((dataset, row.key)) != _choice(found.get("settings", {}), found["knobs"]):
                    raise ValueError(
                        f"{folder} holds {table.name} with other settings than these ({path.name}): name another folder with --results"
                    )


def _choice(settings: Mapping[str, Any], knobs: Mapping[str, Any]) -> str:
    """Returns what tells a row's settings from others, whatever its seed."""
    return json.dumps([{name: value for name, value in settings.items() if name != "seed"}, dict(knobs)], sort_keys=True)
