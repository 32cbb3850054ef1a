"""Take photos and tables out of the archives of benchmarks, which strangers packed."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from core.errors import UserError
from core.files import replacing
from retrieval.photos.decoding import PHOTO_SUFFIXES

COPIED_BYTES = 1 << 20
TAKEN_SUFFIXES = PHOTO_SUFFIXES | {".csv"}
MAX_UNPACKED_BYTES = 60_000_000_000
"""No benchmark here is a third of that: a bomb is."""


def unpack(archive: Path, folder: Path) -> int:
    """Take the photos and tables out of a zip or tar, each at once or not at all; returns how many are there.

    Names that lead out of the folder, links and devices are left alone; so is everything that is no photo or table.

    Raises:
        UserError: it is no archive, is damaged, or would unpack to more than any benchmark holds.
    """
    try:
        _check_whole_tar(archive)
        with _members(archive) as members:
            return sum(_take(name, size, open_, folder) for name, size, open_ in members)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"{archive}: {error}; delete it and fetch it again") from error


def _check_whole_tar(archive: Path) -> None:
    """Read a tar to its end before anything is taken out: its compression's checksum comes last.

    After the members come zeros only; `tarfile` takes a damaged header for the end.
    """
    if zipfile.is_zipfile(archive):
        return
    unpacked = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            unpacked += member.size
            _check_unpacked(archive, unpacked)
        while block := tar.fileobj.read(COPIED_BYTES) if tar.fileobj else b"":
            if block.strip(b"\0"):
                raise tarfile.ReadError("is damaged in the middle")
            unpacked += len(block)
            _check_unpacked(archive, unpacked)


_Member = tuple[str, int, Callable[[], IO[bytes]]]


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _bounded(archive, (_zip_member(opened, one) for one in opened.infolist() if not one.is_dir()))
        return
    with tarfile.open(archive) as tar:
        yield _bounded(archive, (_tar_member(tar, one) for one in tar if one.isfile()))


def _zip_member(opened: zipfile.ZipFile, one: zipfile.ZipInfo) -> _Member:
    return one.filename, one.file_size, lambda: opened.open(one)


def _tar_member(tar: tarfile.TarFile, one: tarfile.TarInfo) -> _Member:
    def open_() -> IO[bytes]:
        found = tar.extractfile(one)
        if found is None:
            raise tarfile.ExtractError(f"{one.name} cannot be read")
        return found

    return one.name, one.size, open_


def _bounded(archive: Path, members: Iterator[_Member]) -> Iterator[_Member]:
    total = 0
    for member in members:
        total += member[1]
        _check_unpacked(archive, total)
        yield member


def _check_unpacked(archive: Path, size_bytes: int) -> None:
    if size_bytes > MAX_UNPACKED_BYTES:
        raise UserError(f"{archive}: unpacks to more than {MAX_UNPACKED_BYTES / 1e9:.0f} GB: not a benchmark's")


def _take(name: str, size: int, open_: Callable[[], IO[bytes]], folder: Path) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    if (
        path.suffix.lower() not in TAKEN_SUFFIXES
        or path.is_absolute()
        or ".." in path.parts
        or "__MACOSX" in path.parts
    ):
        return False
    target = folder.joinpath(*path.parts)
    if target.exists() and target.stat().st_size == size:
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, sync=False) as part:
        with open_() as source, part.open("wb") as copy:
            shutil.copyfileobj(source, copy, COPIED_BYTES)
        if part.stat().st_size != size:
            raise EOFError(f"{name} is cut off")
    return True
