"""Features of any number of pictures and captions: kept shard by shard, the same when interrupted, never all in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from avg.captions import CaptionBatch
from avg.settings import TokenizerSettings
from avg.tokenizer import Tokenizer
from baselines.clip import CLIP
from benchmarks.datasets import data_stage
from benchmarks.stages import Store
from methods import extraction
from methods.data import Dataset
from methods.encoder import EncoderSettings, encoder_inputs, encoder_stages
from methods.files.shards import Shards
from methods.split_features import load_split
from methods.stage import run_in
from tests import checkpoints

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class FakeText:
    """A text tower in milliseconds: a caption is its number of words; its state at word t is 10 * words + t."""

    width: int = 3
    calls: int = 0

    def text_states(self, captions):
        self.calls += 1
        lengths_B = torch.tensor([len(text.split()) for text in captions])
        place_T = torch.arange(int(lengths_B.max()))
        mask_BT = place_T < lengths_B[:, None]
        states_BTH = (10 * lengths_B[:, None] + place_T)[..., None].expand(-1, -1, self.width).float() * mask_BT[..., None]
        return CaptionBatch(tuple(captions), states_BTH, mask_BT, lengths_B[:, None].float())


@given(total=st.integers(1, 60), size=st.integers(1, 25))
def test_shards_hold_every_item_once_and_never_more_than_their_size(tmp_path_factory, total, size):
    folder = tmp_path_factory.mktemp("shards")
    widths = []

    def work(first, end):
        widths.append(end - first)
        return {"x": torch.arange(first, end)[:, None]}

    shards = Shards(folder, "x", total, size).fill(work)
    assert max(widths) <= size and len(widths) == -(-total // size)
    assert shards.join("x", folder / "x.npy")[:, 0].tolist() == list(range(total))
    assert Shards(folder, "x", total, size).fill(work) is not None and len(widths) == -(-total // size), "what is there is not made again"


@pytest.mark.parametrize("how", ["empty", "cut short", "a bit flipped", "a header of nonsense"])
def test_a_damaged_shard_is_named_and_made_again(how, tmp_path, caplog):
    made = []

    def work(first, end):
        made.append(first)
        return {"x": torch.arange(first, end)[:, None], "y": torch.ones(end - first, 2, dtype=torch.bfloat16)}

    shards = Shards(tmp_path, "x", 12, 4).fill(work)
    path = shards.path(4, 8)
    whole = path.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    path.write_bytes({"empty": b"", "cut short": whole[:-3], "a bit flipped": flipped}.get(how, whole.replace(b'"I64"', b'"I6?"')))
    shards = Shards(tmp_path, "x", 12, 4).fill(work)
    assert made == [0, 4, 8, 4]
    assert f"{path}: it " in caplog.text and "it is removed and made again" in caplog.text
    assert path.read_bytes() == whole
    assert shards.join("x", tmp_path / "x.npy")[:, 0].tolist() == list(range(12))


def test_a_shard_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name) or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda source, target: done.append("renamed") or replace(source, target))
    shards = Shards(tmp_path, "x", 1, 4).fill(lambda first, end: {"x": torch.zeros(1)})
    assert done == [f".unfinished-{shards.path(0, 1).name}", "renamed", tmp_path.name]


@given(words=st.lists(st.integers(1, 9), min_size=1, max_size=40), size=st.integers(1, 12))
def test_packed_states_are_written_as_safetensors_writes_them(tmp_path_factory, words, size):
    folder, captions = tmp_path_factory.mktemp("packed"), [" ".join(["w"] * count) for count in words]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "TEXT_SHARD", size)
        patch.setattr(extraction, "TEXT_BATCH", 3)
        tokens = extraction.write_states(FakeText(), captions, folder, "train")
    states_TH, start_Q1, vectors_QD = extraction.pack_states(FakeText(), captions)
    save_file({"states_TH": states_TH, "start_Q1": start_Q1}, folder / "oracle.safetensors")
    assert tokens == sum(words) == len(states_TH)
    assert start_Q1.diff().tolist() == words == vectors_QD[:, 0].tolist()
    assert (folder / "train-states.safetensors").read_bytes() == (folder / "oracle.safetensors").read_bytes()


def test_writing_packed_states_needs_no_memory_of_their_size(tmp_path):
    """400 MB of states in shards of 8 MB, after 80 MB of them: the process grows by a few shards, far less than it writes."""
    path = tmp_path / "states.safetensors"
    source = f"""
import torch
from pathlib import Path
from methods.files.shards import write_packed
from benchmarks.environment import forget_peak_memory, peak_memory
def write(count):
    lengths = torch.full((count * 1000,), 20)
    shards = ((range(first, first + 1000), torch.full((20_000, 200), first, dtype=torch.bfloat16), lengths[first : first + 1000])
              for first in range(0, len(lengths), 1000))
    return write_packed(Path({str(path)!r}), shards, lengths, 200)
