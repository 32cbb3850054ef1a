"""Where the sun stands, and what its height and bearing say about where a photo was taken.

The sun's place in the sky is that of the point on Earth it stands above: its height is 90° less the distance to that
point, its bearing the way there. The point comes from the low-precision formulas of J. Meeus, *Astronomical
Algorithms* (2nd ed., ch. 25 and 28), as in NOAA's solar calculator: good to 0.01° between 1900 and 2100, without
refraction (0.6° at the horizon, less than 0.1° above 10°).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from core.frozen import Frozen
from geo.point import Point, wrap_longitude_deg
from geo.sphere import Floats, to_lat_lon_deg

PartOfDay = Literal["morning", "noon", "afternoon", "evening", "night"]

HEIGHT_ERROR_DEG = 8.0
BEARING_ERROR_DEG = 25.0
"""Standard deviations of what can be read off a photo: a shadow's length, a direction without a compass."""

WRONG_CLOCK = 0.1
"""Share of times that are wrong altogether: a camera's clock never set, a photo of a photo."""

PART_HOURS: dict[PartOfDay, tuple[float, float]] = {
    "morning": (5.0, 11.0),
    "noon": (11.0, 13.5),
    "afternoon": (12.5, 18.0),
    "evening": (17.0, 21.5),
}
"""Solar hours that people call so; night is when the sun is 6° below the horizon."""

_EDGE_HOURS = 0.5
_TWILIGHT_DEG, _EDGE_DEG = -6.0, 2.0

CLOCK_OFFSETS = ((-1, 0.10), (0, 0.52), (1, 0.30), (2, 0.08))
"""Clock time less mean solar time, in whole hours, and how common: zones reach west, and summer time."""

_ANYWHERE = 2000


class Subsolar(NamedTuple):
    """The point that the sun stands above, in degrees."""

    lat_deg: float
    lon_deg: float


class SunObservation(Frozen):
    """When a photo was taken and where the sun stood, as far as it is known.

    `taken_at` is ISO 8601: with an offset or Z it is an instant, without it is what a clock there showed.
    """

    taken_at: str
    sun_height_deg: float | None = Field(None, ge=-90.0, le=90.0)
    sun_bearing_deg: float | None = Field(None, ge=0.0, lt=360.0, description="clockwise from true north")
    part_of_day: PartOfDay | None = None

    @property
    def time(self) -> datetime:
        """The time; aware if it is an instant.

        Raises:
            ValueError: not ISO 8601.
        """
        return datetime.fromisoformat(self.taken_at)

    @property
    def summary(self) -> str:
        """What was observed, in words."""
        parts = [
            f"height {self.sun_height_deg:.0f}°" if self.sun_height_deg is not None else "",
            f"bearing {self.sun_bearing_deg:.0f}°" if self.sun_bearing_deg is not None else "",
            self.part_of_day or "",
        ]
        clock = "at" if self.time.tzinfo else "at clock time"
        return f"{', '.join(part for part in parts if part)} {clock} {self.taken_at}"


@lru_cache(maxsize=4096)
def subsolar(instant: datetime) -> Subsolar:
    """The point that the sun stands above at an instant.

    >>> above = subsolar(datetime(2024, 6, 20, 20, 51, tzinfo=UTC))  # the solstice: above the Tropic of Cancer
    >>> round(above.lat_deg, 2), round(above.lon_deg, 1)
    (23.44, -132.3)

    Raises:
        ValueError: the time has no offset from UTC.
    """
    if instant.tzinfo is None:
        raise ValueError("a time without an offset is no instant")
    utc = instant.astimezone(UTC)
    days = (utc - datetime(2000, 1, 1, 12, tzinfo=UTC)) / timedelta(days=1)
    declination_rad, equation_of_time_min = _declination_and_equation(days / 36_525.0)
    minutes = utc.hour * 60.0 + utc.minute + utc.second / 60.0
    return Subsolar(math.degrees(declination_rad), wrap_longitude_deg((720.0 - minutes - equation_of_time_min) / 4.0))


