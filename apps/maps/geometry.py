"""Shapes on a map: discs and credible areas, in one piece around any meridian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import antimeridian
import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from agents.schemas import Answer, CredibleArea, LonLat
from geo.point import Point
from geo.shorelines import Bounds
from geo.sphere import HALF_CIRCUMFERENCE_KM, circle_lat_lon_deg
from geo.tiles import TileBounds

_CORNERS = 96
_WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon
Ring: TypeAlias = NDArray[np.float64]
"""Corners (n, 2): longitude, latitude."""
_MAIN_SHARE = 0.9
Lon = TypeVar("Lon", float, NDArray[np.float64])


def disc(centre: Point, radius_km: float) -> Area:
    """Everything within `radius_km` of a point, split at the antimeridian and closed over a pole it holds.

    Coordinates are (longitude, latitude) in degrees; exterior rings run counterclockwise (RFC 7946).
    A radius that reaches the antipode is the whole world; a radius of zero is drawn as ten metres.
    """
    if radius_km >= HALF_CIRCUMFERENCE_KM * 0.999:
        return _WORLD
    lat_lon = circle_lat_lon_deg(centre, max(radius_km, 0.01), _CORNERS)[::-1]
    ring = shapely.Polygon(lat_lon[:, ::-1])
    if radius_km < HALF_CIRCUMFERENCE_KM / 2.0 and np.ptp(lat_lon[:, 1]) < 180.0:
        # Neither across the antimeridian nor around a pole.
        return ring
    # The winding tells inside from outside; a disc wider than a hemisphere must keep it.
    return antimeridian.fix_polygon(ring, fix_winding=False)


def tile_area(bounds: TileBounds) -> Area:
    """A satellite tile, split at the antimeridian where it crosses that."""
    east = bounds.west + bounds.width_deg
    return antimeridian.fix_polygon(shapely.box(bounds.west, bounds.south, east, bounds.north))


def around(area: BaseGeometry, centre_lon_deg: float) -> shapely.MultiPolygon:
    """The same area with longitudes within 180° of a meridian, so that a map centred there shows it in one piece."""
    copies = [shapely.affinity.translate(area, xoff=turn) for turn in (-360.0, 0.0, 360.0)]
    window = shapely.box(centre_lon_deg - 180.0, -90.0, centre_lon_deg + 180.0, 90.0)
    pieces = shapely.get_parts(shapely.union_all(copies).intersection(window))
    return shapely.MultiPolygon([piece for piece in pieces if isinstance(piece, shapely.Polygon)])


def near_longitude_deg(lon_deg: Lon, centre_lon_deg: float) -> Lon:
    """Longitudes moved by whole turns to within 180° of a meridian."""
    return centre_lon_deg + (lon_deg - centre_lon_deg + 180.0) % 360.0 - 180.0


def exteriors(area: Area, decimals: int = 5) -> list[list[LonLat]]:
    """The outer rings of an area as (longitude, latitude) lists, rounded (5 decimals: to a metre)."""
    return [rings[0] for rings in polygon_rings(area, decimals)]


def credible_shape(area: CredibleArea, centre_lon_deg: float) -> shapely.MultiPolygon:
    """A credible area with longitudes within 180° of a meridian: the cut at the antimeridian is closed again.

    Contours that touch themselves are mended.
    """
    polygons = [shapely.Polygon(rings[0], rings[1:]) for rings in area.polygons]
    return around(shapely.union_all(shapely.make_valid(polygons)), centre_lon_deg)


Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue."""


class HeatLayer(NamedTuple):
    """A credible area as maps draw it."""

    area: CredibleArea
    shape: shapely.MultiPolygon
    colour: Colour


HEAT_COLOURS = ((168, 50, 92), (221, 81, 58), (250, 140, 50), (255, 213, 92))
"""Red, green and blue of the heat layer, from the widest area to the narrowest."""
OUTLINED_SHARES = (0.5, 0.9)
"""Areas that maps draw with an outline."""


def coloured_areas(answer: Answer) -> list[tuple[CredibleArea, Colour]]:
    """The nested areas of the belief with the colours of maps, widest first; none for an answer without areas."""
    widest_first = sorted(answer.areas, key=lambda area: -area.share)
    steps = np.linspace(0, len(HEAT_COLOURS) - 1, max(len(widest_first), 2)).round().astype(int).tolist()
    return [(area, HEAT_COLOURS[step]) for area, step in zip(widest_first, steps, strict=False)]


def heat_layers(answer: Answer, centre_lon_deg: float, shares: Sequence[float] | None = None) -> list[HeatLayer]:
    """The areas as shapes around a meridian, widest first; this takes tens of milliseconds an area.

    Args:
        shares: those that are wanted; None: all.
    """
    return [
        HeatLayer(area, credible_shape(area, centre_lon_deg), colour)
        for area, colour in coloured_areas(answer)
        if shares is None or area.share in shares
    ]


def polygon_rings(shape: BaseGeometry, decimals: int = 4) -> list[list[list[LonLat]]]:
    """The polygons of a shape, each as its rings, outer one first; (lon, lat), rounded (4 decimals: 11 m)."""
    return [
        [_rounded(ring, decimals) for ring in (polygon.exterior, *polygon.interiors)]
        for polygon in shapely.get_parts(shape)
        if isinstance(polygon, shapely.Polygon)
    ]


def main_rings(area: CredibleArea) -> list[Ring]:
    """The outer rings of the largest pieces that make up nine tenths of an area together, largest first.

    A belief may hold specks all over the world, which must not decide what a map shows.
    """
    rings = [np.array(polygon[0]) for polygon in area.polygons]
    sizes = np.array([shapely.Polygon(ring).area * np.cos(np.radians(ring[:, 1].mean())) for ring in rings])
    order = np.argsort(-sizes, kind="stable")
    count = int(np.searchsorted(np.cumsum(sizes[order]), _MAIN_SHARE * sizes.sum())) + 1
    return [rings[index] for index in order[:count].tolist()]


def narrowest_bounds(rings: Sequence[Ring], points: Sequence[Point] = ()) -> Bounds:
    """The narrowest box that holds some rings and points, also across the antimeridian.

    >>> narrowest_bounds([np.array([(170.0, 0.0), (180.0, 0.0), (180.0, 5.0)])], [Point(lat=9.0, lon=-170.0)])
    Bounds(west=170.0, south=0.0, east=190.0, north=9.0)
    """
    outer = [*rings, *(np.array([(point.lon, point.lat)]) for point in points)]
    low, high = np.array([ring.min(axis=0) for ring in outer]), np.array([ring.max(axis=0) for ring in outer])
    west, east = _narrowest_span_deg(low[:, 0], high[:, 0])
    return Bounds(west, float(low[:, 1].min()), east, float(high[:, 1].max()))


def _narrowest_span_deg(west_deg: NDArray[np.float64], east_deg: NDArray[np.float64]) -> tuple[float, float]:
    """West and east (not wrapped) of the arc that holds some intervals: it leaves out the widest gap between them."""
    order = np.argsort(west_deg)
    west, reach = west_deg[order], np.maximum.accumulate(east_deg[order])
    gap = int(np.argmax(np.append(west[1:], west[0] + 360.0) - reach))
    if gap == len(west) - 1:
        return float(west[0]), float(reach[-1])
    return float(west[gap + 1]), float(max(reach[gap], reach[-1] - 360.0)) + 360.0


def _rounded(ring: shapely.LinearRing, decimals: int) -> list[LonLat]:
    return [(lon, lat) for lon, lat in np.round(ring.coords, decimals).tolist()]
