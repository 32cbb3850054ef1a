"""Credible areas as polygons: where the densest part of a belief lies, cut at the antimeridian as RFC 7946 wants it."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from belief.posterior import Belief
from geo.sphere import EARTH_RADIUS_KM, Floats

KM_PER_DEGREE = 111.195
DETAIL = 40.0
"""Outlines leave out what is smaller than the area's side divided by this."""

CORNERS = 3
"""Corners of a quarter of the disc around a position."""

SPECK = 4.0
"""In squares of that size: a smaller piece is left out of the outline, not of the area in km²."""

OVERLAP = 1.35
"""Discs are widened so that neighbours meet."""

WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)

Ring = tuple[tuple[float, float], ...]
Polygons = tuple[tuple[Ring, ...], ...]


def credible_polygons(belief: Belief, share: float) -> Polygons:
    """Polygons of rings of (longitude, latitude) around the densest positions that hold a share of a belief.

    Each position stands for a disc of its area; what is much smaller than the whole is not drawn by itself.
    """
    rows = belief.densest(share)
    area_km2 = belief.support.area_km2[rows]
    coarsest_km = np.sqrt(area_km2.sum()) / DETAIL
    radius_km = np.maximum(OVERLAP * np.sqrt(area_km2 / np.pi), coarsest_km)
    kept = _spread(belief.support.unit[rows], coarsest_km)
    union = shapely.union_all(_discs(belief.support.lat_lon_deg[rows][kept], radius_km[kept]))
    return _rings(shapely.intersection(_simplified(union, coarsest_km / KM_PER_DEGREE), WORLD))


def _simplified(shape: shapely.Geometry, coarsest_deg: float) -> shapely.Geometry:
    """Outlines without what is smaller than a few of the coarsest steps; all of them where nothing is larger."""
    parts = shapely.get_parts(shapely.simplify(shape, coarsest_deg / 2.0))
    large = parts[shapely.area(parts) > SPECK * coarsest_deg**2]
    return shapely.union_all(large if len(large) else parts)


def _spread(unit: Floats, apart_km: float) -> NDArray[np.intp]:
    """Rows of positions (n, 3), the first of those that fall into one cell of a grid in space."""
    cells = np.floor(unit * EARTH_RADIUS_KM / apart_km).astype(np.int64)
    return np.sort(np.unique(cells, axis=0, return_index=True)[1])


def _discs(lat_lon_deg: Floats, radius_km: Floats) -> NDArray[np.object_]:
    """A disc around each position (n, 2), wider in degrees away from the equator, and again a turn east or west."""
    high_deg = radius_km / KM_PER_DEGREE
    nearest_pole_deg = np.minimum(89.9, np.abs(lat_lon_deg[:, 0]) + high_deg)
    wide_deg = np.minimum(180.0, high_deg / np.cos(np.radians(nearest_pole_deg)))
    angle = np.arange(4 * CORNERS) * np.pi / (2 * CORNERS)
    corners = np.stack([wide_deg[:, None] * np.cos(angle), high_deg[:, None] * np.sin(angle)], axis=2)
    corners += lat_lon_deg[:, None, ::-1]
    east, west = corners[:, :, 0].max(axis=1) > 180.0, corners[:, :, 0].min(axis=1) < -180.0
    turn_deg = np.array([360.0, 0.0])
    return np.asarray(shapely.polygons(np.concatenate([corners, corners[east] - turn_deg, corners[west] + turn_deg])))


def _rings(shape: shapely.Geometry) -> Polygons:
    polygons = [part for part in shapely.get_parts(shape) if isinstance(part, shapely.Polygon) and not part.is_empty]
    return tuple(
        tuple(
            tuple((round(x, 4), round(y, 4)) for x, y in ring.coords) for ring in (polygon.exterior, *polygon.interiors)
        )
        for polygon in polygons
    )
