"""What beam search misses of a trained model's best identifiers, what finding them exactly costs, and what bfloat16 changes.

RESULTS/DATASET/search-error-ROW.md .tex .json

Q queries, M beams, k = 10 codes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import CellPlan, indexed
from benchmarks.contest import Contender, contest, on_threads, rate
from benchmarks.environment import environment
from benchmarks.metrics import hits, outcomes
from benchmarks.render import LATEX, latex_float, latex_row
from benchmarks.stages import Store
from methods.data import Dataset
from methods.files.durable import write_atomically

K = 10
BEAMS = (1, 5, 10, 20, 40)
HALF_BEAM = 10


def measured(plan: CellPlan, store: Store, queries: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Returns, for each way to search, agreement with the exact answer, R@1, positions read and seconds a query.

    Args:
        plan: a generative method's cell; its stages are made where they are missing.
        queries: the first so many of its split.
    """
    import torch

    from methods.timing.serving import shared

    inputs = {name: store.run(stage) for name, stage in plan.ranking.inputs.items()}
    retriever: Any = indexed(plan.ranking.config, inputs)
    split = Dataset(inputs["data"]).split(plan.split)
    captions, targets_Q = split.captions[:queries], split.caption_image_ids_Q[:queries]
    encoded = retriever.encode(captions)

    def exact() -> Any:
        found = retriever.exact(encoded, K)
        return found.rows_Qk, found.scores_Qk, float(found.positions_Q.double().mean())

    ways: dict[str, Callable[[], Any]] = {f"beam {beams}": partial(retriever.beam, encoded, beams) for beams in BEAMS}
    ways["exact, best first"] = exact
    answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    positions: dict[str, float] = {}

    def kept(name: str) -> Callable[[], None]:
        def run() -> None:
            codes_QM, scores_QM, read = ways[name]()
            answers[name], positions[name] = (codes_QM.cpu().numpy(), scores_QM.float().cpu().numpy()), read

        return run

    seconds = contest([Contender(name, kept(name), len(captions)) for name in ways], rounds, say)
    ways[f"beam {HALF_BEAM}, products in bfloat16"] = partial(retriever.beam_in_bfloat16, encoded, HALF_BEAM)
    kept(f"beam {HALF_BEAM}, products in bfloat16")()
    exact_Qk = answers["exact, best first"][0][:, :K]
    lines = []
    for name, (codes_QM, scores_QM) in answers.items():
        ranking = retriever.rank_codes(codes_QM, scores_QM, 1)
        against_Qk = answers[f"beam {HALF_BEAM}"][0] if "bfloat16" in name else exact_Qk
        lines.append(
            {
                "way": name,
                "same first": float((codes_QM[:, 0] == against_Qk[:, 0]).mean()),
                "of the ten": shared(codes_QM[:, :K], against_Qk),
                "R@1": 100 * float(hits(outcomes(ranking, targets_Q), 1).mean()),
                "positions": positions[name],
                "queries per second": rate(len(captions), seconds[name]) if name in seconds else None,
            }
        )
    return {
        "format": 1,
        "row": plan.row.key,
        "dataset": plan.dataset,
        "split": plan.split,
        "queries": len(captions),
        "images": len(split.image_ids_N),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "environment": environment(),
        "lines": lines,
    }


HEADERS = ("search", "the best code is first", "of the ten best codes", "R@1", "positions read a query", "queries per second")


def told(found: Mapping[str, Any]) -> str:
    return (
        f"{found['row']} on {found['dataset']}, {found['split']} split, {found['images']:,} images, the first "
        f"{found['queries']:,} queries; {on_threads(found['threads'], found['environment']['hardware']['cpu'])}, search alone, median of "
        f"{found['rounds']} rounds by turns. Agreement is with the exact answer; of the line in bfloat16, with the same beam in float32."
    )


def body_of(found: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            line["way"],
            f"{100 * line['same first']:.1f} %",
            f"{100 * line['of the ten']:.1f} %",
            f"{line['R@1']:.1f}",
            f"{line['positions']:,.0f}",
            "" if line["queries per second"] is None else f"{line['queries per second']:,.0f}",
        ]
        for line in found["lines"]
    ]


def markdown(found: Mapping[str, Any]) -> str:
    from tabulate import tabulate

    align = ["left"] + ["right"] * 5
    table = tabulate(body_of(found), HEADERS, tablefmt="pipe", colalign=align, disable_numparse=True)
    return f"**Search error.** {told(found)}\n\n{table}\n"


def latex(found: Mapping[str, Any]) -> str:
    caption = rf"\caption{{What a beam misses.}}\label{{tab:search-error-{LATEX.escape(found['row'])}}}"
    body = [r"\midrule", *[latex_row([LATEX.escape(cell) for cell in line]) for line in body_of(found)]]
    return latex_float(caption, "lrrrrr", HEADERS, body, [told(found)])


def write(found: Mapping[str, Any], folder: Path) -> None:
    for ending, text in (("json", json.dumps(found, indent=1) + "\n"), ("md", markdown(found)), ("tex", latex(found))):
        write_atomically(folder / f"search-error-{found['row']}.{ending}", text)


def run(plans: Sequence[CellPlan], store: Store, queries: int, rounds: int, results: Path | None, say: Callable[[str], None]) -> None:
    """Measures rows, prints them, and writes them where a results folder is given."""
    from benchmarks import results_folder

    for plan in plans:
        found = measured(plan, store, queries, rounds, say)
        say("\n" + markdown(found))
        if results:
            folder = results_folder.writable(results / results_folder.folder_name([plan.dataset], plan.protocol))
            write(found, folder)
            say(f"written: {folder}/search-error-{plan.row.key}.md .tex .json")
