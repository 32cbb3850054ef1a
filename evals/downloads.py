"""Downloading one file: progress, resume after a kill, checksum; and taking photos out of archives safely."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import httpx

from core.errors import UserError
from retrieval.photos.decoding import PHOTO_SUFFIXES

COPIED_BYTES = 1 << 20
ATTEMPTS = 5
TAKEN_SUFFIXES = PHOTO_SUFFIXES | {".csv"}
MAX_UNPACKED_BYTES = 60_000_000_000
"""No benchmark here is a third of that: a bomb is."""

Progress = Callable[[int, int | None], None]
"""Bytes so far, and of the whole file if the server says."""


class DownloadError(UserError):
    """A file that could not be had, or is not what it should be."""


class _Partial(NamedTuple):
    """A download that was cut off: the bytes that are there, and the version of the file they are of."""

    path: Path
    note: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self, url: str) -> str | None:
        """The validator to send; None where none is known for this address."""
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return noted.get("version") if isinstance(noted, dict) and noted.get("url") == url else None

    def begin(self, url: str, version: str | None) -> None:
        self.note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    url: str,
    target: Path,
    client: httpx.Client,
    progress: Progress | None = None,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    pause_s: float = 1.0,
) -> None:
    """Fetch a file, going on where an earlier attempt was cut off if the server still has the same version.

    The bytes lie in `<target>.part` until all are there and the checksum is right.

    Args:
        url: where.
        target: the file.
        client: how.
        progress: told of every piece.
        sha256: in hex, where known.
        md5: in hex, where known.
        pause_s: before the second attempt; doubles with each.

    Raises:
        DownloadError: the server refuses, breaks off too often, or the checksum is wrong.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _Partial(target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json"))
    for attempt in range(ATTEMPTS):
        try:
            _fetch(url, partial, client, progress or _unseen)
            break
        except httpx.TransportError as error:
            if attempt == ATTEMPTS - 1:
                raise DownloadError(f"{url}: {error or type(error).__name__}; run the same command to go on") from error
            time.sleep(pause_s * 2**attempt)
    _check(partial, url, sha256, md5)
    partial.path.replace(target)
    partial.note.unlink(missing_ok=True)


def _unseen(done: int, total: int | None) -> None:
    """Progress that nobody looks at."""


def _fetch(url: str, partial: _Partial, client: httpx.Client, progress: Progress) -> None:
    version, there = partial.version(url), partial.size
    resumes = bool(there and version)
    headers = {"Range": f"bytes={there}-", "If-Range": version or ""} if resumes else {}
    # Compressed on the way, a file's ranges would not be the file's.
    with client.stream("GET", url, headers={**headers, "Accept-Encoding": "identity"}) as reply:
        if reply.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and resumes:
            if _whole_size(reply) == there:
                return
            partial.discard()
            raise httpx.ReadError("the file has changed on the server")
        if reply.status_code == httpx.codes.TOO_MANY_REQUESTS or reply.is_server_error:
            raise httpx.ReadError(f"the server answers {reply.status_code} {reply.reason_phrase}")
        if reply.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise DownloadError(f"{url}: the server answers {reply.status_code} {reply.reason_phrase}")
        _refuse_pages(url, reply)
        if reply.status_code == httpx.codes.OK:
            partial.begin(url, reply.headers.get("ETag") or reply.headers.get("Last-Modified"))
            there = 0
        _receive(reply, partial, there, progress)


def _receive(reply: httpx.Response, partial: _Partial, there: int, progress: Progress) -> None:
    length = reply.headers.get("Content-Length")
    total = there + int(length) if length and length.isdigit() else None
    done = there
    with partial.path.open("ab" if there else "wb", buffering=0) as file:
        # As they come: pieces gathered into larger ones would be lost when the connection breaks.
        for piece in reply.iter_raw():
            _write(file, piece, partial.path)
            done += len(piece)
            progress(done, total)
    if total is not None and partial.size != total:
        raise httpx.ReadError(f"{partial.size} of {total} bytes came")


def _write(file: IO[bytes], piece: bytes, path: Path) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise DownloadError(f"{path}: {error.strerror}; make room and run the same command") from error


def _whole_size(reply: httpx.Response) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", reply.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _refuse_pages(url: str, reply: httpx.Response) -> None:
    """File hosts that want a browser answer with a page."""
    if reply.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(f"{url}: the server sends a web page, not the file: it wants a person with a browser")


def _check(partial: _Partial, url: str, sha256: str | None, md5: str | None) -> None:
    for name, expected in (("sha256", sha256), ("md5", md5)):
        if expected is None:
            continue
        with partial.path.open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if found != expected.lower():
            partial.discard()
            raise DownloadError(f"{url}: its {name} is {found}, not {expected}: damaged on the way, or another file")


def unpack(archive: Path, folder: Path) -> int:
    """Take the photos and tables out of a zip or tar, each at once or not at all; returns how many are there.

    Names that lead out of the folder, links and devices are left alone; so is everything that is no photo or table.

    Raises:
        DownloadError: it is no archive, is damaged, or would unpack to more than any benchmark holds.
    """
    try:
        with _members(archive) as members:
            return sum(_take(name, size, open_, folder) for name, size, open_ in members)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError) as error:
        raise DownloadError(f"{archive}: {error}; delete it and fetch it again") from error


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
        if total > MAX_UNPACKED_BYTES:
            raise DownloadError(f"{archive}: unpacks to more than {MAX_UNPACKED_BYTES / 1e9:.0f} GB: not a benchmark's")
        yield member


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
    fresh = target.with_name(target.name + ".part")
    with open_() as source, fresh.open("wb") as copy:
        shutil.copyfileobj(source, copy, COPIED_BYTES)
    if fresh.stat().st_size != size:
        fresh.unlink()
        raise EOFError(f"{name} is cut off")
    fresh.replace(target)
    return True
