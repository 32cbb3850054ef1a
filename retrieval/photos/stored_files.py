"""Where the bytes of a photo are: in a file, in a tar, or at an address that fsspec reads (https://, s3://, ...)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from core.deadline import BackgroundIterator
from core.errors import UserError
from core.redaction import redacted
from retrieval.photos.decoding import PhotoError, PhotoTooLargeError, printable, read_file
from retrieval.photos.photo import Photo, PhotoLimits, decode_photo

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

REMOTE_EXTRA = "pip install 'geosleuth[remote]'"
MAX_SECONDS = 60.0
"""For one photo of a web server; file systems of other kinds have limits of their own."""
ATTEMPTS = 3
AT_ONCE = 16
"""Addresses that are read at once. This and the limits above are set by hand."""

_PIECE_BYTES = 1 << 20
_WEB = ("http", "https")
_MAY_PASS = (401, 403, 408, 425, 429)
"""Answers that keys or another attempt may change."""


class UnreachablePhotoError(PhotoError):
    """A photo that another attempt may reach: the server is down or refuses access."""


class TarMember(NamedTuple):
    """A file in an uncompressed tar: its name there, its first byte in the tar, its size in bytes."""

    tar: Path
    name: str
    offset: int
    size: int


class RemoteFile(NamedTuple):
    """A file at an address."""

    address: str


StoredFile = Path | TarMember | RemoteFile


def is_address(text: str) -> bool:
    """Whether a text is an address and no path.

    >>> is_address("s3://bucket/photos"), is_address("photos/a.jpg")
    (True, False)
    """
    return "://" in text


def read_stored(file: StoredFile, max_bytes: int = PhotoLimits.max_bytes) -> bytes:
    """The bytes of a photo.

    Raises:
        PhotoError: it is not there, cannot be read, or has more bytes.
        UnreachablePhotoError: another attempt may reach it.
        UserError: what reads such addresses is not installed.
    """
    if isinstance(file, Path):
        return read_file(file, max_bytes)
    if isinstance(file, TarMember):
        return _read_member(file, max_bytes)
    return _read_address(file.address, max_bytes)


def read_files(files: Sequence[StoredFile]) -> Iterator[bytes | PhotoError]:
    """The bytes of photos, or why there are none, in order; those at addresses are read at the same time."""
    if not any(isinstance(file, RemoteFile) for file in files):
        yield from map(_read_or_error, files)
        return

    def read_all(send: Callable[[bytes | PhotoError], None]) -> None:
        with ThreadPoolExecutor(min(AT_ONCE, len(files)), thread_name_prefix="fetch") as pool:
            for read in pool.map(_read_or_error, files):
                send(read)

    # An interrupt need not wait for servers.
    yield from BackgroundIterator(read_all, "fetch")


def _read_or_error(file: StoredFile) -> bytes | PhotoError:
    try:
        return read_stored(file)
    except PhotoError as error:
        return error


def decode_stored(file: StoredFile, data: bytes) -> Photo:
    """The photo that was read there.

    Raises:
        PhotoError: it cannot be decoded.
    """
    return decode_photo(data, shown_name(file))


def stored_sha256(file: StoredFile) -> str | None:
    """The digest (hex) of a photo's bytes; None where it cannot be read."""
    read = _read_or_error(file)
    return hashlib.sha256(read).hexdigest() if isinstance(read, bytes) else None


def shown_name(file: StoredFile) -> str:
    """The name of a file or of a tar's member, an address without credentials: for messages."""
    if isinstance(file, RemoteFile):
        return printable(redacted(file.address))
    return printable(file.name)


def _read_member(member: TarMember, max_bytes: int) -> bytes:
    if member.size > max_bytes:
        raise _too_large(member, max_bytes)
    try:
        with member.tar.open("rb") as stream:
            stream.seek(member.offset)
            data = stream.read(member.size)
    except OSError as error:
        raise PhotoError(f"{printable(str(member.tar))}: cannot be read: {error.strerror}") from error
    if len(data) < member.size:
        raise PhotoError(f"{printable(str(member.tar))}: is shorter than it was: get it again")
    return data


