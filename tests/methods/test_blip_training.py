"""Which captions the small BLIP is trained on, turn by turn."""

from __future__ import annotations

import numpy as np
import torch

from methods.blip_training import Pairs


def test_a_pictures_captions_are_all_had_before_one_comes_again():
    rows_Q = np.random.default_rng(0).permutation(np.repeat(np.arange(40), [1, 2, 5, 5] * 10))
    turns = Pairs(torch.empty(0), [[0]] * len(rows_Q), rows_Q).turns(np.random.default_rng(1))
    had = [turns(turn).tolist() for turn in range(10)]
    assert all(rows_Q[captions_N].tolist() == list(range(40)) for captions_N in had)
    for first in (0, 5):
        of_picture = [{captions_N[row] for captions_N in had[first : first + 5]} for row in range(40)]
        assert of_picture == [set(np.flatnonzero(rows_Q == row)) for row in range(40)]
