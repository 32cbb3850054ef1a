"""Photos: decoded pixels, with their metadata kept apart.

Files are untrusted: the size in bytes is checked before reading, the number of pixels before decoding, and only the
formats listed here are ever tried.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from retrieval.photos.decoding import (
    NotAPhotoError,
    PhotoError,
    PhotoTooLargeError,
    photo_paths,
    printable,
    read_file,
    silence_libtiff,
    upright_rgb,
)
from retrieval.photos.metadata import BROKEN_EXIF, PhotoMetadata, read_metadata

__all__ = [
    "NotAPhotoError",
    "Photo",
    "PhotoError",
    "PhotoLimits",
    "PhotoMetadata",
    "PhotoTooLargeError",
    "decode_photo",
    "load_photo",
    "photo_paths",
]

_BYTES_A_PIXEL = {"WEBP": 16, "AVIF": 15, "HEIF": 13}
"""What decoding takes at its peak (measured); 5 for all other formats."""
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF")
Edges = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a photo, in fractions of its width and height from the top left."""

MIN_CROP_SIDE_PX = 16

_DECODING = threading.Lock()
"""A photo at its full size may take a gigabyte while it is decoded: one at a time."""

_BROKEN_IMAGE = (*BROKEN_EXIF, MemoryError, RuntimeError, zlib.error, Image.DecompressionBombError)
"""What Pillow's decoders raise on damaged or hostile bytes (found by flipping bytes in every format)."""


def photo_id_of(sha256: str) -> str:
    """The short name, in tool calls, of the photo whose file has this hash (hex)."""
    return f"photo-{sha256[:12]}"


def name_sha256(name: str) -> str:
    """What stands for a file's hash (hex) where only the photo's name is known."""
    return hashlib.sha256(f"photo known by name: {name}".encode()).hexdigest()


@dataclass(frozen=True)
class PhotoLimits:
    """What is accepted and how much of it is kept.

    Attributes:
        max_megapixels: width times height, checked before decoding.
        max_decoded_bytes: memory that decoding may take, by the number of pixels and the format, checked before.
        min_side_px: the short side, before and after scaling; a smaller picture shows too little of a place.
        long_side_px: larger photos are scaled down to it; the file is kept beside (`FullSize`) for a closer look.
    """

    max_bytes: int = 100_000_000
    max_megapixels: float = 120.0
    max_decoded_bytes: float = 1e9
    min_side_px: int = 32
    long_side_px: int = 1600


class FullSize:
    """The file of a photo that was scaled down, to be decoded again where its full size is wanted.

    It gives pixels and nothing else: the metadata in the file stay unread.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        """Bytes that are kept."""
        return len(self._data)

    def rgb(self) -> NDArray[np.uint8]:
        """Every pixel of the file, uint8 (height, width, 3), upright."""
        with _DECODING, _open(self._data, "photo") as image:
            return _decode(image, "photo", max(image.size))[0]


@dataclass(frozen=True)
class Photo:
    """A decoded, oriented, size-limited RGB image.

    Attributes:
        rgb: uint8 array (height, width, 3), upright, long side limited; (0, 0, 3) of a photo that is not here.
        sha256: of the file's bytes, in hex; of a crop, of the photo's hash and the box; of a photo that is not here,
            `name_sha256`.
        name: the file's name, for people and reports; never shown to a model.
        metadata: kept apart; None where the file has none.
        full_size: of a file with more pixels than `rgb`; None where `rgb` has them all.
    """

    rgb: NDArray[np.uint8] = field(repr=False)
    sha256: str
    name: str
    metadata: PhotoMetadata | None = field(default=None, repr=False)
    full_size: FullSize | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """A short name for this photo in tool calls."""
        return photo_id_of(self.sha256)

    @classmethod
    def by_name(cls, name: str) -> Photo:
        """A photo that is not here: no pixels, only a name, by which recorded answers about it are found."""
        return cls(np.zeros((0, 0, 3), np.uint8), name_sha256(name), name)

    @property
    def has_pixels(self) -> bool:
        """Whether the photo is here; a model is shown nothing of one that is not."""
        return bool(self.rgb.size)

    def without_metadata(self) -> Photo:
        """The same pixels without the file's metadata."""
        return replace(self, metadata=None)

    def crop(self, left: float, top: float, right: float, bottom: float, min_side_px: int = MIN_CROP_SIDE_PX) -> Photo:
        """The part between fractions of width and height from the top left, as a photo without metadata.

        Raises:
            PhotoError: an inverted box, or a crop with a side under `min_side_px`.
        """
        rows, columns = _part(self.rgb, (left, top, right, bottom), min_side_px)
        box = f"{self.sha256}:{rows.start}:{rows.stop}:{columns.start}:{columns.stop}"
        pixels = np.ascontiguousarray(self.rgb[rows, columns])
        return Photo(pixels, hashlib.sha256(box.encode()).hexdigest(), self.name)

    def scaled(self, long_side_px: int) -> NDArray[np.uint8]:
        """All of the photo, with a long side of `long_side_px` or more where its file has as many pixels."""
        is_enough = max(self.rgb.shape[:2]) >= long_side_px
        return self.rgb if self.full_size is None or is_enough else self.full_size.rgb()

    def close_ups(self, boxes: Sequence[Edges], min_side_px: int = MIN_CROP_SIDE_PX) -> list[NDArray[np.uint8]]:
        """Parts of the photo as the file has them, not scaled: uint8 arrays (height, width, 3).

        The file is decoded once more, for all boxes together: 0.1 s for 12 megapixels.

        Raises:
            PhotoError: an inverted box, or one with a side under `min_side_px` pixels of the file.
        """
        whole = self.full_size.rgb() if self.full_size else self.rgb
        return [whole[_part(whole, box, min_side_px)].copy() for box in boxes]


