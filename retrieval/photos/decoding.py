"""Photo files on disk: which there are, their bytes, and upright RGB pixels from an opened image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.errors import UserError
from retrieval.photos.metadata import BROKEN_EXIF

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".heic", ".heif", ".hif", ".avif", ".tif", ".tiff", ".gif"}
)
"""Suffixes looked for in folders. A file named by itself is judged by its content."""


class PhotoError(UserError):
    """A file that cannot be used as a photo: one line saying which, why, and what to do."""


class NotAPhotoError(PhotoError):
    """By its content, the file is no image of a format that is read."""


class PhotoTooLargeError(PhotoError):
    """The file has more bytes or more pixels than are accepted."""


def photo_paths(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files in the order given, each once; folders are walked, sorted, keeping visible files with known suffixes.

    A file named by itself is kept whatever it is called, and a folder that cannot be listed stands for itself,
    so that `load_photo` reports what is wrong with it.

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


_WIDE_MODES = ("I", "F")
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")


def upright_rgb(image: Image.Image, long_side_px: int) -> NDArray[np.uint8]:
    """The first frame as uint8 (height, width, 3), EXIF orientation applied, long side at most `long_side_px`.

    Transparency is laid on white; 16-bit grey is scaled to 8 bits.
    """
    image.load()
    _orient(image)
    flat = _to_rgb(image)
    flat.thumbnail((long_side_px, long_side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(flat, dtype=np.uint8)


def _orient(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except BROKEN_EXIF:
        return  # without readable EXIF the orientation is unknown: the rows stay as stored


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(_scaled(np.asarray(image), 0.0, 65535.0)).convert("RGB")
    if image.mode in _WIDE_MODES:
        return _stretched(np.asarray(image, dtype=np.float64))
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _stretched(grey: NDArray[np.float64]) -> Image.Image:
    """32-bit grey has no agreed range: its own least and greatest finite values become black and white."""
    finite = grey[np.isfinite(grey)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    known = np.nan_to_num(grey, nan=low, posinf=high, neginf=low)
    return Image.fromarray(_scaled(known, low, high if high > low else low + 1.0)).convert("RGB")


def _scaled(grey: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    unit = (grey.astype(np.float64) - low) / (high - low)
    return np.round(np.clip(unit, 0.0, 1.0) * 255.0).astype(np.uint8)


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")
