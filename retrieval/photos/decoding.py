"""Photo files on disk: which there are, and their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from core.errors import UserError

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".heic", ".heif", ".hif", ".avif", ".tif", ".tiff", ".gif"}
)
"""Suffixes looked for in folders. A file named by itself is judged by its content."""


class PhotoError(UserError):
    """A file that cannot be used as a photo: one line saying which, why, and what to do."""


def photo_paths(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files in the order given, each once; folders are walked, sorted, keeping visible files with known suffixes.

    A file named by itself is kept whatever it is called, and a folder that cannot be listed stands for itself,
    so that `load_photo` says what is wrong with it.

    Raises:
        PhotoError: a folder without photos.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        found.update(dict.fromkeys(_walk(path) if path.is_dir() else [path]))
    return list(found)


def _walk(folder: Path) -> list[Path]:
    unlisted: list[Path] = []
    files = [
        Path(root) / name
        for root, _, names in os.walk(folder, onerror=lambda error: unlisted.append(Path(error.filename)))
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES
    ]
    if not files and not unlisted:
        raise PhotoError(f"{printable(str(folder))}: no photos here ({', '.join(sorted(PHOTO_SUFFIXES))})")
    return sorted([*files, *unlisted])


def read_file(file: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file; raises PhotoError where it cannot be read or is larger than `max_bytes`."""
    shown = printable(str(file))
    try:
        if file.is_dir():
            raise PhotoError(f"{shown}: is a folder, not a photo")
        if file.exists() and not file.is_file():
            raise PhotoError(f"{shown}: is not a regular file")
        with file.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise PhotoError(f"{shown}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a null byte in the path
        raise PhotoError(f"{shown}: is not a usable path: {error}") from error
    if len(data) > max_bytes:
        raise PhotoError(f"{shown}: is larger than the limit of {max_bytes / 1e6:g} MB")
    return data


def printable(text: str) -> str:
    """Text safe for one line of a terminal: control characters and undecodable bytes become U+FFFD."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
