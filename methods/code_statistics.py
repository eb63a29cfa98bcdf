"""What identifiers are like: how levels are used, who shares one, how far two images go together. Pure functions of arrays.

N images, X identifiers (an image may have several), L length, I identifiers of one image, C distinct identifiers, P pairs of images,
D width of a vector, K tokens of a level. Identifiers are padded with -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avg.padding import PAD
from methods.coding import Coding
from methods.dense import unit

CHUNK = 2**14


def level_usage(codes_XL: np.ndarray, alphabets: Sequence[np.ndarray]) -> list[dict[str, float]]:
    """Returns for each level {coverage, perplexity, dead} among the identifiers that reach it, and how many do (`identifiers`).

    Args:
        alphabets: the tokens that may stand at each level, sorted.
    """
    return [_usage(tokens_X[tokens_X != PAD], alphabet_K) for tokens_X, alphabet_K in zip(codes_XL.T, alphabets, strict=False)]


def overall_usage(codes_XL: np.ndarray, alphabets: Sequence[np.ndarray]) -> dict[str, float]:
    """Returns the same of all levels together: a row of a shared codebook is dead if no level uses it."""
    return _usage(codes_XL[codes_XL != PAD], np.unique(np.concatenate(list(alphabets))))


def _usage(tokens_X: np.ndarray, alphabet_K: np.ndarray) -> dict[str, float]:
    from avg.quantizer import usage

    assert np.isin(tokens_X, alphabet_K).all(), "a token stands where it may not"
    if not len(tokens_X):
        return {"coverage": 0.0, "perplexity": 0.0, "dead": len(alphabet_K), "identifiers": 0}
    (used,) = usage(np.searchsorted(alphabet_K, tokens_X)[:, None], len(alphabet_K))
    return {**used, "identifiers": len(tokens_X)}


@dataclass(frozen=True)
class Buckets:
    """Which images go under one identifier.

    Args:
        size_C: images under each distinct identifier.
        smallest_N, largest_N: of the identifiers of an image, the images under the one with fewest and the one with most, itself included.
        code_N: which distinct identifier is the one with fewest images; images of one bucket have the same.
    """

    size_C: np.ndarray
    smallest_N: np.ndarray
    largest_N: np.ndarray
    code_N: np.ndarray


def buckets(coding: Coding) -> Buckets:
    """Returns the images under each identifier. An image that has one twice counts once."""
    code_X = np.unique(coding.codes_XL, axis=0, return_inverse=True)[1].reshape(-1)
    pairs_X2 = np.unique(np.stack([coding.rows_X, code_X], 1), axis=0)
    rows_X, code_X = pairs_X2.T
    size_C = np.bincount(code_X)
    # of each image the fewest first, the earlier identifier first among equals
    order_X = np.lexsort((code_X, size_C[code_X], rows_X))
    first_N = np.searchsorted(rows_X[order_X], np.arange(len(coding)))
    last_N = np.searchsorted(rows_X[order_X], np.arange(len(coding)), side="right") - 1
    sizes_X = size_C[code_X[order_X]]
    return Buckets(size_C, sizes_X[first_N], sizes_X[last_N], code_X[order_X][first_N])


def also_in(coding: Coding, other: Coding) -> np.ndarray:
    """Returns which images have an identifier that an image of another split has too, bool (N,)."""
    width = max(coding.codes_XL.shape[1], other.codes_XL.shape[1])
    ours_XL, others_XL = (
        np.pad(each.codes_XL, ((0, 0), (0, width - each.codes_XL.shape[1])), constant_values=PAD) for each in (coding, other)
    )
    code_X = np.unique(np.concatenate([ours_XL, others_XL]), axis=0, return_inverse=True)[1].reshape(-1)
    found_X = np.isin(code_X[: len(ours_XL)], code_X[len(ours_XL) :])
    return np.bincount(coding.rows_X[found_X], minlength=len(coding)) > 0


def shared_lengths(coding: Coding, one_P: np.ndarray, other_P: np.ndarray) -> np.ndarray:
    """Returns how many leading tokens two images' identifiers have in common, int64 (P,); of several, the two that go together longest.

    Example: (5, 1, 2) and (5, 1, 3) share two; (5, 1) and (1, 5) share none, for what comes first differs.
    """
    codes_NIL = _by_image(coding)
    shared = []
    for start in range(0, len(one_P), CHUNK):
        one_PIL, other_PIL = codes_NIL[one_P[start : start + CHUNK]], codes_NIL[other_P[start : start + CHUNK]]
        best_P = np.zeros(len(one_PIL), np.int64)
        # one identifier of the first image at a time, or the table would have I times I entries a pair
        for one_PL in one_PIL.transpose(1, 0, 2):
            same_PIL = (one_PL[:, None] == other_PIL) & (other_PIL != PAD)
            best_P = np.maximum(best_P, np.logical_and.accumulate(same_PIL, axis=2).sum(2).max(1))
        shared.append(best_P)
    return np.concatenate(shared) if shared else np.empty(0, np.int64)


def prefix_shares(lengths_P: np.ndarray, longest: int) -> list[float]:
    """Returns the share of pairs that have the first 1, 2, ... tokens in common; their sum is the mean shared length."""
    return [float((lengths_P >= length).mean()) for length in range(1, longest + 1)]


def neighbours(vectors_ND: np.ndarray, k: int) -> np.ndarray:
    """Returns the k other rows of greatest cosine, nearest first, int64 (N, k); fewer where there are no more."""
    units_ND = unit(vectors_ND)
    k = min(k, len(units_ND) - 1)
    found = []
    for start in range(0, len(units_ND), 1024):
        scores_BN = units_ND[start : start + 1024] @ units_ND.T
        scores_BN[np.arange(len(scores_BN)), start + np.arange(len(scores_BN))] = -np.inf
        found.append(np.argsort(-scores_BN, axis=1, kind="stable")[:, :k])
    return np.concatenate(found)


def random_others(images: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns for each image so many others drawn at random, with repetition, int64 (N, count)."""
    return (np.arange(images)[:, None] + rng.integers(1, images, size=(images, count))) % images


def _by_image(coding: Coding) -> np.ndarray:
    """Returns the identifiers of each image, padded (N, I, L); an image with fewer than others has empty ones."""
    order_X = np.argsort(coding.rows_X, kind="stable")
    rows_X = coding.rows_X[order_X]
    place_X = np.arange(len(rows_X)) - np.searchsorted(rows_X, rows_X)
    codes_NIL = np.full((len(coding), place_X.max() + 1, coding.codes_XL.shape[1]), PAD, coding.codes_XL.dtype)
    codes_NIL[rows_X, place_X] = coding.codes_XL[order_X]
    return codes_NIL
