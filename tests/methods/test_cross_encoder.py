"""Shortlists, ties and reach of the one-tower machine, with a matcher whose scores are computed by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from avg.padding import PAD
from baselines.nameless import nameless
from methods.cross_encoder import CrossEncoderRetriever
from methods.data import Gallery
from methods.retriever import SearchKnobs


class Table:
    """A picture's red is its ITC similarity to every caption, its green its logit; counts what it is asked."""

    precision = "integers"

    def __init__(self):
        self.encoded, self.matched = 0, []

    def picture_batches(self, pictures, count):
        for picture in pictures:
            self.encoded += 1
            red, green, _ = picture.getpixel((0, 0))
            yield np.array([[red]], np.float32), np.array([[[green]]], np.float16)

    def caption_vectors(self, captions):
        return np.ones((len(captions), 1), np.float32)

    def use_states(self, states_UPH):
        self.states_UPH = states_UPH

    def match_logits(self, caption, rows_K):
        self.matched.append(len(rows_K))
        return self.states_UPH[rows_K, 0, 0].astype(np.float32)


class Rerank(CrossEncoderRetriever):
    mode = "rerank"

    def __init__(self, mode="rerank"):
        super().__init__(None)
        self.mode, self.matcher = mode, Table()

    class Config:
        pass

    def stages(self, data, exposure):
        return {}

    def _load_parts(self):
        return


def built(colours, mode="rerank"):
    retriever = Rerank(mode)
    pictures = [Image.new("RGB", (1, 1), (*colour, 0)) for colour in colours]
    retriever.build(Gallery(np.arange(len(colours)) + 10, pictures))
    return retriever


def ranked(retriever, k, shortlist=128):
    return retriever.search(retriever.encode(["caption"]), k, SearchKnobs(shortlist=shortlist))


def listed(ranking):
    return [(int(image), float(score), int(group)) for image, score, group in zip(*ranking_rows(ranking), strict=True) if image != PAD]


def ranking_rows(ranking):
    return ranking.ids_QW[0], ranking.scores_QW[0], ranking.group_QW[0]


COLOURS = [(5, 0), (4, 9), (3, 1), (2, 90), (1, 99)]


def test_the_shortlist_is_ordered_by_the_sum_and_the_rest_is_left_out():
    retriever = built(COLOURS)
    assert listed(ranked(retriever, k=5, shortlist=3)) == [(11, 13.0, 0), (10, 5.0, 1), (12, 4.0, 2)]
    assert retriever.matcher.matched == [3]
    assert retriever.shortlists


def test_vectors_alone_rank_all_and_keep_no_states():
    retriever = built(COLOURS, "itc")
    assert [image for image, *_ in listed(ranked(retriever, k=5, shortlist=3))] == [10, 11, 12, 13, 14]
    assert set(retriever.index()) == {"ids_N", "picture_N", "vectors_UD"}
    assert retriever.matcher.matched == [] and not retriever.shortlists


def test_what_ties_with_the_last_of_the_shortlist_is_on_it():
    retriever = built([(5, 0), (4, 1), (4, 2), (4, 3), (3, 99)])
    assert [image for image, *_ in listed(ranked(retriever, k=5, shortlist=2))] == [13, 12, 10, 11]


def test_copies_of_a_picture_are_encoded_and_matched_once_and_tied():
    retriever = built([(5, 1), (4, 2), (5, 1), (0, 0), (5, 1)])
    assert retriever.matcher.encoded == 3
    assert retriever.index()["states_UPH"].shape == (3, 1, 1)
    found = ranked(retriever, k=1, shortlist=4)
    assert listed(found) == [(10, 6.0, 0), (11, 6.0, 0), (12, 6.0, 0), (14, 6.0, 0)]
    assert retriever.matcher.matched == [2]


def test_the_index_goes_into_another_retriever():
    first, second = built(COLOURS), Rerank()
    second.use_index(first.index())
    np.testing.assert_array_equal(ranked(first, 3).ids_QW, ranked(second, 3).ids_QW)


@given(
    colours=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12),
    k=st.integers(1, 14),
    shortlist=st.integers(1, 14),
)
def test_a_shortlist_of_all_is_exhaustive_and_any_shortlist_agrees_with_brute_force(colours, k, shortlist):
    """Over every pair of scores with ties in both: the ranking is the sorted sum over the images that the shortlist reaches."""
    found, whole, exhaustive = (
        ranked(built(colours, mode), k, width) for mode, width in (("rerank", shortlist), ("rerank", len(colours)), ("exhaustive", 1))
    )
    for one, other in zip(ranking_rows(whole), ranking_rows(exhaustive), strict=True):
        np.testing.assert_array_equal(one, other)
    edge = sorted((red for red, _ in colours), reverse=True)[:shortlist][-1]
    sums = {10 + row: red + green for row, (red, green) in enumerate(colours) if red >= edge}
    order = sorted(sums, key=lambda image: (-sums[image], image))
    last = sorted(set(sums.values()), reverse=True)[:k][-1]
    assert [image for image, *_ in listed(found)] == [image for image in order if sums[image] >= last]
    assert [score for _, score, _ in listed(found)] == [sums[image] for image in order if sums[image] >= last]


def test_states_that_no_disk_holds_are_refused_with_their_size(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr("methods.cross_encoder.shutil.disk_usage", lambda path: SimpleNamespace(free=3))
    with pytest.raises(ValueError, match=r"hidden states of 5 pictures take 0.0 GB, and \S+ has 0.0 free: set TMPDIR"):
        built(COLOURS)


KILLED = """
import os, signal, sys
import numpy as np
from PIL import Image
from methods.data import Gallery
from tests.methods.test_cross_encoder import Rerank

def pictures():
    for place in range(4):
        if place == 3:
            os._exit(3) if sys.argv[1] == "exit" else os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        yield Image.new("RGB", (1, 1), (place, 0, 0))

class Few(list):
    def __len__(self):
        return 4
    def __iter__(self):
        return pictures()

retriever = Rerank()
retriever.build(Gallery(np.arange(4), Few()))
"""


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL", "exit"])
def test_an_indexing_that_is_ended_leaves_no_states_behind(end, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", KILLED, end], env=environment, capture_output=True, text=True)
    assert done.returncode == {"SIGTERM": -15, "SIGKILL": -9, "exit": 3}[end], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_another_process_maps_states_by_their_path_as_long_as_they_are_in_use():
    states_UPH = nameless((4, 2, 3), np.dtype(np.float16))
    states_UPH[:] = np.arange(24).reshape(4, 2, 3)
    part_UPH = states_UPH[:3]
    del states_UPH
    read = "import sys, numpy; print(int(numpy.memmap(sys.argv[1], numpy.float16, 'r', shape=(3, 2, 3)).sum()))"
    told = subprocess.run([sys.executable, "-c", read, str(part_UPH.filename)], capture_output=True, text=True, check=True)
    assert told.stdout == f"{sum(range(18))}\n"
    path = Path(str(part_UPH.filename))
    del part_UPH
    assert not path.exists()
