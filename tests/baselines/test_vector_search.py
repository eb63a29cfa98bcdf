from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.vector_search import KINDS, FaissSearch, MatrixSearch, PaperSearch

EXACT = {
    "paper": PaperSearch,
    "matrix": MatrixSearch,
    "matrix in parts": lambda vectors: MatrixSearch(vectors, cells=40),  # of ten vectors, for four queries
    "flat": FaissSearch,
}
ALL = EXACT | {kind: (lambda vectors, kind=kind: FaissSearch(vectors, kind)) for kind in KINDS}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faiss takes it over; with more, its graph depends on their timing
    yield
    torch.set_num_threads(threads)


def _unit(*shape, seed=0):
    vectors = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _clustered():
    """Returns 2,000 unit vectors, ten around each of 200 centres, and queries near some centres."""
    centres = _unit(200, 32, seed=1)
    vectors = centres.repeat(10, 0) + 0.05 * _unit(2000, 32, seed=2)
    queries = centres[::8] + 0.05 * _unit(25, 32, seed=3)
    return tuple(array / np.linalg.norm(array, axis=1, keepdims=True) for array in (vectors, queries))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("k", [1, 7, 33])
def test_exact_kinds_agree_with_numpy(name, k):
    vectors, queries = _unit(33, 12), _unit(4, 12, seed=9)
    expected = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    scores, rows = EXACT[name](vectors).search(queries, k)
    order = (-expected).argsort(1)[:, :k]
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, order, 1), atol=1e-5)


@pytest.mark.parametrize("kind", ["hnsw", "ivfpq"])
def test_approximations_find_nearly_all_and_twice_the_same(kind):
    vectors, queries = _clustered()
    nearest = (-queries @ vectors.T).argsort(1)[:, :10]
    first, again = (FaissSearch(vectors, kind).search(queries, 10) for _ in range(2))
    assert np.mean([len(set(found) & set(true)) / 10 for found, true in zip(first[1], nearest)]) > 0.9
    np.testing.assert_array_equal(first, again)
    assert (np.diff(first[0]) <= 0).all(), "best first"


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", ALL)
def test_more_than_the_gallery_has_is_padded(name, count, capfd):
    vectors = _unit(count, 12)
    scores, rows = ALL[name](vectors).search(vectors, count + 3)
    assert (rows[:, count:] == -1).all() and (scores[:, count:] == -np.inf).all()
    assert sorted(rows[0, :count]) == list(range(count)) and np.isfinite(scores[:, :count]).all()
    assert capfd.readouterr() == ("", ""), "faiss warns on the standard error"


@pytest.mark.parametrize("name", ALL)
def test_a_gallery_can_be_read_only_and_queries_none(name):
    vectors = _unit(40, 12)
    vectors.flags.writeable = False
    scores, rows = ALL[name](vectors).search(vectors[:0], 3)
    assert scores.shape == rows.shape == (0, 3)
    assert ALL[name](vectors).search(vectors[:1], 3)[1][0, 0] == 0


def test_the_papers_search_normalises_and_the_others_do_not():
    vectors, query = np.array([[1, 0], [3, 3], [0, 0.1]], np.float32), np.array([[0, 5]], np.float32)
    scores, rows = PaperSearch(vectors).search(query, 3)
    assert rows.tolist() == [[2, 1, 0]]
    np.testing.assert_allclose(scores, [[1, 0.5**0.5, 0]], rtol=1e-6)
    for search in (MatrixSearch(vectors), FaissSearch(vectors)):
        scores, rows = search.search(query, 3)
        assert rows.tolist() == [[1, 2, 0]]
        np.testing.assert_allclose(scores, [[15, 0.5, 0]], rtol=1e-6)


def test_sizes_are_of_what_is_kept():
    vectors = _unit(600, 32)
    raw = 600 * 32 * 4
    assert PaperSearch(vectors).bytes == 2 * raw and MatrixSearch(vectors).bytes == raw
    flat, graph, compressed = (FaissSearch(vectors, kind).bytes for kind in KINDS)
    assert raw < flat < raw + 200
    assert graph > raw + 600 * 2 * 32 * 4  # twice M neighbours on the lowest level
    # four bytes and a row number a vector, a centre for each list, 256 for each part
    assert 600 * (4 + 8) + 98 * 32 * 4 + 256 * 32 * 4 < compressed < raw


def test_defaults_follow_the_gallery_and_arguments_overrule_them():
    assert FaissSearch(_unit(600, 20), "ivfpq").settings == {
        "kind": "ivfpq", "lists": 98, "probes": 16, "subquantisers": 4, "bits": 8, "sample": 600, "seed": 0,
    }  # fmt: skip
    given = FaissSearch(_unit(600, 20), "ivfpq", lists=70, probes=3, subquantisers=10, bits=6, sample=50, seed=4)
    assert given.settings == {"kind": "ivfpq", "lists": 50, "probes": 3, "subquantisers": 10, "bits": 5, "sample": 50, "seed": 4}
    assert given.index.nprobe == 3
    graph = FaissSearch(_unit(60, 20), "hnsw", links=8, construction=20, explored=10)
    assert (graph.index.hnsw.efConstruction, graph.index.hnsw.efSearch, graph.index.hnsw.nb_neighbors(1)) == (20, 10, 8)


def test_faiss_takes_torchs_threads():
    import faiss

    torch.set_num_threads(2)
    search = FaissSearch(_unit(5, 4))
    assert faiss.omp_get_max_threads() == 2
    torch.set_num_threads(1)
    search.search(_unit(1, 4), 1)
    assert faiss.omp_get_max_threads() == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: FaissSearch(_unit(5, 4), "lsh"), "kind 'lsh' is unknown: choose from flat, hnsw, ivfpq"),
        (lambda: FaissSearch(_unit(5, 4), "ivfpq", subquantisers=3), "cannot be cut into 3 parts"),
        (lambda: MatrixSearch(np.zeros((0, 4), np.float32)), "cannot be searched"),
        (lambda: PaperSearch(_unit(5, 4)).search(_unit(2, 3), 1), r"give \(Q, 4\)"),
        (lambda: PaperSearch(_unit(5, 4)).search(_unit(2, 4), 0), "k of at least 1"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_what_the_probed_lists_do_not_hold_is_no_result():
    scores, rows = FaissSearch(_unit(40, 12), "ivfpq", lists=8, probes=1).search(_unit(1, 12, seed=9), 40)
    assert (rows == -1).any() and (rows[0, 0] >= 0)
    assert (np.isneginf(scores) == (rows == -1)).all()
