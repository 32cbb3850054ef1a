"""A photo with its answer: what every renderer draws."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from PIL import Image

from agents.schemas import Answer
from retrieval.photos.photo import Photo

THUMBNAIL_SIDE_PX = 480


@dataclass(frozen=True)
class LocatedPhoto:
    """An answer, the photo's name as the user knows it, and a picture of it if one is to be shown.

    `thumbnail_jpeg` is made from decoded pixels: it carries no metadata of the file.
    """

    name: str
    answer: Answer
    thumbnail_jpeg: bytes | None = field(default=None, repr=False)


def thumbnail_jpeg(photo: Photo, side_px: int = THUMBNAIL_SIDE_PX, quality: int = 80) -> bytes:
    """A small JPEG of a photo's pixels, long side at most `side_px`, without metadata."""
    picture = Image.fromarray(photo.rgb)
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
