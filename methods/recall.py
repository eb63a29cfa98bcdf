"""R@1 where ties are shared: by what encoders, tokenizers and generators are chosen, and what is reported of them.

Q captions, N images, C different vectors among theirs, D width, B captions at a time.
"""

from __future__ import annotations

import numpy as np

BATCH = 1024


def distinct(vectors_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors that differ, (C, D), and which of them each image has, (N,); all of them as they are if no two are equal.

    In one matrix product equal columns can differ in the last bit, by where they stand. Multiplied once, they tie.
    """
    found_CD, which_N = np.unique(vectors_ND, axis=0, return_inverse=True)
    return (vectors_ND, np.arange(len(vectors_ND))) if len(found_CD) == len(vectors_ND) else (found_CD, which_N.reshape(-1))


def expected_hits(before_Q: np.ndarray, tied_Q: np.ndarray, k: int) -> np.ndarray:
    """Returns the chance that each target is among the first k when tied images are shuffled, (Q,).

    Args:
        before_Q, tied_Q: images that rank above the target, and as high as it, itself included.
    """
    return np.clip((k - before_Q) / np.maximum(tied_Q, 1), 0, 1)


def standing(scores_QN: np.ndarray, rows_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many images score more than each caption's own, and how many as much, itself included, (Q,) each.

    A score that is not a number stands before all others: a training that diverged finds nothing.
    """
    own_Q1 = scores_QN[np.arange(len(rows_Q)), rows_Q][:, None]
    return (~(scores_QN <= own_Q1)).sum(1), (scores_QN == own_Q1).sum(1)


def dense_standing(texts_QD: np.ndarray, images_ND: np.ndarray, rows_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns `standing` by inner product; equal vectors of images tie exactly."""
    vectors_CD, which_N = distinct(images_ND)
    batches = [slice(start, start + BATCH) for start in range(0, len(rows_Q), BATCH)]
    found = [standing((texts_QD[batch] @ vectors_CD.T)[:, which_N], rows_Q[batch]) for batch in batches]
    before_Q, tied_Q = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return before_Q, tied_Q


def dense_recall(texts_QD: np.ndarray, images_ND: np.ndarray, rows_Q: np.ndarray) -> float:
    """Returns R@1 in percent by inner product."""
    return 100 * float(expected_hits(*dense_standing(texts_QD, images_ND, rows_Q), 1).mean())
