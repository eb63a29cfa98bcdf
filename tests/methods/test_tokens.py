"""What codes cost: recall with vectors and with what their codes decode to."""

from __future__ import annotations

import numpy as np
import pytest

from methods.dense import unit
from methods.recall import dense_recall


def test_recall_at_1_by_cosine_shares_ties():
    images_ND = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])  # the last two are one direction: one code
    texts_QD = np.array([[1.0, 0.1], [0.1, 1.0], [1.0, 0.2]])
    # right; right but shared by two; wrong
    assert dense_recall(unit(texts_QD), unit(images_ND), np.array([0, 2, 1])) == pytest.approx(50.0)
