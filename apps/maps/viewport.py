"""The part of the world that a map shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.schemas import Answer, HypothesisStatus
from apps.maps.geometry import main_rings, narrowest_bounds, near_longitude_deg
from geo.point import Point
from geo.shorelines import Bounds
from geo.sphere import HALF_CIRCUMFERENCE_KM, distance_km, lat_lon_array

KM_PER_DEGREE = HALF_CIRCUMFERENCE_KM / 180.0
_MIN_WINDOW_KM = 900.0
_MAX_HEIGHT_DEG = 170.0
_MARGIN = 1.25
_AT_A_POLE_DEG = 89.9
LIKELY = 0.1
"""A hypothesis of this probability is on the map, however small its area is."""
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


def window_around(answer: Answer, aspect: float, least_km: float = _MIN_WINDOW_KM) -> Window:
    """The window that shows the belief with a margin; without areas the 90 % radius, or the best hypotheses."""
    if answer.areas:
        return _window_of_areas(answer, aspect, least_km)
    centre, half_km = _focus(answer)
    return _window(centre, _height_deg(2.0 * half_km / KM_PER_DEGREE, least_km), aspect)


def _window_of_areas(answer: Answer, aspect: float, least_km: float) -> Window:
    """Around the main pieces of the areas, the point and the likely hypotheses; where that is too much, the point.

    An area around a pole is as wide as the world: no window is as wide and as close, so it is shown in part.
    """
    box = belief_bounds(answer)
    width_deg, height_deg = box.east - box.west, box.north - box.south
    middle = Point(lat=(box.south + box.north) / 2.0, lon=(box.west + box.east) / 2.0)
    window = _window(middle, _height_deg(height_deg, least_km), aspect)
    is_polar = max(box.north, -box.south) > _AT_A_POLE_DEG and width_deg > 359.0
    for _ in range(0 if is_polar else 3):  # a taller window moves away from the poles and takes in fewer longitudes
        tall_deg = max(height_deg, width_deg * window.squeeze / aspect)
        window = _window(middle, _height_deg(tall_deg, least_km), aspect)
    is_cut = window.width_deg < width_deg
    return _window(answer.point, window.height_deg, aspect) if is_cut and answer.point else window


def belief_bounds(answer: Answer) -> Bounds:
    """What to show of an answer with areas: their main pieces, the point and the likely hypotheses."""
    likely = [h.point for h in answer.hypotheses if h.probability >= LIKELY and h.status is HypothesisStatus.OPEN]
    rings = [ring for area in answer.areas if area.share >= 0.5 for ring in main_rings(area)]
    return narrowest_bounds(rings, [*likely, *([answer.point] if answer.point else [])])


def _height_deg(shown_deg: float, least_km: float) -> float:
    return min(max(shown_deg * _MARGIN, least_km / KM_PER_DEGREE), _MAX_HEIGHT_DEG)


def _window(centre: Point, height_deg: float, aspect: float) -> Window:
    """A window as near to a centre as the poles allow."""
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
