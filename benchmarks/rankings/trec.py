r"""Rankings in TREC's formats, to and from other programs.

    test.qrels          QUERY 0 IMAGE 1                       the image that a query describes
    test.queries.tsv    QUERY \t CAPTION                      the captions
    test.images.tsv     IMAGE \t FILE                         the gallery, its files relative to the data set's pictures
    ROW-seed0.run       QUERY Q0 IMAGE RANK SCORE NAME        a ranking

A query is called by its split and its place among the split's captions, `test-17`: the same in every export of a data set, and silent about
the image that it describes. An image is called by its id.

A tie is an equal score. Equal within a tie group and falling from one group to the next, a run's scores say all that a `Ranking` says: read
again, it has the same recall under every rule but `index`. What trec_eval makes of a tie is another matter: it ignores the rank column and
puts tied images in falling order of their names, so that its success at k lies between our pessimistic and our optimistic recall at k.

Q queries, N images, W columns of a ranking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from methods.data import Split
from methods.retriever import PAD, Ranking

COLUMNS = "QUERY Q0 IMAGE RANK SCORE NAME"


def query_names(split: Split) -> list[str]:
    """Returns the names of a split's queries, in the order of its captions."""
    return [f"{split.name}-{number}" for number in range(len(split.caption_image_ids_Q))]


def qrels(split: Split) -> str:
    """Returns one line for each query: the one image that is relevant to it."""
    return "".join(f"{name} 0 {image} 1\n" for name, image in zip(query_names(split), split.caption_image_ids_Q.tolist(), strict=True))


def queries(split: Split) -> str:
    """Returns one line for each query: its name and its caption, each run of white space as one space."""
    # these tables have no quotes: a tab or a line's end in a caption would begin another field or line
    return _tsv(zip(query_names(split), (" ".join(caption.split()) for caption in split.captions), strict=True))


def images(split: Split) -> str:
    """Returns one line for each image of the gallery: its id and its file, as the data set names it."""
    return _tsv(zip(split.image_ids_N.tolist(), split.pictures.files, strict=True))


def _tsv(rows: Iterable[tuple[object, str]]) -> str:
    return "".join(f"{name}\t{text}\n" for name, text in rows)


def run(ranking: Ranking, split: Split, name: str) -> str:
    """Returns a ranking as a run file; the last tie group of each query in full, nothing of a query without an answer."""
    lines = []
    scores_QW = group_scores(ranking)
    for query, ids_W, scores_W in zip(query_names(split), ranking.ids_QW, scores_QW, strict=True):
        for rank, (image, score) in enumerate(zip(ids_W[ids_W != PAD].tolist(), scores_W, strict=False), 1):
            # str of a float32 is the shortest text that reads as the same float32
            lines.append(f"{query} Q0 {image} {rank} {score!s} {name}\n")
    return "".join(lines)


def group_scores(ranking: Ranking) -> np.ndarray:
    """Returns scores that are equal within a tie group and fall between groups, float32 (Q, W): a group's first score.

    Where a method's scores do not say its groups (a difference too small for it, or for float32), they are moved by the smallest step that
    does.
    """
    first_QW = np.maximum(ranking.scores_QW, np.finfo(np.float32).min)  # impossible images are at -inf, which TREC's readers refuse
    for column in range(1, first_QW.shape[1]):
        before_Q, here_Q = first_QW[:, column - 1], first_QW[:, column]
        with np.errstate(over="ignore"):  # of what pads: nothing is below it
            below_Q = np.minimum(here_Q, np.nextafter(before_Q, np.float32(-np.inf)))
        same_Q = ranking.group_QW[:, column] == ranking.group_QW[:, column - 1]
        first_QW[:, column] = np.where(same_Q, before_Q, below_Q)
    return first_QW


def read_run(path: Path, split: Split, missing_allowed: bool = False) -> Ranking:
    """Returns the ranking in a run file, its `k` the length of the longest list.

    Scores decide, in float32 as in trec_eval; equal ones are a tie. The order of lines and the rank column mean nothing.

    Args:
        split: whose queries and images the run is about.
        missing_allowed: a query without a line is one without an answer, instead of a mistake.

    Raises:
        ValueError: one line that names the first line or query at fault and the remedy.
    """
    query_of = {name: query for query, name in enumerate(query_names(split))}
    row_of = {str(image): row for row, image in enumerate(split.image_ids_N.tolist())}
    found: list[dict[int, float]] = [{} for _ in query_of]
    try:
        text = path.read_text("utf-8-sig")  # a byte-order mark is no part of the first name
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"cannot read {path} ({why}): name a run file in TREC's format, {COLUMNS}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                query, row, score = _parsed(line, query_of, row_of)
                if row in found[query]:
                    raise ValueError(f"image {split.image_ids_N[row]} comes twice for this query: keep one line of the two")
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            found[query][row] = score
    unanswered = [name for name, query in query_of.items() if not found[query]]
    if len(unanswered) == len(query_of) or (unanswered and not missing_allowed):
        remedy = "give every query at least one line, or some and --missing to count the others as misses"
        raise ValueError(f"{path} has nothing for {len(unanswered):,} of {len(query_of):,} queries, {unanswered[0]} the first: {remedy}")
    return Ranking.from_rows([_ranked(scores, split.image_ids_N) for scores in found], max(map(len, found)))


def _parsed(line: str, query_of: Mapping[str, int], row_of: Mapping[str, int]) -> tuple[int, int, float]:
    """Returns query, gallery row and score of a line.

    Raises:
        ValueError: says what is wrong with it.
    """
    fields = line.split()
    if len(fields) != 6:
        raise ValueError(f"{len(fields)} fields instead of the six of a run, {COLUMNS}")
    query, _, image, _, text, _ = fields
    if query not in query_of:
        raise ValueError(f"unknown query {query!r}: queries are called as `export-trec --qrels` writes them, e.g. {next(iter(query_of))}")
    if image not in row_of:
        raise ValueError(f"unknown image {image!r}: images are called as `export-trec --qrels` writes them, e.g. {next(iter(row_of))}")
    try:
        score = float(text)
    except ValueError as error:
        raise ValueError(f"score {text!r} is no number") from error
    with np.errstate(over="ignore"):
        score = float(np.float32(score))
    if not np.isfinite(score):
        raise ValueError(f"score {text!r} is not finite in float32: scale the scores")
    return query_of[query], row_of[image], score


def _ranked(scores: Mapping[int, float], ids_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns ids, scores and tie groups of one query, as `Ranking.from_rows` takes them; tied images in the gallery's order."""
    rows_W, scores_W = np.fromiter(scores, np.int64, len(scores)), np.fromiter(scores.values(), np.float32, len(scores))
    order_W = np.lexsort((rows_W, -scores_W))
    scores_W = scores_W[order_W]
    return ids_N[rows_W[order_W]], scores_W, (np.cumsum(np.r_[False, np.diff(scores_W) != 0]) if len(scores_W) else np.empty(0))
