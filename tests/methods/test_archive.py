from __future__ import annotations

import numpy as np
import pytest

from methods.files import archive
from methods.files.archive import mapped


def test_arrays_are_those_that_were_saved_and_large_ones_stay_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGE", 4000)
    rng = np.random.default_rng(0)
    arrays = {
        "small": rng.random(3),
        "halves": rng.random((50, 7, 9)).astype(np.float16),
        "columns": np.asfortranarray(rng.random((40, 30))),
        "a_rather_long_name": rng.integers(0, 9, 2000),
        "empty": np.empty((0, 4), np.float32),
    }
    np.savez(tmp_path / "index.npz", **arrays)
    found = mapped(tmp_path / "index.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].flags.f_contiguous == array.flags.f_contiguous
    assert [name for name, array in found.items() if isinstance(array, np.memmap)] == [
        "halves",
        "columns",
        "a_rather_long_name",
    ]
    assert not found["halves"].flags.writeable


def test_a_compressed_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGE", 10)
    np.savez_compressed(tmp_path / "index.npz", ones=np.ones(100))
    np.testing.assert_array_equal(mapped(tmp_path / "index.npz")["ones"], np.ones(100))


@pytest.mark.parametrize("large", [10, 2**20])
def test_objects_are_refused(tmp_path, monkeypatch, large):
    monkeypatch.setattr(archive, "LARGE", large)
    np.savez(tmp_path / "index.npz", things=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"(?i)object"):
        mapped(tmp_path / "index.npz")
