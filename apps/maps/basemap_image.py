"""The picture under a map: NASA's Blue Marble, on closer maps with the shading of a relief map."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from apps.maps.viewport import Window
from geo.basemap import WorldRaster, blue_marble, shaded_relief

ATTRIBUTION = "NASA Blue Marble · relief: Tom Patterson"
_BRIGHTNESS = 1.12
_BEYOND_POLE = (5, 10, 24)
_RELIEF_STRENGTH = 0.55
_RELIEF_LIMIT = 45.0
_RELIEF_BLUR_DEG = 0.6

Rgb = NDArray[np.uint8]


def world_picture(size_px: tuple[int, int]) -> Image.Image:
    """The whole world, without relief."""
    return _brighter(Image.fromarray(_pixels(blue_marble())).resize(size_px, Image.Resampling.LANCZOS))


def window_picture(window: Window, size_px: tuple[int, int]) -> Image.Image:
    """A window with its hills shaded; dark beyond the poles."""
    ground = np.asarray(_cut(blue_marble(), window, size_px), dtype=np.float32)
    hills = _hills(np.asarray(_cut(shaded_relief(), window, size_px)), size_px[1] / window.height_deg)
    return _brighter(Image.fromarray(np.clip(ground + hills[..., None], 0, 255).astype(np.uint8)))


def _hills(relief: Rgb, px_per_deg: float) -> NDArray[np.float32]:
    """Brightness that the relief adds to land, (height, width): its shading without its colours.

    The local mean is taken over land only: the relief's pale sea would brighten the coasts.
    """
    land = (relief[..., 2].astype(np.int16) - relief[..., 0] < 8).astype(np.float32)
    shade = relief.mean(axis=2, dtype=np.float32)
    radius_px = _RELIEF_BLUR_DEG * px_per_deg
    local_mean = _blurred(shade * land, radius_px) / np.maximum(_blurred(land * 255.0, radius_px) / 255.0, 0.02)
    hills = np.clip((shade - local_mean) * land, -_RELIEF_LIMIT, _RELIEF_LIMIT)
    return np.asarray(hills * _RELIEF_STRENGTH, dtype=np.float32)


def _blurred(values: NDArray[np.float32], radius_px: float) -> NDArray[np.float32]:
    picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.BoxBlur(radius_px)), dtype=np.float32)


@functools.cache
def _pixels(raster: WorldRaster) -> Rgb:
    return np.asarray(Image.open(raster.path).convert("RGB"))


def _cut(raster: WorldRaster, window: Window, size_px: tuple[int, int]) -> Image.Image:
    """The window's part of a raster, resampled to a size in pixels."""
    scale = raster.height / 180.0
    left, top = (window.west + 180.0) * scale, (90.0 - window.north) * scale
    across, down = window.width_deg * scale, window.height_deg * scale
    # Two pixels of margin, so that the resampling filter sees its neighbours at the edge.
    first_column, first_row = int(np.floor(left)) - 2, int(np.floor(top)) - 2
    columns = np.arange(first_column, int(left + across) + 3) % raster.width
    rows = np.arange(first_row, int(top + down) + 3)
    patch = _pixels(raster)[np.clip(rows, 0, raster.height - 1)].take(columns, axis=1)
    patch[(rows < 0) | (rows >= raster.height)] = _BEYOND_POLE
    x, y = left - first_column, top - first_row
    return Image.fromarray(patch).resize(size_px, Image.Resampling.BICUBIC, box=(x, y, x + across, y + down))


def _brighter(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(_BRIGHTNESS)
