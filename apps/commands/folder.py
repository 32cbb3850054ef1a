"""Many photos, one after another: each is decoded ahead and located; an unusable one becomes a failed record."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agents.schemas import Answer
from apps.output.results_file import PhotoResult
from core.files import sha256_if_readable
from retrieval.photos.photo import Photo, PhotoError, load_photo

AHEAD = 8
"""Photos decoded and not yet located: a photo is at most 8 MB of pixels."""

Locate = Callable[[Photo], Answer]


@dataclass(frozen=True)
class PhotoFile:
    """A photo of a run: its file, and its path relative to the run's folder."""

    path: Path
    name: str


@dataclass(frozen=True)
class _Decoded:
    file: PhotoFile
    photo: Photo | None
    sha256: str | None = None
    error: str | None = None


def photo_files(paths: Sequence[Path], arguments: Sequence[Path]) -> list[PhotoFile]:
    """Files with names relative to what the command line named: a folder itself, or the deepest folder of all."""
    base = Path(os.path.commonpath([_folder(argument) for argument in arguments]))
    return [PhotoFile(path, Path(os.path.relpath(path, base)).as_posix()) for path in paths]


def _folder(argument: Path) -> str:
    return os.path.abspath(argument if argument.is_dir() else argument.parent)


def run_folder(files: Sequence[PhotoFile], locate: Locate) -> Generator[PhotoResult, None, None]:
    """The record of each file, in order.

    Files that cannot be used become failed records. Anything else that goes wrong ends the run: what was
    yielded before stays good.
    """
    for decoded in _decoded_ahead(files):
        if decoded.photo is None:
            yield PhotoResult.of_failure(decoded.file.name, decoded.sha256, decoded.error or "cannot be used")
        else:
            yield PhotoResult.of_answer(decoded.file.name, locate(decoded.photo))


def _decoded_ahead(files: Sequence[PhotoFile]) -> Iterator[_Decoded]:
    """Decode in a thread while the caller locates: Pillow releases the interpreter's lock while it decodes."""
    waiting: deque[Future[_Decoded]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode") as pool:
        try:
            for file in files:
                waiting.append(pool.submit(_decode, file))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _decode(file: PhotoFile) -> _Decoded:
    try:
        return _Decoded(file, load_photo(file.path))
    except PhotoError as error:
        return _Decoded(file, None, sha256_if_readable(file.path), str(error))
