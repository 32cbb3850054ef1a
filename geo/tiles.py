"""Tile maths: where a position lies in a tree of XYZ tiles in Web Mercator (EPSG:3857).

Global pixels are fractional (x, y) with (0, 0) at the north-west corner of tile (0, 0) and 256 pixels
to a tile, so that a picture can be cut anywhere. (The `mercantile` package knows whole tiles only; the tests
hold this module to it.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geo.point import Point
from geo.sphere import HALF_CIRCUMFERENCE_KM, Floats, wrap_longitudes_deg

TILE_PX = 256
_DECIMALS = 6
"""Of a tile, to which edges of areas are rounded: those of tiles, in degrees and back, are whole again. By hand."""
MAX_LATITUDE_DEG = float(np.degrees(np.arctan(np.sinh(np.pi))))
"""The map is a square: it ends at 85.0511° north and south."""


class Tile(NamedTuple):
    """A tile of an XYZ tree: y counts from the north."""

    zoom: int
    x: int
    y: int


class TileBounds(NamedTuple):
    """An area between two parallels and two meridians, in degrees; west > east: it crosses the antimeridian."""

    south: float
    west: float
    north: float
    east: float

    def holds(self, lat_lon_deg: ArrayLike) -> NDArray[np.bool_]:
        """Which of some positions of shape (..., 2) lie in it or on its edge, of shape (...).

        >>> TileBounds(-20.0, 170.0, 0.0, -170.0).holds([(-17.0, 179.0), (-17.0, 169.0)]).tolist()
        [True, False]
        """
        lat, lon = np.moveaxis(np.asarray(lat_lon_deg, dtype=np.float64), -1, 0)
        is_between = (lon - self.west) % 360.0 <= self.width_deg
        return np.asarray((lat >= self.south) & (lat <= self.north) & is_between)

    def contains(self, point: Point) -> bool:
        """Whether a point lies in it or on its edge."""
        return bool(self.holds((point.lat, point.lon)))

    @property
    def width_deg(self) -> float:
        """From west to east, at most 360."""
        return 360.0 if self.east - self.west >= 360.0 else (self.east - self.west) % 360.0

    @property
    def centre(self) -> Point:
        """Halfway between its edges."""
        return Point(lat=(self.south + self.north) / 2.0, lon=self.west + self.width_deg / 2.0)


class PlacedTile(NamedTuple):
    """A tile, and the pixel of a picture its top left corner belongs at (may be negative)."""

    tile: Tile
    left_px: int
    top_px: int


def map_width_px(zoom: int) -> int:
    """Width and height of the whole map in pixels at a zoom level.

    >>> map_width_px(0), map_width_px(3)
    (256, 2048)

    Raises:
        ValueError: a negative zoom.
    """
    if zoom < 0:
        raise ValueError(f"zoom must be 0 or more, not {zoom}")
    return TILE_PX << zoom


def pixels(lat_lon_deg: ArrayLike, zoom: int) -> Floats:
    """Positions of shape (..., 2) as global pixels (x, y) of shape (..., 2).

    x is in [0, map width); y is in [0, map width], where latitudes beyond 85.0511° are held at the edge.

    >>> pixels([(0.0, 0.0), (90.0, -180.0)], zoom=1).tolist()
    [[256.0, 256.0], [0.0, 0.0]]
    """
    lat, lon = np.moveaxis(np.asarray(lat_lon_deg, dtype=np.float64), -1, 0)
    lat_rad = np.radians(np.clip(lat, -MAX_LATITUDE_DEG, MAX_LATITUDE_DEG))
    x = (wrap_longitudes_deg(lon) + 180.0) / 360.0
    y = np.clip(0.5 - np.arctanh(np.sin(lat_rad)) / (2.0 * np.pi), 0.0, 1.0)
    return np.stack([x, y], axis=-1) * map_width_px(zoom)


def km_per_pixel(lat_deg: float, zoom: int) -> float:
    """Length on the ground of one map pixel at a latitude, in km, in any direction.

    >>> round(km_per_pixel(0.0, 0), 1), round(km_per_pixel(60.0, 0), 1)  # a circumference of 40,030 km over 256 pixels
    (156.4, 78.2)
    """
    return 2.0 * HALF_CIRCUMFERENCE_KM * float(np.cos(np.radians(lat_deg))) / map_width_px(zoom)


def covering_tiles(centre: Point, zoom: int, size_px: int) -> list[PlacedTile]:
    """The tiles of a square picture of `size_px` pixels around a point, row by row.

    Columns wrap across the antimeridian (at low zooms a tile may come twice); rows end where the map ends.

    >>> placed = covering_tiles(Point(lat=0.0, lon=-90.0), zoom=1, size_px=256)
    >>> [(tile.x, tile.y, left_px, top_px) for tile, left_px, top_px in placed]
    [(0, 0, 0, -128), (0, 1, 0, 128)]
    """
    left, top = np.floor(pixels((centre.lat, centre.lon), zoom) - size_px / 2.0).astype(int)
    columns = range(left // TILE_PX, -(-(left + size_px) // TILE_PX))
    rows = range(max(0, top // TILE_PX), min(1 << zoom, -(-(top + size_px) // TILE_PX)))
    return [
        PlacedTile(Tile(zoom, int(x % (1 << zoom)), int(y)), int(x * TILE_PX - left), int(y * TILE_PX - top))
        for y in rows
        for x in columns
    ]


def tile_bounds(tile: Tile) -> TileBounds:
    """What a tile covers, in degrees.

    >>> tile_bounds(Tile(1, 1, 0)).east
    180.0
    """
    corner, opposite = _lat_lon(*tile), _lat_lon(tile.zoom, tile.x + 1, tile.y + 1)
    return TileBounds(opposite[0], corner[1], corner[0], opposite[1])


def _lat_lon(zoom: int, x: float, y: float) -> tuple[float, float]:
    """The position, in degrees, at fractional tile coordinates: (x, y) is a tile's north-west corner."""
    lat_rad = math.atan(math.sinh(math.pi * (1.0 - 2.0 * y / (1 << zoom))))
    return math.degrees(lat_rad), x / (1 << zoom) * 360.0 - 180.0


