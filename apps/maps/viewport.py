"""The part of the world that a map shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import antimeridian
import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray

from agents.schemas import Answer
from geo.point import Point
from geo.shorelines import Bounds
from geo.sphere import HALF_CIRCUMFERENCE_KM, circle_lat_lon_deg, distance_km, lat_lon_array

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


KM_PER_DEGREE = HALF_CIRCUMFERENCE_KM / 180.0
_MIN_WINDOW_KM = 900.0
_SQUEEZE_LIMIT = 0.25


@dataclass(frozen=True)
class Window:
    """A part of the world, equirectangular, true to scale at its middle latitude.

    West and east are not wrapped: they lie within 180° of the middle longitude.
    """

    centre: Point
    height_deg: float
    aspect: float
    """Width over height on the ground at the middle."""

    @property
    def squeeze(self) -> float:
        """Length of a degree of longitude over one of latitude, at least 0.25 so that the poles can be drawn."""
        return max(float(np.cos(np.radians(self.centre.lat))), _SQUEEZE_LIMIT)

    @property
    def width_deg(self) -> float:
        """Degrees of longitude from west to east."""
        return min(self.height_deg * self.aspect / self.squeeze, 360.0)

    @property
    def west(self) -> float:
        """Longitude of the western edge, not wrapped."""
        return self.centre.lon - self.width_deg / 2.0

    @property
    def north(self) -> float:
        """Latitude of the northern edge; beyond 90 only for a window taller than the world."""
        return self.centre.lat + self.height_deg / 2.0

    @property
    def south(self) -> float:
        """Latitude of the southern edge."""
        return self.centre.lat - self.height_deg / 2.0

    @property
    def bounds_deg(self) -> Bounds:
        """All four edges; east is not wrapped."""
        return Bounds(self.west, self.south, self.west + self.width_deg, self.north)

    def pixels(self, lon_lat_deg: NDArray[np.float64], size_px: tuple[int, int]) -> NDArray[np.float64]:
        """Positions (n, 2), longitude first and unwrapped, as fractional pixels (x, y) of a picture of this window."""
        width_px, height_px = size_px
        lon, lat = lon_lat_deg[..., 0], lon_lat_deg[..., 1]
        x = (lon - self.west) / self.width_deg * width_px
        return np.stack([x, (self.north - lat) / self.height_deg * height_px], axis=-1)

    def point_pixel(self, point: Point, size_px: tuple[int, int]) -> tuple[float, float]:
        """A point, on the side of the world nearest to the middle, as a fractional pixel."""
        lon = near_longitude_deg(point.lon, self.centre.lon)
        x, y = self.pixels(np.array([lon, point.lat]), size_px)
        return float(x), float(y)


def window_around(answer: Answer, aspect: float) -> Window:
    """The window that shows the 90 % radius with a margin, or the best hypotheses of an abstention."""
    centre, half_km = _focus(answer)
    height_deg = min(max(2.0 * half_km * 1.25, _MIN_WINDOW_KM) / KM_PER_DEGREE, 170.0)
    lat = float(np.clip(centre.lat, -90.0 + height_deg / 2.0, 90.0 - height_deg / 2.0))
    return Window(Point(lat=lat, lon=centre.lon), height_deg, aspect)


def _focus(answer: Answer) -> tuple[Point, float]:
    """The middle of what to show, and the distance from it in km that has to be in the picture."""
    if answer.point is not None:
        return answer.point, answer.radius_90_km or 0.0
    if not answer.hypotheses:
        return Point(lat=0.0, lon=0.0), HALF_CIRCUMFERENCE_KM
    best = answer.hypotheses[0].point
    guesses = lat_lon_array(hypothesis.point for hypothesis in answer.hypotheses[:3])
    return best, float(distance_km(guesses, (best.lat, best.lon)).max())
