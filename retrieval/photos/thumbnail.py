"""Small JPEGs of photos, for pages and reports."""

from __future__ import annotations

import io

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
    picture = Image.fromarray(photo.rgb)
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
