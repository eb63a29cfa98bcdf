"""Galleries of any size to be timed with: what a method indexes of pictures that nobody drew, at random or in clusters.

N images, R of them real, D vector width, L identifier length, V tokens.
"""

from __future__ import annotations

import numpy as np

from methods.dense import unit

LENGTH, VOKENS = 4, 1024
"""Of a code, where no trained quantiser says otherwise."""
GALLERIES = ("random", "clustered")
CLUSTER = 256
"""Images of a cluster, which share all tokens of their code but the last, or lie about one vector."""
NOISE = 0.5
"""Length of what a clustered vector adds to its centre: two of a cluster have a cosine near 0.8."""
SEED = 0
DISTINCT = 10**6
"""Images up to which codes drawn at random are made distinct."""


def vectors(real_RD: np.ndarray, images: int, gallery: str) -> np.ndarray:
    """Returns unit vectors, float32 (N, D): the real ones first, then drawn ones."""
    rng, width = np.random.default_rng(SEED), real_RD.shape[1]
    count = max(images - len(real_RD), 0)
    if gallery == "random":
        drawn_ND = rng.standard_normal((count, width), dtype=np.float32)
    else:
        centres_CD = unit(rng.standard_normal((-(-count // CLUSTER) or 1, width), dtype=np.float32))
        drawn_ND = rng.standard_normal((count, width), dtype=np.float32)
        drawn_ND *= NOISE * width**-0.5
        drawn_ND += np.repeat(centres_CD, CLUSTER, axis=0)[:count]
    drawn_ND /= np.linalg.norm(drawn_ND, axis=1, keepdims=True)
    return np.concatenate([real_RD[:images].astype(np.float32), drawn_ND])


def codes(real_RL: np.ndarray, images: int, tokens: int, gallery: str) -> np.ndarray:
    """Returns codes of one length as a quantiser gives them, (N, L) of the real codes' type: the real ones first, then drawn ones.

    Random codes are uniform. Clustered ones share all tokens but the last with the others of their cluster.
    """
    rng, length = np.random.default_rng(SEED), real_RL.shape[1]
    count = max(images - len(real_RL), 0)
    if gallery == "random":
        drawn_NL = rng.integers(0, tokens, (count, length))
    else:
        size = min(CLUSTER, tokens)
        prefixes_CL = rng.integers(0, tokens, (-(-count // size) or 1, length - 1))
        last_N = np.arange(count) % size
        drawn_NL = np.column_stack([np.repeat(prefixes_CL, size, axis=0)[:count], last_N])
    return np.concatenate([real_RL[:images], drawn_NL.astype(real_RL.dtype)])


def paths(images: int, tokens: int, gallery: str, branches: int = 30) -> np.ndarray:
    """Returns paths through a tree of clusters as GRACE's structured identifiers are, int64 (N, L), padded with -1.

    Random: all clusters of a level are of one size, as k-means makes them of vectors without structure. Clustered: the first child holds
    half of a node's images, the next half of the rest, and so on, so that paths are long. A leaf holds as many images as a node has
    branches at most. Tokens of different levels differ as far as the V tokens reach.

    Raises:
        ValueError: if there are fewer tokens than branches.
    """
    if tokens < branches:
        raise ValueError(f"{tokens} tokens cannot name {branches} branches: give as many tokens at least")
    if gallery == "random":
        length = 1
        while branches**length < images:
            length += 1
        paths_NL = np.arange(images)[:, None] // branches ** np.arange(length) % branches
    else:
        paths_NL = _halved(images, branches)
    levels_L = np.arange(paths_NL.shape[1]) * branches
    return np.where(paths_NL < 0, -1, (paths_NL + levels_L) % tokens)


def _halved(images: int, branches: int) -> np.ndarray:
    """Returns child numbers of every level, (N, L), padded with -1."""
    levels: list[np.ndarray] = []
    nodes = [(0, images)]  # first image and how many, of the nodes that a level divides
    while nodes:
        children_N, below = np.full(images, -1), []
        for first, count in nodes:
            if count <= branches:
                children_N[first : first + count] = np.arange(count)
                continue
            for child in range(branches):
                size = count if child == branches - 1 or count <= branches else count // 2
                children_N[first : first + size] = child
                below.append((first, size))
                first, count = first + size, count - size
                if not count:
                    break
        levels.append(children_N)
        nodes = below
    return np.stack(levels, axis=1)


def random_codes(images: int, seed: int = 0) -> np.ndarray:
    """Returns random codes, int16 (N, L), distinct up to a million images."""
    codes = np.random.default_rng(seed).integers(0, VOKENS, size=(images, LENGTH), dtype=np.int16)
    return codes if images > DISTINCT else np.unique(codes, axis=0)