write(10)
forget_peak_memory(); before = peak_memory()
print(write(50), peak_memory() - before)
"""
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    tokens, grown = map(int, done.stdout.split())
    assert tokens * 400 == 400_000_000
    assert grown < 100_000_000  # three to five shards, as the allocator likes
    states = load_file(path)
    assert states["states_TH"].shape == (1_000_000, 200)
    assert states["states_TH"][20 * 24_999].tolist()[:2] == [24_064.0, 24_064.0], "24000 rounded to bfloat16"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return checkpoints.open_clip_folder(root / "model", checkpoints.NATIVE)


@pytest.fixture(scope="module")
def data():
    return data_stage("openmoji-scenes-tiny", train=60, val=20, test=24)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("stages"))


def test_features_of_a_named_model_are_what_it_says_when_asked(tiny, data, run):
    stages = encoder_stages(EncoderSettings(model=str(tiny)), data)
    folders = {name: run(stage) for name, stage in stages.items()}
    clip, split = CLIP(tiny), Dataset(run(data)).split("test")
    found = load_split(folders["trunks"], folders["features"], "test")
    np.testing.assert_allclose(found.images_ND, clip.picture_feats(split.pictures, 24), rtol=0.05, atol=0.05)
    direct = [clip.text_states([caption]) for caption in split.captions]
    np.testing.assert_allclose(found.texts_QD, np.concatenate([one.vectors_BD for one in direct]), rtol=0.1, atol=0.1)
    assert found.states.lengths_Q.tolist() == [int(one.mask_BT.sum()) for one in direct]
    states, mask = found.states.take(torch.tensor([3]))
    np.testing.assert_allclose(states[mask].float(), direct[3].states_BTH[direct[3].mask_BT], rtol=0.1, atol=0.1)
    np.testing.assert_array_equal(found.caption_rows_Q, split.caption_rows_Q)


def test_features_are_raw_and_the_tokenizer_may_leave_them_so(tiny, data, run):
    stages = encoder_stages(EncoderSettings(model=str(tiny)), data)
    with np.load(run(stages["features"]) / "train.npz") as stored:
        images = torch.from_numpy(stored["images_ND"])
    assert (images.norm(dim=1) - 1).abs().min() > 0.1
    raw = Tokenizer(TokenizerSettings(**{**TokenizerSettings.tiny(), "normalize": False}), images.shape[1])
    torch.testing.assert_close(raw.prepare(images), images, rtol=0, atol=0)


def test_without_a_reader_no_states_are_extracted_but_their_lengths_are_known(tiny, data, tmp_path):
    run, stages = run_in(tmp_path), encoder_stages(EncoderSettings(model=str(tiny)), data)
    read, unread = encoder_inputs(stages), encoder_inputs(stages, reads_states=False)
    assert set(read) - set(unread) == {"trunks"}
    features = run(unread["features"])
    assert not list(tmp_path.glob("states-*"))
    states = load_split(None, features, "val").states
    assert states.lengths_Q.tolist() == load_split(run(read["trunks"]), features, "val").states.lengths_Q.tolist()
    taken, mask = states.take(torch.tensor([4, 0]))
    assert taken.shape == (2, 0, 0) and mask.shape == (2, 0)
    # the default encoder is trained on the means of its states, so that they are there in any case
    assert "trunks" in encoder_inputs(encoder_stages(EncoderSettings(), data), reads_states=False)


KILLED = """
import sys, time
from pathlib import Path
from baselines.clip import CLIP
from benchmarks.stages import Store
from methods import extraction
from tests.methods.test_extraction import SMALL, features_of
for name, size in SMALL.items():
    setattr(extraction, name, size)
whole = CLIP.text_states
CLIP.text_states = lambda *arguments: time.sleep(0.1) or whole(*arguments)
Store(Path(sys.argv[1])).run(features_of(sys.argv[2]))
"""
SMALL = {"PICTURE_SHARD": 64, "TEXT_SHARD": 40, "TEXT_BATCH": 8}


def features_of(model: str):
    data = data_stage("openmoji-scenes-tiny", train=60, val=20, test=24)
    return encoder_stages(EncoderSettings(model=model), data)["features"]


@pytest.mark.slow
def test_a_killed_extraction_goes_on_with_the_next_shard(tiny, tmp_path, monkeypatch):
    """A real process is killed in the middle of its captions; another run of the same command does the rest and no more."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(tiny)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TQDM_DISABLE": "1", "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed" / "features").glob(".*/unfinished/train-captions-*-000000120.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    for name, size in SMALL.items():
        monkeypatch.setattr(extraction, name, size)
    calls, whole = [], CLIP.text_states
    monkeypatch.setattr(CLIP, "text_states", lambda self, captions: calls.append(len(captions)) or whole(self, captions))
    stage = features_of(str(tiny))
    one = Store(tmp_path / "killed").run(stage)
    assert sum(calls) <= 5 * (60 + 20 + 24) - 120, "three shards of forty were there"
    other = Store(tmp_path / "whole").run(stage)
    for split in ("train", "val", "test"):
        with np.load(one / f"{split}.npz") as a, np.load(other / f"{split}.npz") as b:
            for name in ("images_ND", "texts_QD", "lengths_Q"):
                np.testing.assert_array_equal(a[name], b[name])
    assert not (one / "unfinished").exists()
