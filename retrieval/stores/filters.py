"""Which stored items a search may return: circles on the sphere, and values to leave out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.point import Point, wrap_longitude_deg
from geo.sphere import EARTH_RADIUS_KM, Floats, distance_km, lat_lon_array, point_distance_km, unit_vectors

Exclude = Mapping[str, Collection[str]]
"""Values to leave out, by field: `item_id`, or a key of the item's extra payload such as `author`."""

# 0.6 m and 0.1 m: far more than the rounding of the formulas below, so that the box always covers the circle.
_MARGIN_RAD = 1e-7
_MARGIN_DEG = 1e-6


class Near(NamedTuple):
    """The spherical cap within `radius_km` of `centre`, its rim included."""

    centre: Point
    radius_km: float

    def contains(self, point: Point) -> bool:
        """Whether the great-circle distance to the centre is at most the radius."""
        return point_distance_km(self.centre, point) <= self.radius_km


class NearAny(NamedTuple):
    """All that lies in at least one of some circles."""

    circles: tuple[Near, ...]

    def contains(self, point: Point) -> bool:
        """Whether one of the circles holds a point."""
        return any(circle.contains(point) for circle in self.circles)


class LatLonBox(NamedTuple):
    """A latitude range and the union of one or two longitude ranges, in degrees, ends included.

    No longitude range at all means every longitude.
    """

    lat_min: float
    lat_max: float
    lon_ranges: tuple[tuple[float, float], ...]


def holds_points(near: Near | NearAny, points: Sequence[Point]) -> NDArray[np.bool_]:
    """Whether a circle, or one of several, holds each of n points: (n,)."""
    circles = near.circles if isinstance(near, NearAny) else (near,)
    centres_deg, radius_km = lat_lon_array(one.centre for one in circles), np.array([one.radius_km for one in circles])
    away_km = distance_km(lat_lon_array(points)[:, None], centres_deg[None])
    return np.asarray((away_km <= radius_km).any(axis=1))


def holds_unit(area: NearAny, unit: Floats) -> NDArray[np.bool_]:
    """Whether an area holds each of many positions, unit vectors (n, 3): (n,). Right to about a metre."""
    centres = unit_vectors(lat_lon_array(circle.centre for circle in area.circles))
    reach = np.array([np.cos(min(np.pi, circle.radius_km / EARTH_RADIUS_KM)) for circle in area.circles])
    return np.asarray((unit @ centres.T >= reach).any(axis=1))


def bounding_boxes(near: Near | NearAny) -> tuple[LatLonBox, ...]:
    """Boxes that together contain every point of a circle or of an area."""
    return tuple(bounding_box(circle) for circle in (near.circles if isinstance(near, NearAny) else (near,)))


def bounding_box(near: Near) -> LatLonBox:
    """A latitude-longitude box that contains every point of the cap.

    The meridians that touch a cap of angle r at latitude φ lie asin(sin r / cos φ) from its centre, and a
    cap over a pole meets every meridian (Bronshtein & Semendyayev, spherical triangles).
    """
    angle = near.radius_km / EARTH_RADIUS_KM + _MARGIN_RAD
    lat = math.radians(near.centre.lat)
    low, high = lat - angle, lat + angle
    lat_min = max(-90.0, math.degrees(low) - _MARGIN_DEG)
    lat_max = min(90.0, math.degrees(high) + _MARGIN_DEG)
    if low <= -math.pi / 2 or high >= math.pi / 2:
        return LatLonBox(lat_min, lat_max, ())
    # No pole inside, so sin r < cos φ in exact arithmetic; min() guards the rounding at equality.
    half_width = math.degrees(math.asin(min(1.0, math.sin(angle) / math.cos(lat)))) + _MARGIN_DEG
    return LatLonBox(lat_min, lat_max, _lon_ranges(near.centre.lon, half_width))


def _lon_ranges(lon: float, half_width: float) -> tuple[tuple[float, float], ...]:
    """The longitudes within `half_width` degrees, cut where they cross the antimeridian."""
    west, east = lon - half_width, lon + half_width
    if west < -180.0:
        return (wrap_longitude_deg(west), 180.0), (-180.0, east)
    if east >= 180.0:
        return (west, 180.0), (-180.0, wrap_longitude_deg(east))
    return ((west, east),)


def is_left_out(item_id: str, extra: Mapping[str, str], exclude: Exclude) -> bool:
    """Whether an item has one of the values to leave out."""
    return any((item_id if field == "item_id" else extra.get(field)) in values for field, values in exclude.items())
