"""The report: one folder that a browser opens from the disk.

TO/index.html           tables, figures, claims, protocol, provenance
TO/data.js              queries and answers, as one JSON value that `report.js` shows (a page from the disk may not fetch files)
TO/report.css, .js
TO/pictures/ID.webp     pictures that some answer shows, made small
TO/files/               tables and figures as they stand in the results folder
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import campaign, results_folder
from benchmarks.explain import explained
from benchmarks.overrides import Given
from benchmarks.protocol import protocol as rules_of
from benchmarks.report import provenance
from benchmarks.report.answers import answering_otherwise, finished, labels
from benchmarks.report.browser import LISTED, browsed, write_pictures
from benchmarks.report.documents import Document, absent_figures, documents, measured_tables, of_no_dataset, table_files
from benchmarks.stages import Store
from benchmarks.user_error import UserError
from methods.data import Dataset

LARGE = 30 * 2**20
ASSETS = ("report.css", "report.js")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Written:
    index: Path
    size: int
    queries: int
    methods: int
    pictures: int


def write(
    dataset: str, protocol: str, rows: Sequence[str], *, to: Path | None, results: Path, store: Path, tiny: bool, queries: int,
    failures: int, base: Given | None = None,
) -> Written:  # fmt: skip
    """Returns what was written, a whole folder or none. The same results and store give the same bytes.

    Raises:
        ValueError: unknown protocol or row, nothing measured, no results folder of that name, or one in the way that is no report.
        OSError: naming the folder where no file of another place is at fault.
    """
    rules_of(protocol)
    name = results_folder.folder_name([dataset], protocol)
    to = to or Path("report") / name
    if to.exists() and not _is_report(to):
        raise UserError(f"{to} holds something that is no report: name another folder with --to")
    folder = to.resolve()  # a link, and `.`, stay what they are
    data = f"--dataset {dataset}" + (" --tiny" if tiny else "")
    rules = "" if protocol == campaign.DEFAULT_PROTOCOL else f" --protocol {protocol}"
    options = data + rules
    summaries = results_folder.committed(results, [dataset], protocol)
    split, methods = finished(dataset, protocol, Store(store), tiny, rows, {summary["row"] for summary in summaries}, base)
    if not summaries and not methods:
        raise ValueError(f"nothing of {name} is in {results} or {store}: measure first, e.g. `python -m benchmarks.run table1 {options}`")
    if results != results_folder.RESULTS and not results.is_dir():
        raise ValueError(f"{results} is no folder: name that of the tables with --results")
    results_folder.writable(folder.parent, "--to")
    new = folder.with_name(f".{folder.name}-new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        (new / "pictures").mkdir(parents=True)
        shown: dict[str, Any] = {"images": [], "queries": [], "methods": []}
        if split is not None:
            shown = browsed(split, methods, queries, failures)
            write_pictures(split, [image for image, _ in shown["images"]], new / "pictures")
        (new / "data.js").write_text(f"window.REPORT = {json.dumps(shown, separators=(',', ':'))};\n")
        for asset in ASSETS:
            shutil.copyfile(HERE / asset, new / asset)
        of_data = documents(results / name, new, "files")
        others = [path for path in of_no_dataset(results) if path.name != name]
        beside = [each for path in others for each in documents(path, new, f"files/{path.name}")]
        found, absent = measured_tables(dataset, summaries, options, results)
        for table in found:
            table["files"] = table_files(results / name, table["name"], "files")
        html = _html(
            name=name, dataset=dataset, protocol=protocol, tables=found, absent=absent, summaries=summaries, shown=shown,
            claims=[each for each in of_data if each.name == "claims"], documents=[each for each in of_data if each.name != "claims"],
            beside=beside, otherwise=answering_otherwise(methods, summaries), store=store, results=results, failures=failures,
            options=options, data=data, rules=rules,
            attribution=Dataset(split.folder).info.get("attribution", "") if split else "",
        )  # fmt: skip
        (new / "index.html").write_text(html)
        size = sum(path.stat().st_size for path in new.rglob("*") if path.is_file())
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            (shutil.rmtree if path.is_dir() and not path.is_symlink() else os.unlink)(path)
        for path in new.iterdir():
            path.rename(folder / path.name)
    except OSError as error:
        if str(error.filename or new).startswith(str(new)):  # a full disk names no file
            error.filename, error.filename2 = str(to), None
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Written(to / "index.html", size, len(shown["queries"]), len(shown["methods"]), len(shown["images"]))


def _html(
    *, dataset: str, summaries: Sequence[Mapping[str, Any]], documents: Sequence[Document], beside: Sequence[Document],
    shown: Mapping[str, Any], protocol: str, results: Path, data: str, rules: str, **given: Any,
) -> str:  # fmt: skip
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    every = [*documents, *beside]
    own = [summary for summary in summaries if "outside" not in summary]
    return environment.get_template("page.html").render(
        dataset=dataset,
        protocol=protocol,
        explained=explained(protocol),
        figures=[each for each in every if each.picture],
        absent_figures=absent_figures(dataset, documents, results, data, rules),
        rules=rules,
        texts=[each for each in every if not each.picture],
        facts=provenance.facts(own),
        stages=provenance.stages(own),
        costs=provenance.costs(own, labels()),
        summaries=summaries,
        shown=shown,
        drawn=sum(query["drawn"] for query in shown["queries"]),
        listed=LISTED,
        **given,
    )


def _is_report(folder: Path) -> bool:
    """Says whether a folder may be replaced: it is a report, or empty."""
    return folder.is_dir() and (all((folder / name).is_file() for name in ("index.html", "data.js")) or not any(folder.iterdir()))
