"""Any image Pillow can decode, as upright 8-bit RGB of a limited size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from retrieval.photos.metadata import BROKEN_EXIF

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
        return  # unreadable EXIF says nothing about orientation: the stored rows are all there is


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