def _declination_and_equation(t: float) -> tuple[float, float]:
    """Declination in radians and equation of time in minutes, t Julian centuries after J2000."""
    mean_longitude = math.radians((280.46646 + t * (36_000.76983 + t * 0.0003032)) % 360.0)
    anomaly = math.radians(357.52911 + t * (35_999.05029 - 0.0001537 * t))
    eccentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t)
    centre = (
        math.sin(anomaly) * (1.914602 - t * (0.004817 + 0.000014 * t))
        + math.sin(2.0 * anomaly) * (0.019993 - 0.000101 * t)
        + math.sin(3.0 * anomaly) * 0.000289
    )
    node = math.radians(125.04 - 1934.136 * t)
    apparent = mean_longitude + math.radians(centre - 0.00569 - 0.00478 * math.sin(node))
    obliquity = math.radians(23.439291 - t * (0.0130042 + 1.64e-7 * t) + 0.00256 * math.cos(node))
    y = math.tan(obliquity / 2.0) ** 2
    equation = (
        y * math.sin(2.0 * mean_longitude)
        - 2.0 * eccentricity * math.sin(anomaly)
        + 4.0 * eccentricity * y * math.sin(anomaly) * math.cos(2.0 * mean_longitude)
        - 0.5 * y * y * math.sin(4.0 * mean_longitude)
        - 1.25 * eccentricity**2 * math.sin(2.0 * anomaly)
    )
    return math.asin(math.sin(obliquity) * math.sin(apparent)), 4.0 * math.degrees(equation)


def sun_position(point: Point, instant: datetime) -> tuple[float, float]:
    """Height above the horizon and bearing from true north of the sun's centre, in degrees.

    >>> noon_at_equinox = datetime(2024, 3, 20, 12, 7, 30, tzinfo=UTC)  # above the equator, so 90° less the latitude
    >>> [round(angle) for angle in sun_position(Point(lat=50.0, lon=0.0), noon_at_equinox)]
    [40, 180]
    """
    heights, bearings, _ = _seen_from(np.array([[point.lat, point.lon]]), np.array([subsolar(instant)]))
    return float(heights[0]), float(bearings[0])


def _seen_from(lat_lon_deg: Floats, subsolar_deg: Floats) -> tuple[Floats, Floats, Floats]:
    """Height, bearing and solar hour (n,) at positions (n, 2) with the sun above (n, 2) or (1, 2)."""
    lat, sun_lat = np.radians(lat_lon_deg[:, 0]), np.radians(subsolar_deg[:, 0])
    hour_angle = np.radians(lat_lon_deg[:, 1] - subsolar_deg[:, 1])
    sine = np.sin(lat) * np.sin(sun_lat) + np.cos(lat) * np.cos(sun_lat) * np.cos(hour_angle)
    east = -np.cos(sun_lat) * np.sin(hour_angle)
    north = np.cos(lat) * np.sin(sun_lat) - np.sin(lat) * np.cos(sun_lat) * np.cos(hour_angle)
    hour = (12.0 + np.degrees(hour_angle) / 15.0) % 24.0
    return np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0))), np.degrees(np.arctan2(east, north)) % 360.0, hour


def sun_nats(observation: SunObservation, lat_lon_deg: ArrayLike) -> Floats:
    """How much likelier the observation is at each position (n, 2) than anywhere, in nats: shape (n,).

    Never below ln(0.1): one clock in ten is taken to be wrong.

    >>> high_at_noon_utc = SunObservation(taken_at="2024-06-21T12:00Z", sun_height_deg=61.0)
    >>> sun_nats(high_at_noon_utc, [(51.5, 0.0), (-33.9, 151.2)]).round(1).tolist()  # London; Sydney, at night
    [2.3, -2.3]
    """
    usual = max(_usual_likelihood(observation), 1e-9)
    ratio = _likelihood(observation, np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)) / usual
    return np.asarray(np.log((1.0 - WRONG_CLOCK) * ratio + WRONG_CLOCK))


@lru_cache(maxsize=64)
def _usual_likelihood(observation: SunObservation) -> float:
    return float(_likelihood(observation, _anywhere_deg()).mean())


