"""Download one file: resumed after a kill, limited in size, checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx

from core.errors import UserError
from core.json_text import parse_json

ATTEMPTS = 5
SPARE_BYTES = 200_000_000
"""Disk space that stays free."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far, and those of the whole file if the server says."""


class DownloadError(UserError):
    """A file that could not be had, or is not what it should be."""


def https_client(timeout_s: float, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A client that follows redirects, and refuses every address without encryption; `transport` is for tests."""

    def refuse_unencrypted(request: httpx.Request) -> None:
        if request.url.scheme != "https":
            raise DownloadError(f"the address leads to {request.url.host} without encryption: it is not fetched")

    hooks = {"request": [refuse_unencrypted]}
    return httpx.Client(
        timeout=timeout_s, follow_redirects=True, max_redirects=5, event_hooks=hooks, transport=transport
    )


def download(
    url: str,
    target: Path,
    client: httpx.Client,
    progress: Progress | None = None,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    max_bytes: int | None = None,
    pause_s: float = 1.0,
) -> None:
    """Fetch a file, going on where an earlier attempt was cut off if the server still has the same version.

    The bytes lie in `<target>.part` until all are there and the checksum is right.

    Args:
        progress: called after every piece.
        sha256: in hex, where known.
        md5: in hex, where known.
        max_bytes: the most that the file may have.
        pause_s: before the second attempt; doubles with each.

    Raises:
        DownloadError: the server refuses or breaks off too often; the file is too large, there is no room for it, or
            its checksum is wrong.
    """
    partial = _Partial(target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch_patiently(_Source(url, client, max_bytes), partial, progress, pause_s)
        _check(partial, url, sha256=sha256, md5=md5)
        partial.path.replace(target)
        partial.note.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"{partial.path}: {error.strerror}; make room and run the same command") from error


class _Source(NamedTuple):
    """Where a file comes from, and how large it may be."""

    url: str
    client: httpx.Client
    max_bytes: int | None


class _Partial(NamedTuple):
    """A download that was cut off: the bytes that are there, and a note of the version they are of."""

    path: Path
    note: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self, url: str) -> str | None:
        """The validator to send; None where none is known for this address."""
        try:
            noted = parse_json(self.note.read_bytes())
        except (OSError, ValueError):
            return None
        version = noted.get("version") if isinstance(noted, dict) and noted.get("url") == url else None
        return version if isinstance(version, str) else None

    def begin(self, url: str, version: str | None) -> None:
        self.note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _fetch_patiently(source: _Source, partial: _Partial, progress: Progress | None, pause_s: float) -> None:
    for attempt in range(ATTEMPTS):
        try:
            return _fetch(source, partial, progress)
        except httpx.TransportError as error:
            if attempt == ATTEMPTS - 1:
                why = error or type(error).__name__
                raise DownloadError(f"{source.url}: {why}; run the same command to go on") from error
            time.sleep(pause_s * 2**attempt)
        except httpx.HTTPError as error:  # too many redirects, an address that is none
            raise DownloadError(f"{source.url}: {error}; it is not fetched") from error
    return None


def _fetch(source: _Source, partial: _Partial, progress: Progress | None) -> None:
    version, there = partial.version(source.url), partial.size
    resumes = bool(there and version)
    headers = {"Range": f"bytes={there}-", "If-Range": version or ""} if resumes else {}
    # Compressed on the way, a file's ranges would not be the file's.
    with source.client.stream("GET", source.url, headers={**headers, "Accept-Encoding": "identity"}) as reply:
        if reply.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and resumes:
            if _whole_size(reply) == there:
                return
            partial.discard()
            raise httpx.ReadError("the file has changed on the server")
        _refuse(source.url, reply)
        if reply.status_code == httpx.codes.OK:
            partial.begin(source.url, reply.headers.get("ETag") or reply.headers.get("Last-Modified"))
            there = 0
        _receive(source, reply, partial, there, progress)


def _whole_size(reply: httpx.Response) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", reply.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _refuse(url: str, reply: httpx.Response) -> None:
    """Raise unless the reply is the file: `httpx.ReadError` where another attempt may help."""
    answer = f"{reply.status_code} {reply.reason_phrase}"
    if reply.status_code == httpx.codes.TOO_MANY_REQUESTS or reply.is_server_error:
        raise httpx.ReadError(f"the server answers {answer}")
    if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise DownloadError(f"{url}: the server answers {answer}: get access rights there, then put the file by hand")
    if reply.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise DownloadError(f"{url}: the server answers {answer}")
    if reply.headers.get("Content-Type", "").startswith("text/html"):  # file hosts that want a browser
        raise DownloadError(f"{url}: the server sends a web page, not the file: it wants a person with a browser")


def _receive(source: _Source, reply: httpx.Response, partial: _Partial, there: int, progress: Progress | None) -> None:
    length = reply.headers.get("Content-Length")
    total = there + int(length) if length and length.isdigit() else None
    _check_room(source, partial, there, total)
    done = there
    with partial.path.open("ab" if there else "wb", buffering=0) as file:
        # As they come: pieces gathered into larger ones would be lost when the connection breaks.
        for piece in reply.iter_raw():
            done += len(piece)
            if source.max_bytes is not None and done > source.max_bytes:
                raise DownloadError(f"{source.url}: sends more than the {source.max_bytes:,} bytes expected: stopped")
            file.write(piece)
            if progress:
                progress(done, total)
        os.fsync(file.fileno())
    if total is not None and partial.size != total:
        raise httpx.ReadError(f"{partial.size} of {total} bytes came")


def _check_room(source: _Source, partial: _Partial, there: int, total: int | None) -> None:
    size = total or source.max_bytes or 0
    if source.max_bytes is not None and size > source.max_bytes:
        raise DownloadError(
            f"{source.url}: has {size:,} bytes where at most {source.max_bytes:,} were expected: it is not fetched"
        )
    if shutil.disk_usage(partial.path.parent).free < size - there + SPARE_BYTES:
        raise DownloadError(f"{source.url}: has {size:,} bytes, and {partial.path.parent} has not that much space left")


def _check(partial: _Partial, url: str, **expected: str | None) -> None:
    """Compare checksums, by the name of the algorithm; a file of other content is deleted."""
    for name, wanted in expected.items():
        if wanted is None:
            continue
        with partial.path.open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if found != wanted.lower():
            partial.discard()
            raise DownloadError(f"{url}: its {name} is {found}, not {wanted}: damaged on the way, or another file")