def _part(rgb: NDArray[np.uint8], box: Edges, min_side_px: int) -> tuple[slice, slice]:
    """Rows and columns of a box."""
    left, top, right, bottom = box
    if not (0.0 <= left < right <= 1.0 and 0.0 <= top < bottom <= 1.0):
        raise PhotoError(f"box {box}: needs 0 ≤ left < right ≤ 1, 0 ≤ top < bottom ≤ 1")
    rows, columns = _span(top, bottom, rgb.shape[0]), _span(left, right, rgb.shape[1])
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if min(height, width) < min_side_px:
        raise PhotoError(
            f"a box of {width}x{height} px is too small to look at: each side needs at least {min_side_px} px"
        )
    return rows, columns


def _span(start: float, stop: float, length_px: int) -> slice:
    return slice(round(start * length_px), round(stop * length_px))


def load_photo(path: str | os.PathLike[str], *, limits: PhotoLimits = PhotoLimits()) -> Photo:
    """Read and decode one file.

    Raises:
        PhotoError: missing, a folder, not readable, over a limit, or not an image that can be decoded.
    """
    file = Path(path)
    return decode_photo(read_file(file, limits.max_bytes), file.name, limits=limits)


def decode_photo(data: bytes, name: str, *, limits: PhotoLimits = PhotoLimits()) -> Photo:
    """Decode a file's bytes; `name` is for messages and reports.

    Raises:
        PhotoError: empty, over a limit, too small, or not an image that can be decoded.
    """
    shown = printable(name)
    if not data:
        raise PhotoError(f"{shown}: is empty")
    if len(data) > limits.max_bytes:
        raise PhotoTooLargeError(f"{shown}: is larger than the limit of {limits.max_bytes / 1e6:g} MB")
    # What matters about an odd file is raised as PhotoError; Pillow's warnings would repeat it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with _open(data, shown) as image:
        if image.format == "TIFF":
            silence_libtiff()
        _check_size(image.size, shown, limits)
        _check_memory(image, shown, limits)
        is_scaled = max(image.size) > limits.long_side_px
        rgb, metadata = _decode(image, shown, limits.long_side_px)
    full_size = FullSize(data) if is_scaled else None
    return Photo(rgb, hashlib.sha256(data).hexdigest(), shown, metadata, full_size)


def _open(data: bytes, shown: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_formats(data))
    except UnidentifiedImageError as error:
        raise NotAPhotoError(f"{shown}: is not a JPEG, PNG, WebP, HEIC, AVIF, TIFF or GIF image") from error
    except Image.DecompressionBombError as error:
        raise PhotoTooLargeError(f"{shown}: has far too many pixels; scale it down first") from error
    except _BROKEN_IMAGE as error:
        raise PhotoError(f"{shown}: is damaged and cannot be decoded ({_reason(error)})") from error


def _formats(data: bytes) -> tuple[str, ...]:
    """HEIC support costs 50 ms to import, so it is registered when the first ISO media file comes."""
    if data[4:8] != b"ftyp":
        return _FORMATS
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return (*_FORMATS, "HEIF")


def _check_size(size: tuple[int, int], shown: str, limits: PhotoLimits) -> None:
    width, height = size
    megapixels = width * height / 1e6
    if megapixels > limits.max_megapixels:
        raise PhotoTooLargeError(
            f"{shown}: has {width}x{height} pixels ({megapixels:.0f} megapixels); "
            f"the limit is {limits.max_megapixels:g}: scale it down first"
        )
    scaled = min(size) * min(1.0, limits.long_side_px / max(size))
    if scaled < limits.min_side_px:
        raise PhotoError(
            f"{shown}: {width}x{height} pixels are too few to say anything about a place: "
            f"the short side needs at least {limits.min_side_px} (with the long side scaled to {limits.long_side_px})"
        )


def _check_memory(image: Image.Image, shown: str, limits: PhotoLimits) -> None:
    pixels = image.size[0] * image.size[1]
    needed = pixels * _BYTES_A_PIXEL.get(image.format or "", 5)
    if needed > limits.max_decoded_bytes:
        raise PhotoError(
            f"{shown}: {pixels / 1e6:.0f} megapixels of {image.format} take {needed / 1e9:.1f} GB to decode;"
            f" the limit is {limits.max_decoded_bytes / 1e9:g} GB: scale it down first"
        )


def _decode(image: Image.Image, shown: str, long_side_px: int) -> tuple[NDArray[np.uint8], PhotoMetadata | None]:
    try:
        scale = min(1.0, long_side_px / max(image.size))
        # JPEG decodes 2, 4 or 8 times smaller at a fraction of the cost; other formats ignore this.
        image.draft(None, (max(1, int(image.size[0] * scale)), max(1, int(image.size[1] * scale))))
        image.load()
        metadata = read_metadata(image)
        return upright_rgb(image, long_side_px), metadata
    except _BROKEN_IMAGE as error:
        raise PhotoError(f"{shown}: is damaged and cannot be decoded ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    return printable(str(error).splitlines()[0][:120]) if str(error) else type(error).__name__
