"""Credible areas as polygons: where the densest part of a belief lies, cut at the antimeridian as RFC 7946 wants it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely

from belief.posterior import Belief
from geo.sphere import Floats

KM_PER_DEGREE = 111.195
MOST_POSITIONS = 1500
"""Polygons are drawn around at most so many positions, the densest."""

CORNERS = 3
"""Corners of a quarter of the disc around a position."""

OVERLAP = 1.35
"""Discs are widened so that neighbours meet."""

WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)

Ring = tuple[tuple[float, float], ...]
Polygons = tuple[tuple[Ring, ...], ...]


def credible_polygons(belief: Belief, share: float) -> Polygons:
    """Polygons of rings of (longitude, latitude) around the densest positions that hold a share of a belief.

    Each position stands for a disc of its area; their union is simplified to a twentieth of its extent.
    """
    rows = belief.densest(share)[:MOST_POSITIONS]
    radius_km = OVERLAP * np.sqrt(belief.support.area_km2[rows] / np.pi)
    discs = list(_discs(belief.support.lat_lon_deg[rows], radius_km))
    union = shapely.union_all(shapely.make_valid(np.array(discs, dtype=object)))
    return _rings(shapely.intersection(_simplified(union), WORLD))


def _discs(lat_lon_deg: Floats, radius_km: Floats) -> Iterator[shapely.Geometry]:
    """A disc around each position, wider in degrees away from the equator, and again a turn east or west."""
    for (lat, lon), radius in zip(lat_lon_deg.tolist(), radius_km.tolist(), strict=True):
        high_deg = radius / KM_PER_DEGREE
        nearest_pole_deg = min(89.9, abs(lat) + high_deg)
        wide_deg = min(180.0, high_deg / np.cos(np.radians(nearest_pole_deg)))
        unit = shapely.Point(0.0, 0.0).buffer(1.0, quad_segs=CORNERS)
        disc = shapely.affinity.translate(shapely.affinity.scale(unit, wide_deg, high_deg, origin=(0.0, 0.0)), lon, lat)
        yield disc
        if lon + wide_deg > 180.0:
            yield shapely.affinity.translate(disc, -360.0)
        if lon - wide_deg < -180.0:
            yield shapely.affinity.translate(disc, 360.0)


def _simplified(shape: shapely.Geometry) -> shapely.Geometry:
    parts = [part for part in shapely.get_parts(shape) if part.area > 0.0]
    return shapely.union_all([part.simplify(np.sqrt(part.area) / 20.0) for part in parts])


def _rings(shape: shapely.Geometry) -> Polygons:
    polygons = [part for part in shapely.get_parts(shape) if isinstance(part, shapely.Polygon) and not part.is_empty]
    return tuple(
        tuple(
            tuple((round(x, 4), round(y, 4)) for x, y in ring.coords) for ring in (polygon.exterior, *polygon.interiors)
        )
        for polygon in polygons
    )
