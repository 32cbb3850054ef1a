"""Discs on the sphere as longitude–latitude polygons."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import antimeridian
import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray

from geo.point import Point
from geo.sphere import HALF_CIRCUMFERENCE_KM, circle_lat_lon_deg

_CORNERS = 96
_WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon
Lon = TypeVar("Lon", float, NDArray[np.float64])


def disc(centre: Point, radius_km: float) -> Area:
    """Everything within `radius_km` of a point, split at the antimeridian and closed over a pole it holds.

    Coordinates are (longitude, latitude) in degrees; exterior rings run counterclockwise (RFC 7946).
    A radius that reaches the antipode is the whole world; a radius of zero is drawn as ten metres.
    """
    if radius_km >= HALF_CIRCUMFERENCE_KM * 0.999:
        return _WORLD
    lat_lon = circle_lat_lon_deg(centre, max(radius_km, 0.01), _CORNERS)[::-1]
    # The winding tells inside from outside; a disc wider than a hemisphere must keep it.
    return antimeridian.fix_polygon(shapely.Polygon(lat_lon[:, ::-1]), fix_winding=False)


def around(area: Area, centre_lon_deg: float) -> Area:
    """The same area with longitudes within 180° of a meridian, so that a map centred there shows it in one piece."""
    copies = [shapely.affinity.translate(area, xoff=turn) for turn in (-360.0, 0.0, 360.0)]
    window = shapely.box(centre_lon_deg - 180.0, -90.0, centre_lon_deg + 180.0, 90.0)
    pieces = shapely.get_parts(shapely.union_all(copies).intersection(window))
    return shapely.MultiPolygon([piece for piece in pieces if isinstance(piece, shapely.Polygon)])


def near_longitude_deg(lon_deg: Lon, centre_lon_deg: float) -> Lon:
    """Longitudes moved by whole turns to within 180° of a meridian."""
    return centre_lon_deg + (lon_deg - centre_lon_deg + 180.0) % 360.0 - 180.0


def exteriors(area: Area, decimals: int = 5) -> list[list[tuple[float, float]]]:
    """The outer rings of an area as (longitude, latitude) lists, rounded (5 decimals: to a metre)."""
    polygons = [part for part in shapely.get_parts(area) if isinstance(part, shapely.Polygon)]
    return [[(x, y) for x, y in np.round(polygon.exterior.coords, decimals).tolist()] for polygon in polygons]
