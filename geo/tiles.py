"""Tile maths: where a position lies in a tree of XYZ tiles in Web Mercator (EPSG:3857).

Global pixels are fractional (x, y) with (0, 0) at the north-west corner of tile (0, 0) and 256 pixels
to a tile, so that a picture can be cut anywhere. (The `mercantile` package knows whole tiles only; the tests
hold this module to it.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from geo.point import Point
from geo.sphere import HALF_CIRCUMFERENCE_KM, Floats, wrap_longitudes_deg

TILE_PX = 256
MAX_LATITUDE_DEG = float(np.degrees(np.arctan(np.sinh(np.pi))))
"""The map is a square: it ends at 85.0511° north and south."""


class Tile(NamedTuple):
    """A tile of an XYZ tree: y counts from the north."""

    zoom: int
    x: int
    y: int


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
