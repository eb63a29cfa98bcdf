"""GRACE's identifiers (Li et al. 2024): what strings stand for images.

N images, X identifiers, L length, D vector width. Token V - 1 ends an identifier where lengths vary and no other rule keeps one from being
the beginning of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from avg.padding import PAD


@dataclass(frozen=True)
class Identifiers:
    """Identifiers of N images.

    Args:
        codes_XL: int64 tokens, padded with -1.
        rows_X: the image that each belongs to.
        tokens: V, how many tokens there are.
    """

    codes_XL: np.ndarray
    rows_X: np.ndarray
    tokens: int


def numeric(count: int, seed: int) -> Identifiers:
    """Returns the running index of each image, one token a digit, ended by token 10. Images are numbered in a random order."""
    return _ended([[int(digit) for digit in str(number)] for number in _numbers(count, seed)], 10)


def string(count: int, seed: int, wordpieces: Callable[[str], list[int]]) -> Identifiers:
    """Returns the running index as a decimal string in sub-word tokens.

    Args:
        wordpieces: token ids of a string without special tokens; they are renumbered from 0 here.
    """
    return _renumbered([wordpieces(str(number)) for number in _numbers(count, seed)])


def semantic(captions_X: Sequence[str], rows_X: np.ndarray, wordpieces: Callable[[str], list[int]], words: int = 25) -> Identifiers:
    """Returns captions as identifiers, cut to so many words; an image has as many as captions are given for it."""
    found = _renumbered([wordpieces(" ".join(caption.split()[:words])) for caption in captions_X])
    return Identifiers(found.codes_XL, np.asarray(rows_X), found.tokens)


def structured(vectors_ND: np.ndarray, seed: int, branches: int = 30, leaf: int = 30) -> Identifiers:
    """Returns paths in a hierarchical k-means over image vectors; clusters of at most `leaf` images are enumerated; unique.

    Token `level * max(branches, leaf) + child`: level-specific, as in GRACE.
    """
    from sklearn.cluster import KMeans

    step, random = max(branches, leaf), np.random.default_rng(seed)
    codes: list[list[int]] = [[] for _ in range(len(vectors_ND))]

    def split(rows: np.ndarray, level: int) -> None:
        if len(rows) <= leaf:
            # in the order of the data the last children of every leaf would be test images
            for child, row in enumerate(random.permutation(rows)):
                codes[row].append(level * step + child)
            return
        distinct = min(branches, len(np.unique(vectors_ND[rows], axis=0)))
        labels = (
            KMeans(distinct, n_init=1, random_state=seed).fit_predict(vectors_ND[rows]) if distinct > 1 else np.arange(len(rows)) % branches
        )
        for child in range(labels.max() + 1):
            inside = rows[labels == child]
            for row in inside:
                codes[row].append(level * step + child)
            if len(inside):
                split(inside, level + 1)

    split(np.arange(len(vectors_ND)), 0)
    codes_XL = _padded(codes)
    return Identifiers(codes_XL, np.arange(len(codes)), int(codes_XL.shape[1] * step))


def _numbers(count: int, seed: int) -> np.ndarray:
    # splits follow one another in the data; a running index in that order would tell a test image by its first digits
    return np.random.default_rng(seed).permutation(count)


def _renumbered(codes: list[list[int]]) -> Identifiers:
    used = {token: number for number, token in enumerate(sorted({token for code in codes for token in code}))}
    return _ended([[used[token] for token in code] for code in codes], len(used))


def _ended(codes: list[list[int]], end: int) -> Identifiers:
    return Identifiers(_padded([[*code, end] for code in codes]), np.arange(len(codes)), end + 1)


def _padded(codes: list[list[int]]) -> np.ndarray:
    codes_XL = np.full((len(codes), max(map(len, codes))), PAD, np.int64)
    for row, code in enumerate(codes):
        codes_XL[row, : len(code)] = code
    return codes_XL
