"""Files that callers send: judged by their content, never by name or type, and never written to a path of theirs."""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO

from apps.output.formatting import printable
from apps.service.errors import TooLargeError, UnusableError
from apps.service.limits import ServiceLimits
from retrieval.photos.decoding import PHOTO_SUFFIXES
from retrieval.photos.photo import Photo, PhotoLimits, decode_photo

DECODED_AT_ONCE = 2
"""Photos of a process that are decoded at the same time: one takes up to 150 MB meanwhile."""
_DECODING = threading.BoundedSemaphore(DECODED_AT_ONCE)
_NAME_CHARACTERS = 120
_MOST_ENTRIES = 20
"""Entries of a zip for each photo that is allowed, before it is refused unread."""
_ZIP = b"PK\x03\x04"
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


def shown_name(name: str | None) -> str:
    """A caller's name for a file, as a label: its last part, printable, cut. It is never opened.

    >>> shown_name("../../etc/passwd")
    'passwd'
    """
    last = PurePosixPath((name or "").replace("\\", "/")).name
    return printable(last, _NAME_CHARACTERS) or "photo"


def read_photo(data: bytes, name: str | None, limits: ServiceLimits) -> Photo:
    """The photo in an upload.

    Raises:
        PhotoError: not a photo by its content, damaged, or over a limit.
    """
    photo_limits = PhotoLimits(max_bytes=limits.photo_bytes, max_megapixels=limits.photo_megapixels)
    with _DECODING:
        return decode_photo(data, shown_name(name), limits=photo_limits)


def is_zip(data: IO[bytes]) -> bool:
    """Whether a file begins as a zip does; it is read from its start afterwards."""
    head = data.read(len(_ZIP))
    data.seek(0)
    return head == _ZIP


def photos_in_zip(file: IO[bytes], limits: ServiceLimits) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the photos in a zip, in its order; other files, and hidden ones, are left out.

    Nothing is unpacked to a disk, and sizes are those that come out, whatever the zip says.

    Raises:
        UnusableError: damaged, encrypted, or without photos.
        TooLargeError: more, or larger, files than are accepted.
    """
    left, count = limits.job_bytes, 0
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > limits.job_photos * _MOST_ENTRIES:
                raise TooLargeError(f"the zip lists {len(entries)} files; send it in parts")
            for entry in entries:
                if not _is_photo(entry):
                    continue
                data = _content(archive, entry, min(limits.photo_bytes, left))
                left, count = left - len(data), count + 1
                yield printable(entry.filename, _NAME_CHARACTERS), data
    except _BROKEN_ZIP as error:
        raise UnusableError(f"the zip cannot be read ({printable(str(error), 80)}); pack it again") from error
    if not count:
        raise UnusableError(f"the zip holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")


def _is_photo(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename)
    is_hidden = path.name.startswith(".") or "__MACOSX" in path.parts
    return not entry.is_dir() and not is_hidden and path.suffix.lower() in PHOTO_SUFFIXES


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(entry) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise TooLargeError(f"{printable(entry.filename, 40)}: unpacks to more than is accepted; scale it down")
    return data