def _read_address(address: str, max_bytes: int) -> bytes:
    attempts = Retrying(
        retry=retry_if_exception_type(UnreachablePhotoError),
        wait=wait_exponential_jitter(initial=0.5, max=5.0, jitter=0.5),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
    return attempts(_read_once, RemoteFile(address), max_bytes)


def _read_once(file: RemoteFile, max_bytes: int) -> bytes:
    shown, scheme = shown_name(file), _scheme(file.address)
    try:
        with _file_system(scheme).open(file.address, "rb", **_opening(scheme)) as stream:
            data = _read_up_to(stream, max_bytes + 1)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise PhotoError(f"{shown}: is not there") from error
    except Exception as error:  # not swallowed: a file system of any kind raises errors of its own
        raise UnreachablePhotoError(f"{shown}: cannot be read: {_reason(error)}") from error
    if len(data) > max_bytes:
        raise _too_large(file, max_bytes)
    return data


def _too_large(file: StoredFile, max_bytes: int) -> PhotoTooLargeError:
    return PhotoTooLargeError(f"{shown_name(file)}: is larger than the limit of {max_bytes / 1e6:g} MB")


def _read_up_to(stream: IO[bytes], size: int) -> bytes:
    """A stream of the web gives what has come, which may be less than was asked for."""
    pieces, left = [], size
    while left and (piece := stream.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _opening(scheme: str) -> Mapping[str, int]:
    """Of the web, stream what comes in one request: a size that is known needs none to ask for it."""
    return {"block_size": 0, "size": 1} if scheme in _WEB else {}


def _reason(error: Exception) -> str:
    first, *_ = redacted(str(error)).strip().splitlines() or [""]
    return printable(f"{type(error).__name__} ({first[:120]})" if first else type(error).__name__)


def names_below(address: str) -> list[str]:
    """The files below an address, sorted, with paths from there.

    Raises:
        UserError: they cannot be listed.
    """
    scheme, shown = _scheme(address), printable(redacted(address))
    if scheme in _WEB:
        raise UserError(f"{shown} cannot be listed: give a table of what is there")
    system = _file_system(scheme)
    try:
        root = str(system._strip_protocol(address)).rstrip("/")
        found = system.find(address)
    except Exception as error:  # not swallowed: a file system of any kind raises errors of its own
        raise UserError(f"{shown} cannot be listed: {_reason(error)}") from error
    if not found:
        raise UserError(f"there is nothing below {shown}: check the address and the keys")
    return sorted(str(path).removeprefix(root).lstrip("/") for path in found)


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower()


@cache
def _file_system(scheme: str) -> AbstractFileSystem:
    """What reads such addresses; its options are those of fsspec's variables (`FSSPEC_S3_...`).

    Raises:
        UserError: it is not installed, there is none, or it cannot be used as it is set up.
    """
    try:
        import fsspec

        options = _web_options() if scheme in _WEB else {}
        return fsspec.filesystem(scheme, **options)
    except ImportError as error:
        raise UserError(
            f"photos at {scheme}:// are read by fsspec ({_reason(error)}): {REMOTE_EXTRA}, or the package that it names"
        ) from error
    except Exception as error:  # not swallowed: credentials that are missing or no address, in any library's words
        raise UserError(f"photos at {scheme}:// cannot be read: {_reason(error)}") from error


def _web_options() -> dict[str, Any]:
    """No redirects, which lead elsewhere or to a picture that stands for a lost one, and no compressed bodies."""
    import aiohttp

    logging.getLogger("fsspec").setLevel(logging.WARNING)  # lines of less have whole addresses
    return {
        "allow_redirects": False,
        "headers": {"Accept-Encoding": "identity", "User-Agent": f"GeoSleuth/{version('geosleuth')}"},
        "client_kwargs": {
            "timeout": aiohttp.ClientTimeout(total=MAX_SECONDS),
            "auto_decompress": False,
            "raise_for_status": _check_status,
        },
    }


async def _check_status(response: Any) -> None:
    """Raise unless the reply is the file."""
    status = response.status
    if status in (404, 410):
        raise FileNotFoundError(status)
    shown = printable(redacted(str(response.url)))
    if 300 <= status < 400:
        raise PhotoError(f"{shown}: has moved, which is not followed")
    if 400 <= status < 500 and status not in _MAY_PASS:
        raise PhotoError(f"{shown}: the server answers {status}")
    response.raise_for_status()
