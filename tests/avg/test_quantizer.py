from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avg.quantizer import ResidualQuantizer, nearest, usage


def _quantizer(rows, levels, shared=True):
    quantizer = ResidualQuantizer(width=len(rows[0]), levels=levels, rows=len(rows), shared=shared)
    with torch.no_grad():
        quantizer.codebooks_CKD[:] = torch.tensor(rows, dtype=torch.float32)
    return quantizer


def test_example_of_the_docstring():
    quantized = _quantizer([(0, 4), (1, 0)], levels=2)(torch.tensor([[1.0, 4.0]]))
    assert quantized.codes_NL.tolist() == [[0, 1]]
    assert quantized.sums_NLD.tolist() == [[[0, 4], [1, 4]]]


@given(st.integers(0, 10_000), st.integers(1, 5), st.booleans())
def test_each_level_takes_the_row_nearest_to_the_residual(seed, levels, shared):
    rng = np.random.default_rng(seed)
    quantizer = ResidualQuantizer(width=3, levels=levels, rows=7, shared=shared)
    vectors = rng.normal(size=(6, 3)).astype(np.float32)
    quantized = quantizer(torch.from_numpy(vectors))
    for vector, codes in zip(vectors, quantized.codes_NL.tolist(), strict=True):
        residual = vector.copy()
        for level, code in enumerate(codes):
            rows = quantizer.codebook(level).detach().numpy()
            distances = np.linalg.norm(rows - residual, axis=1)
            assert distances[code] <= distances.min() + 1e-5
            residual = residual - rows[code]


def test_agrees_with_vector_quantize_pytorch():
    from vector_quantize_pytorch import ResidualVQ

    torch.manual_seed(0)
    theirs = ResidualVQ(dim=8, num_quantizers=4, codebook_size=16).eval()
    ours = ResidualQuantizer(width=8, levels=4, rows=16, shared=False)
    with torch.no_grad():
        ours.codebooks_CKD[:] = theirs.codebooks
    vectors = torch.randn(50, 8)
    sums, codes, _ = theirs(vectors)
    quantized = ours(vectors)
    assert torch.equal(quantized.codes_NL, codes)
    torch.testing.assert_close(quantized.sums_NLD[:, -1], sums)


def test_kmeans_start_loses_less_at_every_level_than_a_random_one():
    vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32))
    errors = {}
    for start in ("random", "kmeans"):
        torch.manual_seed(0)
        quantizer = ResidualQuantizer(width=6, levels=3, rows=24, shared=True)
        if start == "kmeans":
            quantizer.start_from(vectors, seed=0)
        errors[start] = (vectors[:, None] - quantizer(vectors).sums_NLD).square().sum(-1).mean(0)
    assert (errors["kmeans"] < errors["random"]).all()
    assert (errors["kmeans"].diff() < 0).all()


def test_kmeans_starts_each_level_with_the_residuals_that_it_meets():
    vectors = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    for shared, rows in ((True, 4), (False, 2)):
        quantizer = ResidualQuantizer(width=1, levels=2, rows=rows, shared=shared)
        quantizer.start_from(vectors, seed=0)
        assert sorted(quantizer.codebooks_CKD.flatten().tolist()) == pytest.approx([-1, 1, 1, 11])
        torch.testing.assert_close(quantizer(vectors).sums_NLD[:, -1], vectors)


def test_revived_rows_are_residuals_and_come_into_use():
    vectors = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    quantizer = _quantizer([(0, 0), (100, 100), (200, 200)], levels=1)
    dead = torch.tensor([[False, True, True]])
    assert quantizer.revive(vectors, dead, torch.Generator().manual_seed(1)) == 2
    for row in quantizer.codebooks_CKD[0, 1:]:
        assert any(torch.equal(row, vector) for vector in vectors)


def test_gradients_reach_only_the_rows_chosen():
    quantizer = _quantizer([(0, 4), (1, 0), (50, 50)], levels=2)
    quantizer(torch.tensor([[1.0, 4.0]])).sums_NLD[:, -1].sum().backward()
    assert quantizer.codebooks_CKD.grad[0].tolist() == [[1, 1], [1, 1], [0, 0]]


def test_nearest_takes_the_first_of_equals():
    assert nearest(torch.tensor([[0.0]]), torch.tensor([[1.0], [-1.0], [1.0]])).tolist() == [0]


def test_usage_by_hand():
    report = usage(np.array([[0, 1], [0, 1], [1, 1], [1, 1]]), rows=4)
    assert report == [{"coverage": 0.5, "perplexity": 2.0, "dead": 2}, {"coverage": 0.25, "perplexity": 1.0, "dead": 3}]


def test_a_row_revives_with_the_residuals_of_its_level_or_if_it_is_shared_of_any():
    vectors, residuals = [(10.0, 0.0), (8.0, 3.0)], [(2.0, 0.0), (0.0, 3.0)]
    quantizers = [_quantizer([(8, 0), (100, 100)], levels=2, shared=shared) for shared in (False, True)]
    found = [[set(), set()], [set()]]
    for seed in range(20):
        for quantizer, books in zip(quantizers, found, strict=True):
            dead = torch.tensor([[False, True]] * len(books))
            quantizer.codebooks_CKD.data[dead] = 100.0
            quantizer.revive(torch.tensor(vectors), dead, torch.Generator().manual_seed(seed))
            for book, rows in enumerate(books):
                rows.add(tuple(quantizer.codebooks_CKD[book, 1].tolist()))
    assert found == [[set(vectors), set(residuals)], [{*vectors, *residuals}]]
