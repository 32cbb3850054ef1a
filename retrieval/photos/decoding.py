"""Photo files on disk: which there are, their bytes, and upright RGB pixels from an opened image."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ctypes.util import find_library
from functools import cache
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import ExifTags, Image

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


@cache
def silence_libtiff() -> None:
    """Keep libtiff's own lines about damaged files off standard error; the decoder's error says the same.

    Its copy in Pillow's wheel, or the system's where Pillow was built with that.
    """
    package = Path(PIL.__file__).parent
    bundled = [*package.parent.glob("pillow.libs/libtiff*"), *package.glob(".dylibs/libtiff*")]
    for library in map(str, bundled) if bundled else filter(None, [find_library("tiff")]):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(library).TIFFSetErrorHandler(None)


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
_STRIP_PX = 4_000_000
"""Pixels that are converted at a time: 16 MB and a few copies, whatever the size of the photo."""
_REDUCING_GAP = 2.0
"""A photo is averaged over whole boxes of pixels down to this many times the wanted size, then resampled."""
_MIRRORS = {1: "", 2: "x", 3: "xy", 4: "y", 5: "t", 6: "tx", 7: "txy", 8: "ty"}
"""By EXIF orientation: whether the rows as stored are transposed, then mirrored left to right (x), upside down (y)."""


def upright_rgb(image: Image.Image, long_side_px: int) -> NDArray[np.uint8]:
    """The first frame as uint8 (height, width, 3), EXIF orientation applied, long side at most `long_side_px`.

    Transparency is laid on white; 16-bit grey is scaled to 8 bits. Beside the decoded image (4 bytes a pixel at most)
    this takes 3 bytes a pixel of what comes out.
    """
    image.load()
    boxes = max(1, int(max(image.size) / long_side_px / _REDUCING_GAP))
    upright = _mirrored(_box_averages(image, boxes), _orientation(image))
    if max(upright.shape[:2]) <= long_side_px:
        return np.ascontiguousarray(upright)
    flat = Image.fromarray(np.ascontiguousarray(upright))
    flat.thumbnail((long_side_px, long_side_px), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    return np.asarray(flat, dtype=np.uint8)


def _box_averages(image: Image.Image, side_px: int) -> NDArray[np.uint8]:
    """RGB averages over boxes of so many pixels a side, strip by strip, as stored."""
    width, height = image.size
    grey = _grey_range(image) if image.mode in _WIDE_MODES else (0.0, 65535.0)
    pixels = np.empty((-(-height // side_px), -(-width // side_px), 3), np.uint8)
    for top, strip in _strips(image, side_px):
        rgb = _to_rgb(strip, grey)
        rows = np.asarray(rgb.reduce(side_px) if side_px > 1 else rgb)
        pixels[top // side_px : top // side_px + len(rows)] = rows
    return pixels


def _strips(image: Image.Image, rows_multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Parts of all columns, each with its first row; their rows are a multiple of a number, but for the last."""
    width, height = image.size
    rows = max(1, _STRIP_PX // (width * rows_multiple)) * rows_multiple
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (*BROKEN_EXIF, TypeError, ValueError):
        return 1  # without readable EXIF the orientation is unknown: the rows stay as stored


def _mirrored(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    mirrors = _MIRRORS.get(orientation, "")
    turned = pixels.swapaxes(0, 1) if "t" in mirrors else pixels
    return turned[:: -1 if "y" in mirrors else 1, :: -1 if "x" in mirrors else 1]


def _to_rgb(image: Image.Image, grey: tuple[float, float]) -> Image.Image:
    """In RGB; `grey` is black and white of modes with more than 8 bits."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(_scaled(np.asarray(image), 0.0, 65535.0)).convert("RGB")
    if image.mode in _WIDE_MODES:
        low, high = grey
        known = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=low, posinf=high, neginf=low)
        return Image.fromarray(_scaled(known, low, high)).convert("RGB")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _grey_range(image: Image.Image) -> tuple[float, float]:
    """32-bit grey has no agreed range: its own least and greatest finite values become black and white."""
    strips = (np.asarray(strip, dtype=np.float64) for _, strip in _strips(image))
    finite = (strip[np.isfinite(strip)] for strip in strips)
    ends = [(float(values.min()), float(values.max())) for values in finite if values.size]
    if not ends:
        return 0.0, 1.0
    low, high = min(least for least, _ in ends), max(most for _, most in ends)
    return low, high if high > low else low + 1.0


def _scaled(grey: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    unit = (grey.astype(np.float64) - low) / (high - low)
    return np.round(np.clip(unit, 0.0, 1.0) * 255.0).astype(np.uint8)


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")
