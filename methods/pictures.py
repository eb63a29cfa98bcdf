"""The one place that reads pictures: from a folder, from a zip file, or from tar files (WebDataset shards) in a folder.

Names come from files that others wrote, and so do the bytes behind them. A name that leaves its root is refused, and so is a picture whose
header promises more pixels than memory should be given for. Links are followed: who put the pictures there made them.
"""

from __future__ import annotations

import io
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, lru_cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar

from baselines.ahead import in_order

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 89_478_485  # what Pillow begins to warn at: a quarter of a GB as RGB
MAX_BYTES = 2**28  # of a file; no photo comes near

Result = TypeVar("Result")


class PictureError(ValueError):
    """A picture cannot be had. `why`: it is not there, its name or size is refused, or its bytes are no whole picture."""

    def __init__(self, message: str, why: Literal["missing", "refused", "undecodable"]):
        super().__init__(message)
        self.why = why


def check_name(name: str) -> None:
    """Raises a `PictureError` if a picture's name leaves the root that it is relative to; looks at the name alone."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise PictureError(f"picture name {name!r} is refused: it must be relative to the data root and stay in it, without ..", "refused")


class Pictures(Sequence["Image"]):
    """Returns pictures by row as RGB PIL images, decoded when asked for; iterated, threads decode ahead.

    Args:
        root: a folder, or a zip file whose members are the pictures.
        files: N names relative to `root`; `FILE.tar/MEMBER` is a member of a tar file there.

    Raises:
        PictureError: on access, when a picture is missing, refused or cannot be decoded; the message names the file.
    """

    def __init__(self, root: Path, files: Sequence[str]):
        self.root = Path(root)
        self.files = tuple(files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row):
        if isinstance(row, slice):
            return Pictures(self.root, self.files[row])
        name = self.files[row]
        raw, Image = self._read(name), _pillow()
        try:
            with Image.open(io.BytesIO(raw)) as picture:
                wide, high = picture.size
                if wide * high > MAX_PIXELS:
                    raise self._bomb(name, f"{wide:,} × {high:,} pixels")
                return self._of_16_bits(name, picture) if picture.mode[0] in "IF" else picture.convert("RGB")
        except PictureError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise self._bomb(name, "too many pixels") from error
        except Exception as error:  # a decoder raises anything on bytes that were made to harm or cut short: SyntaxError, struct.error …
            raise PictureError(f"picture {name} in {self.root} cannot be read: {error}", "undecodable") from error

    def __iter__(self) -> Iterator[Image]:
        return in_order(self.__getitem__, range(len(self)))

    def mapped(self, function: Callable[[Image], Result]) -> Iterator[Result]:
        """Yields `function(picture)` of each picture, in order; threads decode and call it ahead: a model need not wait for resizing."""
        return in_order(lambda row: function(self[row]), range(len(self)))

    def missing(self) -> list[str]:
        """Returns the names that lead to no file or member; reads none of them."""

        def gone(name: str) -> bool:
            try:
                self._located(name)
            except PictureError as error:
                return error.why == "missing"
            return False

        return [name for name in self.files if gone(name)]

    def _of_16_bits(self, name: str, picture: Image) -> Image:
        """Returns a grey picture of modes I, I;16 and the like as RGB, 65535 as 255; `convert` would cut all above 255 to white."""
        whole = picture.convert("I")
        lowest, highest = whole.getextrema()
        if picture.mode == "F" or not 0 <= lowest <= highest <= 65535:  # type: ignore[operator]
            what = "its pixels are floating-point numbers, or beyond 16 bits; save it with 8 bits a channel"
            raise PictureError(f"picture {name} in {self.root} cannot be read: {what}", "undecodable")
        return whole.point(lambda value: value / 257 + 0.5).convert("RGB")

    def _bomb(self, name: str, what: str) -> PictureError:
        message = f"picture {name} in {self.root} is refused as a decompression bomb: {what}, of at most {MAX_PIXELS:,}; scale it down"
        return PictureError(message, "refused")

    def _read(self, name: str) -> bytes:
        size, read = self._located(name)
        if size > MAX_BYTES:
            raise PictureError(f"picture {name} in {self.root} is refused: it has {size:,} bytes, of at most {MAX_BYTES:,}", "refused")
        with self._naming(name):
            return read()

    def _located(self, name: str) -> tuple[int, Callable[[], bytes]]:
        """Returns a picture's bytes by number, and what reads them."""
        check_name(name)
        with self._naming(name):
            if self.root.suffix == ".zip":
                return self._archive.getinfo(name).file_size, lambda: self._archive.read(name)
            shard, tar, member = name.partition(".tar/")
            path = self.root / (shard + ".tar" if tar else name)
            if not tar:
                return path.stat().st_size, path.read_bytes
            start, size = _members(path)[member]
            return size, lambda: _part(path, start, size)

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        try:
            yield
        except (KeyError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise PictureError(f"picture {name} in {self.root} cannot be read: it is missing", "missing") from error
        except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise PictureError(f"picture {name} in {self.root} cannot be read: {error}", "undecodable") from error

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.root)


def tar_members(path: Path) -> dict[str, tuple[int, int]]:
    """Returns where each regular file of an uncompressed tar file begins, and its bytes; links in it are left out.

    Raises:
        tarfile.TarError: if it is no such file, or damaged or cut.
        PictureError: if two members have one name: one would hide the other.
    """
    found: dict[str, tuple[int, int]] = {}
    with tarfile.open(path, "r:") as archive:
        for member in filter(tarfile.TarInfo.isfile, archive):
            if member.name in found:
                raise PictureError(f"{path}: member {member.name} comes twice: give each sample a name of its own", "refused")
            found[member.name] = member.offset_data, member.size
    with path.open("rb") as file:
        file.seek(archive.offset)
        end = file.read(tarfile.BLOCKSIZE)
    if end != tarfile.NUL * tarfile.BLOCKSIZE:  # tarfile takes a damaged header, or none, for the end
        raise tarfile.ReadError(f"neither a header nor the end at byte {archive.offset:,}")
    return found


@lru_cache(maxsize=4096)
def _members(path: Path) -> dict[str, tuple[int, int]]:
    return tar_members(path)


def _part(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:  # a file of its own for each thread: they must not share a position
        file.seek(start)
        return file.read(size)


@cache
def _pillow() -> ModuleType:
    from PIL import Image

    # A picture is refused, not warned about; a warning would be a second line.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    return Image
