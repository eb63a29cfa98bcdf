"""One query put to several rows' indexes: what each finds, in a terminal and as a page of pictures.

Nothing that takes long is made in passing: a search needs parts and an index, and where they are missing it says how to have them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cells import SCENE_FACTS, CellPlan, indexed
from benchmarks.stages import Store
from methods.data import Dataset, Split
from methods.retriever import Ranking, SearchKnobs

SOON = 60
"""Seconds of missing stages that a search makes unasked: an index of a trained row, not a training."""
SHOWN_CODES = 1
"""Identifiers of an image that are printed; of GRACE's semantic ones there are several, and they are long."""
SIDE = 224
"""Pixels of a thumbnail's longer side."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A found image. `rank` counts the images before its tie group; `row` is its place in the split."""

    rank: int
    is_tied: bool
    image: int
    row: int
    score: float
    codes: str
    caption: str

    @property
    def place(self) -> str:
        """`3`, or `3=` where others share the rank."""
        return f"{self.rank}{'=' if self.is_tied else ''}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one row found; `more` images are tied with the last of the hits."""

    key: str
    label: str
    hits: tuple[Hit, ...]
    more: int


def prepare(plans: Sequence[CellPlan], store: Store, make: bool) -> None:
    """Makes what searching these rows needs, if it is little or asked for.

    Raises:
        ValueError: if it is much; names the stages, the time that they take, and the remedy.
    """
    from benchmarks.prefetch import refuse_missing

    for plan in plans:
        if plan.row.method == SCENE_FACTS:
            raise ValueError(f"row {plan.row.key} reads the facts of made captions, and no other query: choose other rows with --method")
    wanted = [stage for plan in plans for stage in plan.ranking.inputs.values()]
    todo = store.plan(wanted)
    seconds = sum(map(store.durations.expected, todo))
    if seconds > SOON and not make:
        names = ", ".join(dict.fromkeys(stage.name for stage in todo))
        rows = ", ".join(plan.row.key for plan in plans if store.plan(list(plan.ranking.inputs.values())))
        missing = f"{len(todo)} stages are missing ({names}), about {seconds / 60:.0f} min"
        raise ValueError(f"{rows} cannot be searched yet: {missing}: make them with --make, or measure a table with these rows")
    if todo:
        refuse_missing(plans, store)
        store.run_all(wanted)


def search(query: str, plan: CellPlan, store: Store, k: int) -> Answer:
    """Returns the k best images of a row's index; stages that `prepare` found must be there."""
    inputs = {name: store.run(stage) for name, stage in plan.ranking.inputs.items()}
    retriever = indexed(plan.ranking.config, inputs)
    ranking = retriever.search(retriever.encode([query]), k, SearchKnobs(**plan.knobs))
    split = Dataset(inputs["data"]).split(plan.split)
    return answer(plan.row.key, plan.row.label, ranking, k, retriever.codes_of, split)


def answer(
    key: str, label: str, ranking: Ranking, k: int, codes_of: Callable[[Sequence[int]], list[list[tuple[int, ...]]]], split: Split
) -> Answer:
    """Returns the first k images of a ranking of one query, with what is known of them.

    Args:
        codes_of: identifiers of images.
        split: the gallery; its captions are shown beside what was found, and took no part in finding it.
    """
    is_found_W = ranking.ids_QW[0] >= 0
    ids_W, scores_W, group_W = (array[0][is_found_W] for array in (ranking.ids_QW, ranking.scores_QW, ranking.group_QW))
    first_caption = dict(zip(split.caption_image_ids_Q[::-1].tolist(), split.captions[::-1], strict=True))
    row_of = {image: row for row, image in enumerate(split.image_ids_N.tolist())}
    hits = []
    for image, score, group, codes in zip(ids_W[:k].tolist(), scores_W, group_W, codes_of(ids_W[:k].tolist()), strict=False):
        rank, is_tied = 1 + int((group_W < group).sum()), int((group_W == group).sum()) > 1
        hits.append(
            Hit(
                rank=rank,
                is_tied=is_tied,
                image=image,
                row=row_of[image],
                score=float(score),
                codes=_told(codes),
                caption=first_caption.get(image, ""),
            )
        )
    more = int((group_W[len(hits) :] == group_W[len(hits) - 1]).sum()) if hits else 0
    return Answer(key=key, label=label, hits=tuple(hits), more=more)


def _told(codes: Sequence[tuple[int, ...]]) -> str:
    """Returns identifiers as printed: `17-203-9`, the rest of many counted."""
    shown = ["-".join(map(str, code)) for code in codes[:SHOWN_CODES]]
    return "; ".join(shown + ([f"and {len(codes) - SHOWN_CODES} more"] if len(codes) > SHOWN_CODES else []))


def table(found: Answer) -> str:
    """Returns what a row found as a terminal shows it."""
    from tabulate import tabulate

    if not found.hits:
        return f"{found.label}: no answer"
    has_codes = any(hit.codes for hit in found.hits)
    headers = ["rank", "image", "score", *(["codes"] if has_codes else []), "a caption of it"]
    body = [
        [hit.place, str(hit.image), f"{hit.score:.4f}", *([hit.codes] if has_codes else []), hit.caption] for hit in found.hits
    ]  # fmt: skip
    align = ["right", "right", "right", *["left"] * (len(headers) - 3)]
    widths = [*[None] * (len(headers) - 1), 72]
    lines = tabulate(body, headers, colalign=align, disable_numparse=True, maxcolwidths=widths)
    return f"{found.label}\n{lines}" + (f"\nand {found.more} more, tied with the last" if found.more else "")


def page(query: str, found: Sequence[Answer], data_folder: Path, split: str) -> str:
    """Returns one HTML page that needs nothing beside it: the found pictures of each row, small."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    data = Dataset(data_folder)
    shown = data.split(split)
    pictures = {hit.row: _thumbnail(shown, hit.row) for one in found for hit in one.hits}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("search.html").render(
        query=query, answers=found, dataset=data.info["name"], split=split, images=len(shown.image_ids_N), pictures=pictures,
        attribution=data.info.get("attribution", ""),
    )  # fmt: skip


def _thumbnail(split: Split, row: int) -> str:
    """Returns a picture as a `data:` address."""
    picture = split.pictures[row]
    picture.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
