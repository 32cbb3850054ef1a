"""JPEGs of pixels: for pages and reports, and for models."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retrieval.photos.photo import Photo

THUMBNAIL_SIDE_PX = 480


def thumbnail_jpeg(photo: Photo, side_px: int = THUMBNAIL_SIDE_PX, quality: int = 80) -> bytes:
    """A JPEG of a photo's pixels, long side at most `side_px`, without metadata.

    Args:
        photo: its decoded pixels are all that is read.
        side_px: of the long side; a smaller photo is not enlarged.
        quality: of the JPEG, 1 to 95.
    """
    return rgb_jpeg(photo.rgb, side_px, quality)


def strip_jpeg(photos: Sequence[Photo], side_px: int = THUMBNAIL_SIDE_PX, quality: int = 80) -> bytes:
    """The same of several photos, side by side and of one height; of one photo its thumbnail."""
    if len(photos) == 1:
        return thumbnail_jpeg(photos[0], side_px, quality)
    pictures = [Image.fromarray(photo.rgb) for photo in photos]
    height = min(side_px, *(picture.height for picture in pictures))
    scaled = [
        np.asarray(picture.resize((max(1, round(picture.width * height / picture.height)), height)))
        for picture in pictures
    ]
    return rgb_jpeg(np.concatenate(scaled, axis=1), side_px * len(photos), quality)


def rgb_jpeg(rgb: NDArray[np.uint8], max_side_px: int, quality: int, min_side_px: int = 0) -> bytes:
    """A JPEG of pixels (height, width, 3), without metadata.

    Args:
        rgb: the pixels.
        max_side_px: a longer long side is scaled down to it.
        quality: of the JPEG, 1 to 95.
        min_side_px: a shorter long side is enlarged to it.
    """
    picture = Image.fromarray(rgb)
    long_side = max(picture.size)
    scale = min(max(long_side, min_side_px), max_side_px) / long_side
    if scale != 1.0:
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
