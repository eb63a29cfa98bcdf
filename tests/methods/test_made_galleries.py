"""Galleries that are drawn: their size, their shape, and that a prefix index takes them."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.grace import structured
from methods.decoding.trie import Trie
from methods.timing.made_galleries import CLUSTER, GALLERIES, codes, paths, vectors


@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize("images", [3, 10, 1000])
def test_the_real_ones_come_first_and_all_are_as_they_should_be(gallery, images):
    real_RD = np.eye(10, 64, dtype=np.float32)
    found_ND = vectors(real_RD, images, gallery)
    assert found_ND.shape == (images, 64) and found_ND.dtype == np.float32
    np.testing.assert_array_equal(found_ND[:10], real_RD[:images])
    np.testing.assert_allclose(np.linalg.norm(found_ND, axis=1), 1, rtol=1e-5)
    real_RL = np.arange(40).reshape(10, 4)
    found_NL = codes(real_RL, images, 1024, gallery)
    assert found_NL.shape == (images, 4) and found_NL.dtype == real_RL.dtype and 0 <= found_NL.min() <= found_NL.max() < 1024
    np.testing.assert_array_equal(found_NL[:10], real_RL[:images])
    np.testing.assert_array_equal(found_NL, codes(real_RL, images, 1024, gallery))


def test_clusters_are_near_and_share_prefixes():
    none_RD, none_RL = np.empty((0, 256), np.float32), np.empty((0, 4), np.int64)
    near_ND, far_ND = (vectors(none_RD, 2 * CLUSTER, gallery) for gallery in ("clustered", "random"))
    assert (near_ND[:CLUSTER] @ near_ND[0]).min() > 0.6 > abs(near_ND[CLUSTER:] @ near_ND[0]).max()
    assert abs(far_ND[1:] @ far_ND[0]).max() < 0.6
    shared_NL, apart_NL = (codes(none_RL, 4 * CLUSTER, 1024, gallery) for gallery in ("clustered", "random"))
    assert len(np.unique(shared_NL[:, :3], axis=0)) == 4 and len(np.unique(shared_NL, axis=0)) == 4 * CLUSTER
    # as the index sees it: many ways at the end, or at the beginning
    assert Trie.build(shared_NL).fan_out[-1] == CLUSTER and Trie.build(shared_NL).fan_out[0] == 4
    assert Trie.build(apart_NL).fan_out[0] > 500


@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize("images", [1, 30, 31, 1000, 12345])
def test_paths_name_every_image_and_none_begins_another(gallery, images):
    found_NL = paths(images, 90, gallery)
    trie = Trie.build(found_NL)
    assert len(trie) == images and max(trie.fan_out) <= 30
    assert found_NL.max() < 90


def test_paths_by_hand():
    # 5 images, 2 branches: the first child holds 2, the next 3 as the rest, of which the first holds 1
    np.testing.assert_array_equal(paths(5, 6, "clustered", branches=2), [[0, 2, -1], [0, 3, -1], [1, 2, 4], [1, 3, 4], [1, 3, 5]])
    np.testing.assert_array_equal(paths(3, 4, "random", branches=2), [[0, 2], [1, 2], [0, 3]])
    deep, flat = (paths(100_000, 30, gallery).shape[1] for gallery in GALLERIES[::-1])
    assert (flat, deep) == (4, 13)


@pytest.mark.parametrize("gallery", GALLERIES)
def test_kmeans_makes_the_even_tree_of_clustered_vectors_too(gallery):
    """The uneven one is a worst case, and no claim rests on it."""
    made, images = structured(vectors(np.empty((0, 64), np.float32), 3000, gallery), seed=0).codes_XL, 3000
    depth = (made >= 0).sum(1)
    even, uneven = ((paths(images, 90, kind) >= 0).sum(1) for kind in GALLERIES)
    assert abs(depth.mean() - even.mean()) < 0.5 and depth.max() <= even.max() + 1
    assert uneven.mean() > depth.mean() + 1.5


def test_too_few_tokens_are_named():
    with pytest.raises(ValueError, match="20 tokens cannot name 30 branches"):
        paths(100, 20, "random")
