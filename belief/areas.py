"""Credible areas as polygons: where the densest part of a belief lies, cut at the antimeridian as RFC 7946 wants it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray

from belief.posterior import Belief
from belief.support import positions_around
from geo.sphere import EARTH_RADIUS_KM, Floats, to_lat_lon_deg, wrap_longitudes_deg

AREA_SHARES = (0.25, 0.5, 0.75, 0.9)
"""Of the areas of an answer: how often they hold the truth."""

KM_PER_DEGREE = 111.195

DETAIL = 40.0
"""Outlines leave out what is smaller than the area's side divided by this."""

MOST_DISCS = 500
"""Where an area has more pieces, less detail is drawn."""

CORNERS = 12
"""Of a disc around a position."""

OVERLAP = 1.35
"""Discs are widened so that neighbours meet."""

COVERING = 1.5
"""A disc that stands for a cell of the grid that thins positions out has so many times its side as radius."""

DIGITS_DEG = 1e-4

WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)

Ring = tuple[tuple[float, float], ...]
Polygons = tuple[tuple[Ring, ...], ...]


def credible_polygons(belief: Belief, share: float) -> Polygons:
    """The smallest area that holds the truth in a share of such cases, as rings of (longitude, latitude) in degrees.

    Each position stands for a disc of its area, and at least of the finest detail that is drawn. So an outline around
    many scattered positions covers far more than they stand for: `outline_km2`.
    """
    rows = belief.credible_rows(share)
    # Of photos that tell nothing, the belief is the prior: its areas are drawn once.
    return _drawn(belief.support.area_km2[rows].tobytes(), belief.support.unit[rows].tobytes())


@lru_cache(maxsize=16)
def _drawn(areas: bytes, units: bytes) -> Polygons:
    """Polygons around positions, given as the bytes of areas in km² (n,) and unit vectors (n, 3)."""
    area_km2, unit = np.frombuffer(areas), np.frombuffer(units).reshape(-1, 3)
    detail_km = np.sqrt(area_km2.sum()) / DETAIL
    while len(kept := _spread(unit, detail_km)) > MOST_DISCS:
        detail_km *= 1.2
    radius_km = np.maximum(OVERLAP * np.sqrt(area_km2[kept] / np.pi), COVERING * detail_km)
    union = shapely.disjoint_subset_union_all(_discs(unit[kept], radius_km))
    outline = shapely.simplify(shapely.intersection(union, WORLD), detail_km / KM_PER_DEGREE / 2.0)
    return _rings(shapely.set_precision(outline, DIGITS_DEG))


@lru_cache(maxsize=16)
def outline_km2(polygons: Polygons) -> float:
    """What polygons cover of the Earth; their edges are straight in Lambert's cylindrical equal-area projection.

    >>> eighth = (((0.0, 0.0), (90.0, 0.0), (90.0, 90.0), (0.0, 90.0), (0.0, 0.0)),)
    >>> round(8 * outline_km2((eighth,)) / 1e6, 1)  # million km² of Earth
    510.1
    """
    shapes = [shapely.Polygon(rings[0], rings[1:]) for rings in polygons]
    flat = shapely.transform(np.array(shapes, dtype=object), _equal_area)
    return float(shapely.area(flat).sum()) * EARTH_RADIUS_KM**2


def _equal_area(lon_lat_deg: Floats) -> Floats:
    lon, lat = np.radians(lon_lat_deg).T
    return np.stack([lon, np.sin(lat)], axis=1)


def _spread(unit: Floats, apart_km: float) -> NDArray[np.intp]:
    """Rows of positions (n, 3), the first of those that fall into one cell of a grid in space."""
    cells = np.floor(unit * EARTH_RADIUS_KM / apart_km).astype(np.int64)
    side = 2 * int(EARTH_RADIUS_KM / apart_km) + 4
    # One number a cell: sorting rows of three takes ten times as long.
    return np.sort(np.unique(cells @ (side * side, side, 1), return_index=True)[1])


def _discs(unit: Floats, radius_km: Floats) -> NDArray[np.object_]:
    """A disc around each position (n, 3), and again a turn east or west where it crosses the antimeridian."""
    angle = np.minimum(radius_km / EARTH_RADIUS_KM, np.pi / 2.0)
    bearing = np.arange(CORNERS) * 2.0 * np.pi / CORNERS
    corners = to_lat_lon_deg(positions_around(unit, angle[:, None], bearing))
    lat, lon = to_lat_lon_deg(unit).T
    over_pole = np.abs(lat) + np.degrees(angle) >= 90.0
    polar = _polar_rings(corners[over_pole], np.sign(lat[over_pole]))
    rings = corners[~over_pole, :, ::-1]
    middle = lon[~over_pole, None]
    rings[:, :, 0] = middle + wrap_longitudes_deg(rings[:, :, 0] - middle)
    east, west = rings[:, :, 0].max(axis=1) > 180.0, rings[:, :, 0].min(axis=1) < -180.0
    turn_deg = np.array([360.0, 0.0])
    return np.concatenate(
        [shapely.polygons(part) for part in (rings, rings[east] - turn_deg, rings[west] + turn_deg, polar)]
    )


def _polar_rings(corners: Floats, pole: Floats) -> Floats:
    """Rings (n, c + 4, 2) of longitude and latitude from corners (n, c, 2) of discs that contain a pole, +1 or -1."""
    order = np.argsort(corners[:, :, 1], axis=1)
    rings = np.take_along_axis(corners, order[..., None], axis=1)[:, :, ::-1]
    edge = (rings[:, 0, 1] + rings[:, -1, 1]) / 2.0

    def at(lon_deg: float, lat_deg: Floats) -> Floats:
        return np.stack([np.full(len(lat_deg), lon_deg), lat_deg], axis=1)[:, None]

    return np.concatenate(
        [at(-180.0, edge), rings, at(180.0, edge), at(180.0, 90.0 * pole), at(-180.0, 90.0 * pole)], axis=1
    )


def _rings(shape: shapely.Geometry) -> Polygons:
    polygons = [part for part in shapely.get_parts(shape) if isinstance(part, shapely.Polygon) and not part.is_empty]
    return tuple(
        tuple(
            tuple((round(x, 4), round(y, 4)) for x, y in ring.coords) for ring in (polygon.exterior, *polygon.interiors)
        )
        for polygon in polygons
    )