@lru_cache(maxsize=1)
def _anywhere_deg() -> Floats:
    """Positions spread evenly (a Fibonacci lattice) between the latitudes where people live, 56° S to 72° N."""
    k = np.arange(_ANYWHERE) + 0.5
    z = 1.0 - 2.0 * k / _ANYWHERE
    angle = np.pi * (1.0 + 5.0**0.5) * k
    ring = np.sqrt(1.0 - z * z)
    spread = to_lat_lon_deg(np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=-1))
    return np.asarray(spread[(spread[:, 0] > -56.0) & (spread[:, 0] < 72.0)])


def _likelihood(observation: SunObservation, lat_lon_deg: Floats) -> Floats:
    """Likelihood (n,) of the observation at positions, on a scale of its own, summed over the clock's offsets."""
    total = np.zeros(len(lat_lon_deg))
    for above, weight in _suns(observation.time, lat_lon_deg):
        total += weight * _fit(observation, *_seen_from(lat_lon_deg, above))
    return total


def _suns(time: datetime, lat_lon_deg: Floats) -> Iterator[tuple[Floats, float]]:
    """Where the sun may stand above (n, 2) or (1, 2), with weights: one place for an instant, several for a clock."""
    if time.tzinfo is not None:
        yield np.array([subsolar(time)]), 1.0
        return
    zone = np.round(lat_lon_deg[:, 1] / 15.0).astype(int)
    for ahead, weight in CLOCK_OFFSETS:
        at_zone = {z: subsolar(time.replace(tzinfo=UTC) - timedelta(hours=int(z) + ahead)) for z in set(zone.tolist())}
        yield np.array([at_zone[z] for z in zone.tolist()]).reshape(-1, 2), weight


def _fit(observation: SunObservation, height: Floats, bearing: Floats, hour: Floats) -> Floats:
    fit = np.ones(len(height))
    if observation.sun_height_deg is not None:
        fit *= np.exp(-0.5 * ((height - observation.sun_height_deg) / HEIGHT_ERROR_DEG) ** 2)
    if observation.sun_bearing_deg is not None:
        off = (bearing - observation.sun_bearing_deg + 180.0) % 360.0 - 180.0
        # A direction is only seen while the sun is up.
        fit *= np.exp(-0.5 * (off / BEARING_ERROR_DEG) ** 2) * (height > -1.0)
    if observation.part_of_day is not None:
        fit *= _part_fit(observation.part_of_day, height, hour)
    return fit


def _part_fit(part: PartOfDay, height: Floats, hour: Floats) -> Floats:
    if part == "night":
        return _step((_TWILIGHT_DEG - height) / _EDGE_DEG)
    first, last = PART_HOURS[part]
    return _step((hour - first) / _EDGE_HOURS) * _step((last - hour) / _EDGE_HOURS)


def _step(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(4.0 * x, -60.0, 60.0))))


def possible_areas(observation: SunObservation) -> list[tuple[int, int, int, int]]:
    """Where the observation fits at least a third as well as where it fits best.

    Boxes of latitude south and north, longitude west and east, in degrees; 15° by 10° cells joined along a band. East
    is below west where a box crosses the antimeridian.
    """
    souths, wests = np.arange(-60, 75, 15), np.arange(-180, 180, 10)
    middle = np.array([(south + 7.5, west + 5.0) for south in souths for west in wests])
    fit = _likelihood(observation, middle).reshape(len(souths), len(wests))
    fits = fit >= max(fit.max() / 3.0, 1e-9)
    return [
        (int(south), int(south) + 15, *span)
        for south, row in zip(souths, fits, strict=True)
        for span in _spans(row.tolist())
    ]


def _spans(row: list[bool]) -> list[tuple[int, int]]:
    """Runs of true cells as west and east edges, the row being a circle."""
    if all(row):
        return [(-180, 180)]
    starts = [i for i, fits in enumerate(row) if fits and not row[i - 1]]
    spans = []
    for start in starts:
        length = next(n for n in range(1, len(row) + 1) if not row[(start + n) % len(row)])
        west, east = -180 + 10 * start, -180 + 10 * (start + length)
        spans.append((west, east if east <= 180 else east - 360))
    return spans
