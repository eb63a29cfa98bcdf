"""Pictures: read alike from a folder, a zip and a tar, ahead but in order, and nothing that a name or a file says leads out or astray."""

from __future__ import annotations

import io
import struct
import tarfile
import threading
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from methods import pictures
from methods.pictures import PictureError, Pictures, check_name, in_order
from tests.trees import jpeg, picture


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    return folder


def why(pictures: Pictures, row: int = 0) -> tuple[str, str]:
    with pytest.raises(PictureError) as error:
        pictures[row]
    assert "\n" not in str(error.value)
    return error.value.why, str(error.value)


def png_header(side: int) -> bytes:
    """A PNG that promises side × side pixels and holds a few."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))


def test_folder_zip_and_tar_hold_the_same_pictures(root, tmp_path):
    names = [f"{number}.jpg" for number in range(5)]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in names:
            archive.write(root / name, name)
    with tarfile.open(root / "all.tar", "w") as archive:
        for name in names:
            archive.add(root / name, f"in/{name}")
    expected = [np.asarray(one) for one in Pictures(root, names)]
    assert [one.shape for one in expected] == [(96, 96, 3)] * 5
    assert np.abs(expected[2].astype(int) - np.asarray(picture(2))).mean() < 4, "JPEG is lossy, but it is that picture"
    for other in (Pictures(tmp_path / "all.zip", names), Pictures(root, [f"all.tar/in/{name}" for name in names])):
        assert all(np.array_equal(one, two) for one, two in zip(expected, other, strict=True))
    assert [np.asarray(one).tobytes() for one in Pictures(root, names)[1:3]] == [one.tobytes() for one in expected[1:3]]
    assert list(Pictures(root, names).mapped(lambda one: one.getpixel((0, 0)))) == [tuple(one[0, 0].tolist()) for one in expected]


def test_results_come_in_order_and_never_more_than_a_few_wait():
    started = []

    def slow(number: int) -> int:
        started.append(number)
        time.sleep(0.02 if number % 3 == 0 else 0.001)
        return number

    for count, number in enumerate(in_order(slow, range(40), workers=4, ahead=6)):
        assert number == count
        assert max(started) <= count + 6, "one is taken, six may wait"
    assert sorted(started) == list(range(40))


def test_threads_work_while_the_consumer_does():
    names = {threading.current_thread().name}
    assert list(in_order(lambda number: names.add(threading.current_thread().name) or number, range(3))) == [0, 1, 2]
    assert any(name.startswith("pictures") for name in names)


def test_an_error_comes_at_its_place_and_an_abandoned_iteration_ends(root):
    (root / "2.jpg").unlink()
    found = iter(Pictures(root, [f"{number}.jpg" for number in range(5)]))
    next(found), next(found)
    with pytest.raises(PictureError, match=r"2\.jpg.*missing"):
        next(found)
    before = threading.active_count()
    walk = in_order(lambda number: number, range(1000), workers=3, ahead=5)
    next(walk)
    walk.close()
    assert threading.active_count() <= before


@pytest.mark.parametrize("name", ["../0.jpg", "/etc/passwd", "a/../../0.jpg", "..", "a\\..\\0.jpg", "", "a\0.jpg"])
def test_names_out_of_the_root_are_refused_also_in_a_zip(root, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("../0.jpg", jpeg(0))
    with pytest.raises(PictureError, match="stay in it"):
        check_name(name)
    for where in (root, tmp_path / "all.zip"):
        assert why(Pictures(where, [name]))[0] == "refused"


def test_links_that_the_user_made_are_followed(root, tmp_path):
    """On shared disks folders are links to where the pictures lie, or each picture is one."""
    (tmp_path / "disk" / "train2014").mkdir(parents=True)
    (tmp_path / "disk" / "train2014" / "1.jpg").write_bytes(jpeg(1))
    with tarfile.open(tmp_path / "disk" / "all.tar", "w") as archive:
        archive.add(tmp_path / "disk" / "train2014" / "1.jpg", "1.jpg")
    (root / "one.jpg").symlink_to(tmp_path / "disk" / "train2014" / "1.jpg")
    (root / "train2014").symlink_to(tmp_path / "disk" / "train2014")
    (root / "shard.tar").symlink_to(tmp_path / "disk" / "all.tar")
    (tmp_path / "linked").symlink_to(root)
    names = ["one.jpg", "train2014/1.jpg", "shard.tar/1.jpg", "1.jpg"]
    for where in (root, tmp_path / "linked"):
        assert {one.tobytes() for one in Pictures(where, names)} == {Pictures(root, ["1.jpg"])[0].tobytes()}
    (root / "gone.jpg").symlink_to(tmp_path / "disk" / "gone.jpg")
    assert why(Pictures(root, ["gone.jpg"]))[0] == "missing"
    assert why(Pictures(root, ["train2014/../one.jpg"]))[0] == "refused", "a name does not lead out, whatever is a link"


def test_links_in_a_tar_are_no_pictures(root):
    with tarfile.open(root / "all.tar", "w") as archive:
        member = tarfile.TarInfo("0.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    assert why(Pictures(root, ["all.tar/0.jpg"]))[0] == "missing"


@pytest.mark.parametrize("side", [10_000, 50_000])
def test_bombs_are_refused_before_they_are_decoded(root, side):
    (root / "bomb.png").write_bytes(png_header(side))
    kind, message = why(Pictures(root, ["bomb.png"]))
    assert kind == "refused"
    assert "bomb.png" in message
    assert "decompression bomb" in message


def test_a_file_of_hundreds_of_megabytes_is_not_read(root, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 100)
    size = (root / "0.jpg").stat().st_size
    assert why(Pictures(root, ["0.jpg"])) == ("refused", f"picture 0.jpg in {root} is refused: it has {size:,} bytes, of at most 100")


def written(values: np.ndarray, form: str, mode: str | None = None) -> bytes:
    grey = Image.fromarray(values) if mode is None else Image.frombytes(mode, values.shape[::-1], values.tobytes())
    grey.save(stream := io.BytesIO(), form)
    return stream.getvalue()


DEEP = np.array([[0, 128, 129, 257], [32896, 65279, 65406, 65535]])
"""In 16 bits; 257 of them are 1 of 8, and what lies between is rounded: 128 / 257 = 0.498, 65406 / 257 = 254.498."""


@pytest.mark.parametrize(
    "raw",
    [
        written(DEEP.astype(np.uint16), "PNG"),
        written(DEEP.astype(np.uint16), "TIFF"),
        written(DEEP.astype(">u2"), "TIFF", "I;16B"),
        written(DEEP.astype(np.uint16), "PPM"),  # opens as mode I
        written(DEEP.astype(np.int32), "TIFF"),
    ],
)
def test_grey_pictures_of_16_bits_are_not_cut_to_white(root, raw):
    (root / "deep").write_bytes(raw)
    grey = np.asarray(Pictures(root, ["deep"])[0])
    assert grey.tolist() == [[[value] * 3 for value in row] for row in ([0, 0, 1, 1], [128, 254, 254, 255])]


@pytest.mark.parametrize("values", [DEEP.astype(np.float32) / 65535, DEEP.astype(np.int32) + 1, DEEP.astype(np.int32) - 1])
def test_pixels_that_are_no_whole_numbers_of_16_bits_are_refused(root, values):
    (root / "float.tif").write_bytes(written(values, "TIFF"))
    kind, message = why(Pictures(root, ["float.tif"]))
    assert kind == "undecodable"
    told = "its pixels are floating-point numbers, or beyond 16 bits; save it with 8 bits a channel"
    assert message == f"picture float.tif in {root} cannot be read: {told}"


@pytest.mark.parametrize("raw", [jpeg(0)[:400], b"", b"GIF89a", png_header(64), b"\x89PNG\r\n\x1a\n" + b"x" * 60])
def test_damaged_pictures_are_named_in_one_line(root, raw):
    (root / "bad.jpg").write_bytes(raw)
    kind, message = why(Pictures(root, ["bad.jpg"]))
    assert kind == "undecodable"
    assert f"picture bad.jpg in {root} cannot be read" in message


def test_what_is_not_there_is_missing(root, tmp_path):
    for name in ("none.jpg", "0.jpg/more.jpg", "none.tar/0.jpg", "sub"):
        (root / "sub").mkdir(exist_ok=True)
        assert why(Pictures(root, [name]))[0] == "missing"
    with zipfile.ZipFile(tmp_path / "all.zip", "w"):
        pass
    assert why(Pictures(tmp_path / "all.zip", ["0.jpg"]))[0] == "missing"


@given(st.integers(0, 1200), st.binary(min_size=1, max_size=8), st.sampled_from(["JPEG", "PNG"]))
def test_whatever_bytes_say_there_is_a_picture_or_its_error(tmp_path_factory, place, change, form):
    stream = io.BytesIO()
    picture(3).save(stream, form)
    raw = bytearray(stream.getvalue())
    raw[place % len(raw) : place % len(raw) + len(change)] = change
    folder = tmp_path_factory.getbasetemp() / "mutated"
    folder.mkdir(exist_ok=True)
    (folder / "x").write_bytes(raw)
    message = ""
    try:
        mode = Pictures(folder, ["x"])[0].mode
    except PictureError as error:
        mode, message = None, str(error)
    assert mode == "RGB" or "picture x in" in message
