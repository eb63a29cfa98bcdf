"""The tables by name. Listing imports none of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.spec import Table

TABLES = {
    # name: "module:constant"
    "table1": "benchmarks.tables.table1:TABLE1",
    **{f"table{number}": f"benchmarks.tables.table{number}:TABLE{number}" for number in range(2, 8)},
    "references": "benchmarks.tables.references:REFERENCES",
}


def table(name: str) -> Table:
    """Returns a table.

    Raises:
        ValueError: if there is no such table; lists those there are.
    """
    if name not in TABLES:
        from methods.spelling import suggestion

        raise ValueError(f"unknown table {name!r}: {suggestion(name, list(TABLES))}")
    module, _, constant = TABLES[name].partition(":")
    return getattr(importlib.import_module(module), constant)
