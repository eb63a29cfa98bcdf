"""The prefix index, against sets of tuples."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avg.padding import PAD
from methods.decoding.trie import Trie
from methods.decoding.trie_file import ARRAYS

END = 4
BODIES = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple)


def padded(identifiers, length=0):
    """Identifiers as rows, each ended by token 4, so that none begins another."""
    rows = np.full((len(identifiers), max(length, *(len(body) + 1 for body in identifiers))), PAD)
    for row, body in zip(rows, identifiers, strict=True):
        row[: len(body) + 1] = [*body, END]
    return rows


def tuples(rows):
    return [tuple(row[row != PAD].tolist()) for row in rows]


def walks(trie):
    """Every way from the root to an identifier, its rest included, and the row it ends at."""
    found = {}

    def walk(node, path):
        edges = range(trie.first_S[node], trie.first_S[node] + trie.count_S[node])
        assert trie.token_E[edges].tolist() == sorted(set(trie.token_E[edges].tolist()))
        for edge in edges:
            path_on, child = (*path, int(trie.token_E[edge])), int(trie.child_E[edge])
            if child >= 0:
                assert trie.count_S[child] > 0
                walk(child, path_on)
            else:
                tail = trie.identifiers_NL[~child, len(path_on) :]
                found[(*path_on, *tail[tail != PAD].tolist())] = ~child

    walk(0, ())
    return found


def widths(trie):
    """The largest number of edges at each depth, counted."""
    level, found = [0], []
    while level:
        found.append(max(int(trie.count_S[node]) for node in level))
        edges = [edge for node in level for edge in range(trie.first_S[node], trie.first_S[node] + trie.count_S[node])]
        level = [int(trie.child_E[edge]) for edge in edges if trie.child_E[edge] >= 0]
    return found


def assert_whole(trie, identifiers):
    """The index holds these identifiers and no others, each found in its row."""
    found = walks(trie)
    assert set(found) == set(identifiers) and len(trie) == len(found)
    for identifier, row in found.items():
        assert tuples(trie.identifiers_NL[[row]]) == [identifier]
    assert sorted(found.values()) == np.flatnonzero(trie.alive_N).tolist()
    assert len(set(tuples(trie.identifiers_NL))) == len(trie.identifiers_NL)
    actual = widths(trie)
    assert len(trie.fan_out) >= len(actual) and all(real <= stated for real, stated in zip(actual, trie.fan_out))
    if len(found):
        np.testing.assert_array_equal(trie.rows_of(trie.identifiers_NL[trie.alive_N]), np.flatnonzero(trie.alive_N))


@given(st.lists(BODIES, min_size=1, max_size=14), st.integers(0, 6))
def test_every_path_of_the_index_is_an_identifier_and_back(bodies, length):
    rows = padded(bodies, length)
    trie = Trie.build(rows)
    assert_whole(trie, set(tuples(rows)))
    assert tuples(trie.identifiers_NL) == sorted(set(tuples(rows)))
    assert tuples(trie.identifiers_NL[trie.rows_of(rows)]) == tuples(rows)
    assert trie.fan_out == tuple(widths(trie))


@given(st.lists(BODIES, min_size=1, max_size=14))
def test_a_node_is_a_prefix_that_several_identifiers_share(bodies):
    distinct = set(tuples(padded(bodies)))
    trie = Trie.build(padded(bodies))
    under = Counter(identifier[:depth] for identifier in distinct for depth in range(len(identifier) + 1))
    shared = [prefix for prefix, count in under.items() if count > 1 or prefix == ()]
    assert len(trie.first_S) == len(trie.count_S) == len(shared)
    assert len(trie.token_E) == len(trie.child_E) == len(shared) - 1 + len(distinct) == trie.count_S.sum()


@given(st.lists(st.lists(st.integers(0, 40), min_size=9, max_size=9), min_size=1, max_size=30), st.sampled_from([1, 900, 2**31 - 41]))
def test_tokens_of_any_size_are_sorted_as_numbers(codes, scale):
    """Of one word, of several, and of words that hold no more than two tokens each."""
    codes = np.array(codes) % 3 + scale
    trie = Trie.build(codes)
    assert trie.identifiers_NL.tolist() == sorted(map(list, set(tuples(codes))))
    assert trie.identifiers_NL.dtype == trie.token_E.dtype == (np.int32 if scale > 900 else np.int16)
    assert_whole(trie, set(tuples(codes)))


def test_example_of_the_docstring():
    trie = Trie.build(np.array([[4, 2], [1, 3], [1, 2]]))
    assert (trie.first_S.tolist(), trie.count_S.tolist()) == ([0, 2], [2, 2])
    assert (trie.token_E.tolist(), trie.child_E.tolist()) == ([1, 4, 2, 3], [1, ~2, ~0, ~1])
    assert trie.fan_out == (2, 2) and len(trie) == 3
    assert {array.dtype for array in (trie.first_S, trie.count_S, trie.child_E)} == {np.dtype(np.int32)}
    assert trie.token_E.dtype == trie.identifiers_NL.dtype == np.int16


def test_a_tail_that_diverges_becomes_a_chain_of_nodes():
    trie = Trie.build(np.array([[4, 2, 7, 7], [1, 3, 5, 5]]))
    assert trie.fan_out == (2,)
    assert trie.add(np.array([[4, 2, 7, 6]])).tolist() == [2]
    assert walks(trie) == {(1, 3, 5, 5): 0, (4, 2, 7, 7): 1, (4, 2, 7, 6): 2}
    assert trie.fan_out == (2, 1, 1, 2) and len(trie.first_S) == 4


def test_one_identifier_is_an_edge_of_the_root():
    trie = Trie.build(np.array([[5, 6, PAD]]))
    assert (trie.first_S.tolist(), trie.count_S.tolist()) == ([0], [1])
    assert (trie.token_E.tolist(), trie.child_E.tolist(), trie.fan_out) == ([5], [~0], (1,))


@settings(max_examples=80)
@given(
    st.lists(BODIES, min_size=1, max_size=8),
    st.lists(st.tuples(st.booleans(), st.lists(BODIES, max_size=8), st.integers(0, 7)), max_size=8),
)
def test_updates_leave_the_index_that_would_be_built(bodies, steps):
    trie = Trie.build(padded(bodies))
    rows_of = {identifier: row for row, identifier in enumerate(tuples(trie.identifiers_NL))}
    alive = set(rows_of)
    for is_added, bodies, length in steps:
        if is_added and bodies:
            rows = trie.add(padded(bodies, length))
            for identifier, row in zip(tuples(padded(bodies)), rows.tolist(), strict=True):
                assert rows_of.setdefault(identifier, row) == row, "rows keep their numbers, removed ones too"
                alive.add(identifier)
            assert sorted(rows_of.values()) == list(range(len(trie.identifiers_NL)))
        elif not is_added:
            gone = {(*body, END) for body in bodies} & alive
            trie.remove(np.array([rows_of[identifier] for identifier in sorted(gone)], int))
            alive -= gone
        assert_whole(trie, alive)
    if alive:
        built = Trie.build(padded([identifier[:-1] for identifier in alive]))
        assert set(walks(trie)) == set(walks(built))
        assert all(stated >= real for stated, real in zip(trie.fan_out, built.fan_out))


def test_many_small_updates_do_not_pile_up():
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 6, (300, 4)), axis=0)
    rng.shuffle(codes)
    trie = Trie.build(codes[:1])
    for code in codes[1:]:
        trie.add(code[None])
        assert len(trie.token_E) <= 2 * trie.count_S.sum()
    assert_whole(trie, set(map(tuple, codes.tolist())))
    assert trie.fan_out == Trie.build(codes).fan_out
    trie.remove(np.arange(1, len(codes)))
    trie.add(codes)
    assert_whole(trie, set(map(tuple, codes.tolist())))


def test_everything_may_be_removed_and_come_back():
    codes = np.array([[4, 2], [1, 3], [1, 2]])
    trie = Trie.build(codes)
    trie.remove(np.array([2, 0, 1, 1]))
    assert len(trie) == 0 and trie.count_S[0] == 0
    with pytest.raises(ValueError, match=r"identifier \[1, 3\] is not in the index"):
        trie.rows_of(codes[1:])
    assert trie.add(codes[1:]).tolist() == [1, 0]
    assert_whole(trie, {(1, 3), (1, 2)})


def test_longer_identifiers_and_larger_tokens_are_added():
    trie = Trie.build(np.array([[1, 2], [3, 4]]))
    assert trie.add(np.array([[6, 6]])).tolist() == [2]  # leaves room behind the arrays, for pairs of small tokens
    assert trie.add(np.array([[3, 70_000, 5], [1, 2, PAD]])).tolist() == [3, 0]
    assert trie.identifiers_NL.tolist() == [[1, 2, PAD], [3, 4, PAD], [6, 6, PAD], [3, 70_000, 5]]
    assert trie.token_E.dtype == trie.identifiers_NL.dtype == np.int32
    assert_whole(trie, {(1, 2), (3, 4), (6, 6), (3, 70_000, 5)})
    trie.add(np.array([[1, 9, PAD, PAD, PAD]]))
    assert trie.identifiers_NL.shape == (5, 3), "columns of padding alone are not kept"


def state(trie):
    return {name: getattr(trie, name).tolist() for name in ARRAYS}, trie.fan_out


def test_an_identifier_that_begins_another_is_refused():
    with pytest.raises(ValueError, match="an identifier is the beginning of another: end variable-length"):
        Trie.build(np.array([[1, PAD], [1, 2]]))
    trie = Trie.build(np.array([[1, 2, 3, PAD], [1, 2, 4, PAD], [5, 6, PAD, PAD]]))
    before = state(trie)
    refused = ([1, PAD], [1, 2], [1, 2, 3, 9], [5, PAD], [5, 6, 7])
    for wrong in (*([code] for code in refused), [[8, 1, PAD], [8, 1, 2]], [[2, PAD], [2, 1]]):
        codes = np.full((len(wrong) + 1, 4), PAD)
        codes[0, 0] = 9
        for row, code in zip(codes[1:], wrong, strict=True):
            row[: len(code)] = code
        with pytest.raises(ValueError, match="beginning of another"):
            trie.add(codes)
        assert state(trie) == before
    trie.remove(np.array([2]))
    assert trie.add(np.array([[5, 6, 7]])).tolist() == [3], "a removed identifier is in nobody's way"


@pytest.mark.parametrize(
    ("identifiers", "message"),
    [
        (np.empty((0, 4), int), "there are no identifiers"),
        (np.empty((3, 0), int), "there are no identifiers"),
        ([[1, 2], [PAD, PAD]], "row 1 is all padding"),
        ([[1, PAD, 2]], "token after padding"),
        ([[PAD, 2]], "token after padding"),
        ([[1, -2]], "token -2 is not from 0"),
        ([[1, 2**31]], "token 2147483648 is not from 0"),
        ([[0.5]], "float64 of shape"),
        ([1, 2], "of shape"),
    ],
)
def test_what_is_no_identifier_is_refused(identifiers, message):
    with pytest.raises(ValueError, match=message):
        Trie.build(np.asarray(identifiers))


@pytest.mark.parametrize(
    ("rows", "message"), [([0, 3], "row 3 is not"), ([-1], "row -1 is not"), ([1], "row 1 is not"), ([0.0], "float64")]
)
def test_a_row_that_is_not_there_is_not_removed(rows, message):
    trie = Trie.build(np.array([[4, 2], [1, 3], [1, 2]]))
    trie.remove(np.array([1]))
    before = state(trie)
    with pytest.raises(ValueError, match=message):
        trie.remove(np.array(rows))
    assert state(trie) == before


@pytest.mark.parametrize("verify", [True, False])
def test_a_saved_index_is_mapped_and_may_be_updated_and_saved_again(tmp_path, verify):
    trie = Trie.build(np.array([[4, 2], [1, 3], [1, 2]]))
    trie.remove(np.array([0]))
    trie.save(tmp_path / "index")
    found, other = (Trie.load(tmp_path / "index", verify) for _ in range(2))
    assert state(found) == state(trie)
    assert not any(getattr(found, name).flags.writeable for name in ARRAYS)
    assert found.rows_of(np.array([[4, 2]])).tolist() == [2]
    found.remove(np.array([1]))
    assert found.add(np.array([[1, 2], [1, 9], [4, 8]])).tolist() == [0, 3, 4]
    found.save(tmp_path / "index")
    assert state(other) == state(trie), "what is open stays as it was"
    assert state(Trie.load(tmp_path / "index", verify)) == state(found)
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == sorted([*(f"{name}.npy" for name in ARRAYS), "trie.json"])


def damaged(folder, file, how):
    path = folder / file
    content = bytearray(path.read_bytes())
    match how:
        case "missing":
            path.unlink()
            return
        case "truncated":
            del content[-1]
        case "changed":
            content[-1] ^= 1
        case "of another shape":
            content = content.replace(b"(3, 2)", b"(2, 3)")
        case "of another type":
            content = content.replace(b"<i2", b"<u2")
        case "no array":
            content[:6] = b"nonono"
        case "of another version":
            record = json.loads(content)
            content = bytearray(json.dumps({**record, "version": 2}).encode())
        case "no object":
            content = bytearray(b"[]")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "how", "message", "verify"),
    [
        *((f"{name}.npy", "missing", "is missing", False) for name in ARRAYS),
        *((f"{name}.npy", "changed", "sha256 differs", True) for name in ARRAYS),
        ("child_E.npy", "truncated", "bytes instead of", False),
        ("identifiers_NL.npy", "of another shape", "instead of <i2", False),
        ("token_E.npy", "of another type", "instead of <i2", False),
        ("identifiers_NL.npy", "no array", "is no array", False),
        ("trie.json", "missing", "is missing", False),
        ("trie.json", "truncated", "cannot be read", False),
        ("trie.json", "no object", "cannot be read", False),
        ("trie.json", "of another version", "is not what was saved", False),
    ],
)
def test_damage_is_named_with_the_remedy(tmp_path, file, how, message, verify):
    Trie.build(np.array([[4, 2], [1, 3], [1, 2]])).save(tmp_path)
    damaged(tmp_path, file, how)
    with pytest.raises(ValueError, match=f"{message}.*: build the index again and save it$") as caught:
        Trie.load(tmp_path, verify)
    assert file in str(caught.value) and "\n" not in str(caught.value)


def test_the_index_wants_no_torch():
    subprocess.run([sys.executable, "-c", "import methods.decoding.trie, sys; assert 'torch' not in sys.modules"], check=True, timeout=60)


def test_what_goes_on_after_an_identifier_is_another_one():
    trie = Trie.build(np.array([[1, 2], [3, 4]]))
    with pytest.raises(ValueError, match=r"identifier \[1, 2, 7\] is not in the index"):
        trie.rows_of(np.array([[1, 2, 7]]))
    with pytest.raises(ValueError, match="beginning of another"):
        trie.add(np.array([[1, 2, 7]]))


def test_many_identifiers_are_looked_up_in_parts(monkeypatch):
    monkeypatch.setattr("methods.decoding.trie.CHUNK", 3)
    codes = np.arange(14).reshape(7, 2)
    assert Trie.build(codes).rows_of(codes).tolist() == list(range(7))


@pytest.mark.parametrize(("token", "kind"), [(2**15 - 1, np.int16), (2**15, np.int32)])
def test_tokens_are_kept_in_16_bits_while_they_fit(token, kind):
    trie = Trie.build(np.array([[token, 1]]))
    assert trie.token_E.dtype == kind and trie.identifiers_NL.tolist() == [[token, 1]]