def tiles_in(area: TileBounds, zoom: int) -> Iterator[Tile]:
    """The tiles that share ground with an area, row by row from the north-west.

    >>> list(tiles_in(TileBounds(-10.0, -10.0, 10.0, 10.0), 1))[-1]
    Tile(zoom=1, x=1, y=1)
    """
    if area.south >= MAX_LATITUDE_DEG or area.north <= -MAX_LATITUDE_DEG:
        return
    count = 1 << zoom
    corners = pixels([(area.north, area.west), (area.south, area.east)], zoom) / TILE_PX
    (left, top), (right, bottom) = np.round(corners, _DECIMALS)
    first, width = int(left), (right - left) % count
    if area.width_deg >= 360.0 or (width == 0.0 and area.width_deg > 180.0):
        first, width = 0, float(count)
    last = max(first, math.ceil(round(left + width, _DECIMALS)) - 1)
    for y in range(min(int(top), count - 1), max(int(top) + 1, math.ceil(bottom))):
        for x in range(first, min(last + 1, first + count)):
            yield Tile(zoom, x % count, min(y, count - 1))


def finest_zoom(lat_deg: float, wanted_km_per_pixel: float, zooms: range) -> int:
    """The first of the zoom levels whose pixels are no larger on the ground than wanted, else the closest look.

    >>> finest_zoom(0.0, 0.01, range(20)), finest_zoom(0.0, 0.01, range(12))  # 9.5 m a pixel at zoom 14
    (14, 11)
    """
    return next((zoom for zoom in zooms if km_per_pixel(lat_deg, zoom) <= wanted_km_per_pixel), zooms[-1])
