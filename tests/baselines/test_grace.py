from __future__ import annotations

import numpy as np
import pytest

from avg.padding import PAD
from baselines.grace import numeric, semantic, string, structured
from methods.decoding.trie import Trie


def _wordpieces(text):
    return [ord(letter) for letter in text]


def test_numeric_spells_each_running_index_once():
    found = numeric(120, seed=0)
    numbers = sorted(int("".join(map(str, row[row != PAD][:-1]))) for row in found.codes_XL)
    assert numbers == list(range(120)) and found.tokens == 11
    assert (np.array([row[row != PAD][-1] for row in found.codes_XL]) == 10).all()


def test_string_is_sub_words_of_the_decimal_string():
    found = string(12, seed=1, wordpieces=_wordpieces)
    assert found.tokens == 11  # ten digits occur, and the end
    assert sorted((row != PAD).sum() for row in found.codes_XL) == [2] * 10 + [3] * 2


def test_semantic_identifiers_are_captions_cut_to_words():
    found = semantic(["a b c", "a b d", "z"], np.array([0, 0, 1]), _wordpieces, words=2)
    np.testing.assert_array_equal(found.codes_XL[0], found.codes_XL[1])
    assert found.rows_X.tolist() == [0, 0, 1] and found.tokens == len(set("a b z")) + 1


def test_structured_paths_are_unique_level_specific_and_group_neighbours():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 5)) * 50
    vectors = (centres.repeat(30, 0) + rng.normal(size=(120, 5))).astype(np.float32)
    found = structured(vectors, seed=0, branches=4, leaf=10)
    assert len(np.unique(found.codes_XL, axis=0)) == 120
    for level, tokens in enumerate(found.codes_XL.T):
        used = tokens[tokens != PAD]
        assert (used // 10 == level).all()
    for cluster in range(4):
        assert len(set(found.codes_XL[cluster * 30 : cluster * 30 + 30, 0])) == 1


def test_structured_copes_with_identical_pictures():
    found = structured(np.ones((25, 3), np.float32), seed=0, branches=2, leaf=5)
    assert len(np.unique(found.codes_XL, axis=0)) == 25


@pytest.mark.parametrize("make", [lambda: numeric(500, 0), lambda: string(500, 0, _wordpieces)])
def test_no_identifier_begins_another(make):
    Trie.build(make().codes_XL)


def test_an_image_s_place_in_its_leaf_tells_nothing_of_its_place_in_the_data():
    """Splits follow one another in the data: numbered as they lie, test images would be the last of every leaf."""
    vectors = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    last_X = [code[code != PAD][-1] % 30 for code in structured(vectors, seed=0, branches=4, leaf=30).codes_XL]
    assert abs(np.corrcoef(last_X, np.arange(600))[0, 1]) < 0.1


@pytest.mark.parametrize("make", [lambda seed: numeric(500, seed), lambda seed: string(500, seed, _wordpieces)])
def test_running_indices_are_dealt_at_random_by_the_seed(make):
    """Splits follow one another in the data: counted as they lie, the first digit would name the test split."""
    first, other = ([int("".join(map(str, row[row != PAD][:-1]))) for row in make(seed).codes_XL] for seed in (0, 1))
    assert first != other and sorted(first) == sorted(other) == list(range(500))
    assert abs(np.corrcoef(first, np.arange(500))[0, 1]) < 0.1


def test_as_many_pictures_as_a_leaf_holds_are_one_leaf():
    vectors = np.random.default_rng(0).normal(size=(5, 3))
    found = structured(vectors, seed=0, branches=2, leaf=5)
    assert sorted(found.codes_XL.tolist()) == [[0], [1], [2], [3], [4]] and found.tokens == 5
