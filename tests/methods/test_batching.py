"""Batches of like length: every row once, little padding, another order each time."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.fitting.batching import POOL, batches


@given(rows=st.integers(1, 400), batch=st.integers(1, 40), seed=st.integers(0, 5))
def test_every_row_comes_once_and_only_a_pools_last_batch_is_short(rows, batch, seed):
    random = torch.Generator().manual_seed(seed)
    target_X, source_X = (torch.randint(1, 9, (rows,), generator=random) for _ in range(2))
    found = batches(target_X, source_X, batch, random)
    assert sorted(torch.cat(found).tolist()) == list(range(rows))
    assert len(found) == -(-rows // batch)
    assert max(map(len, found)) <= batch


def test_rows_of_a_batch_are_of_like_target_and_then_source_length():
    target_X, source_X = torch.arange(8) // 4, torch.tensor([7, 1, 8, 3, 2, 9, 4, 9])
    found = batches(target_X, source_X, 2, torch.Generator().manual_seed(0))
    assert {frozenset(rows.tolist()) for rows in found} == {frozenset({1, 3}), frozenset({0, 2}), frozenset({4, 6}), frozenset({5, 7})}


def test_order_and_pools_differ_between_epochs_and_agree_between_equal_seeds():
    length_X = torch.arange(8 * POOL) % 16
    random = torch.Generator().manual_seed(0)
    first, second = (torch.cat(batches(length_X, length_X, 4, random)) for _ in range(2))
    again = torch.cat(batches(length_X, length_X, 4, torch.Generator().manual_seed(0)))
    assert (first != second).any()
    assert (first == again).all()


def test_no_rows_make_no_batches():
    assert batches(torch.zeros(0), torch.zeros(0), 4, torch.Generator()) == []


def test_batches_differ_between_epochs_and_those_of_a_pool_come_in_random_order():
    random, length_X, equal_X = torch.Generator().manual_seed(0), torch.arange(4 * POOL), torch.ones(8 * POOL)
    shortest = [int(rows.min()) for rows in batches(length_X, length_X, 4, random)]
    assert sorted(shortest) == list(range(0, 4 * POOL, 4)) != shortest
    first, second = ({frozenset(rows.tolist()) for rows in batches(equal_X, equal_X, 4, random)} for _ in range(2))
    assert not first & second
