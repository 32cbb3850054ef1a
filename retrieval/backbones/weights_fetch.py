"""Fetching weights over HTTPS: resumed where it was cut off, never larger than announced, kept only if it is right."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from core.errors import UserError
from retrieval.backbones.weights import SHA256_PATTERN, WeightFile, cached_path, find_weights, sha256_of

Progress = Callable[[int, int], None]

ROOM = 1.25
"""How much larger than expected a file may be whose size is only roughly known."""

TIMEOUT_S = 30.0
REDIRECTS = 5
CHUNK_BYTES = 1 << 20
SPARE_BYTES = 200_000_000
"""Disk space that stays free."""


def fetch(file: WeightFile, place: Path, progress: Progress | None = None, client: httpx.Client | None = None) -> Path:
    """Download a file to `place`, going on from what an interrupted run left.

    Args:
        file: what, from where, and its SHA-256.
        place: where it shall lie; its folder is made.
        progress: called with (bytes here, bytes in all).
        client: for tests; it must not follow redirects by itself.

    Raises:
        UserError: not reachable, refused, larger than it may be, no space left, or of other content.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    with client or httpx.Client(timeout=TIMEOUT_S) as opened:
        try:
            _download(opened, file, part, progress)
        except httpx.HTTPError as error:
            raise UserError(f"cannot fetch {file.url} ({error}): run the same command again to go on") from error
        except OSError as error:
            raise UserError(f"cannot write {part} ({error.strerror}): free some space, then run it again") from error
    if sha256_of(part) != file.sha256:
        part.unlink()
        raise UserError(f"{file.url} is not the file it should be (its SHA-256 differs): it was deleted; try again")
    os.replace(part, place)
    return place


def _download(client: httpx.Client, file: WeightFile, part: Path, progress: Progress | None) -> None:
    start = part.stat().st_size if part.is_file() else 0
    if start and file.size_is_exact and start == file.size_bytes:
        return
    with _opened(client, file, start) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # it is all here already; the checksum decides
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            start = 0  # the server does not resume: from the beginning
        total = _total_bytes(response, file, start)
        if shutil.disk_usage(part.parent).free < total - start + SPARE_BYTES:
            raise UserError(f"{file.name} needs {file.size}, and {part.parent} has not that much space left")
        _write(response, part, start, total, progress)


@contextmanager
def _opened(client: httpx.Client, file: WeightFile, start: int) -> Iterator[httpx.Response]:
    """The response, after redirects that stay on HTTPS."""
    url = httpx.URL(file.url)
    for _ in range(REDIRECTS):
        with client.stream("GET", url, headers={"Range": f"bytes={start}-"} if start else {}) as response:
            if not response.is_redirect:
                _refuse_errors(response, file)
                yield response
                return
            url = url.join(response.headers["location"])
            if url.scheme != "https":
                raise UserError(f"{file.url} leads to {url.host} without encryption: it is not fetched")
    raise UserError(f"{file.url} redirects more than {REDIRECTS} times: it is not fetched")


def _refuse_errors(response: httpx.Response, file: WeightFile) -> None:
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE or not response.is_error:
        return
    host = urlsplit(file.url).netloc
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise UserError(f"{host} asks for access rights to {file.name}: get them there, then put the file by hand")
    raise UserError(f"{host} answers {response.status_code} for {file.url}: try later, or put the file by hand")


def _total_bytes(response: httpx.Response, file: WeightFile, start: int) -> int:
    announced = response.headers.get("content-length")
    total = start + int(announced) if announced else file.size_bytes
    limit = file.size_bytes if file.size_is_exact else int(file.size_bytes * ROOM)
    if total > limit:
        raise UserError(f"{file.url} is {total:,} bytes where {limit:,} were expected: it is not fetched")
    return total if announced else limit


def _write(response: httpx.Response, part: Path, start: int, total: int, progress: Progress | None) -> None:
    done = start
    with part.open("ab" if start else "wb") as file:
        for chunk in response.iter_bytes(CHUNK_BYTES):
            done += len(chunk)
            if done > total:
                raise UserError(f"{response.url.host} sends more than the {total:,} bytes it announced: stopped")
            file.write(chunk)
            if progress:
                progress(done, total)


def _list(files: dict[str, WeightFile]) -> None:
    for name, file in files.items():
        try:
            state = str(find_weights(file, name))
        except UserError:
            state = "not here"
        sys.stdout.write(f"{name:20} {file.size:>8}  {file.licence:40} {state}\n")


def _fetch_with_bar(file: WeightFile, name: str, place: Path) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    with Progress(
        "{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    ) as bars:
        bar = bars.add_task(name, total=file.size_bytes)
        fetch(file, place, lambda done, total: bars.update(bar, completed=done, total=total))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.backbones.weights", description="List or fetch pretrained weights"
    )
    parser.add_argument("name", nargs="?", help="what to fetch; without it, list everything")
    parser.add_argument("--folder", type=Path, help="put it here instead of the cache")
    parser.add_argument("--url", help="fetch from this mirror instead (https)")
    parser.add_argument("--sha256", help="of what the mirror holds, if it is another version")
    return parser.parse_args()


def _chosen(files: dict[str, WeightFile], arguments: argparse.Namespace) -> WeightFile:
    import re

    file = files.get(arguments.name)
    if file is None:
        raise UserError(f"no weights named {arguments.name!r}: use one of {', '.join(files)}")
    if arguments.url and not arguments.url.startswith("https://"):
        raise UserError(f"{arguments.url} is not an https address: weights come over https only")
    if arguments.sha256 and not re.fullmatch(SHA256_PATTERN, arguments.sha256):
        raise UserError("--sha256 must be 64 hex digits in lower case")
    changes: dict[str, object] = {"url": arguments.url} if arguments.url else {}
    if arguments.sha256 and arguments.sha256 != file.sha256:
        changes |= {"sha256": arguments.sha256, "size_is_exact": False}
    return file.model_copy(update=changes)


def main() -> None:
    """Run from the command line."""
    from retrieval.backbones.weight_files import WEIGHT_FILES

    arguments, files = _arguments(), dict(WEIGHT_FILES)
    try:
        if arguments.name is None:
            return _list(files)
        file = _chosen(files, arguments)
        place = arguments.folder / file.name if arguments.folder else cached_path(files[arguments.name])
        _fetch_with_bar(file, arguments.name, place)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"{arguments.name} is at {place}\n")
    return None
