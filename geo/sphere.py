"""Spherical maths in degrees and kilometres, vectorised with NumPy.

The Earth is the sphere of mean radius 6371.0088 km (IUGG R1), within 0.56 % of
the ellipsoid. Arrays of positions are float64 of shape (n, 2), latitude first.
Every function is right at the poles, across the antimeridian and for antipodes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geo.point import Point, wrap_longitude_deg

Floats = NDArray[np.float64]

EARTH_RADIUS_KM = 6371.0088
HALF_CIRCUMFERENCE_KM = float(np.pi * EARTH_RADIUS_KM)


def wrap_longitudes_deg(lon_deg: ArrayLike) -> Floats:
    """Longitudes wrapped to [-180, 180) degrees.

    >>> wrap_longitudes_deg([10.0, 180.0, -190.0]).tolist()
    [10.0, -180.0, 170.0]
    """
    wrapped = np.mod(np.asarray(lon_deg, dtype=np.float64) + 180.0, 360.0) - 180.0
    # A hair west of the antimeridian the modulo rounds up to a full turn.
    return np.where(wrapped < 180.0, wrapped, -180.0)


def lat_lon_array(points: Iterable[Point]) -> Floats:
    """Positions as an (n, 2) array of degrees, latitude first.

    >>> lat_lon_array([Point(lat=48.9, lon=2.4)]).tolist()
    [[48.9, 2.4]]
    """
    return np.array([(p.lat, p.lon) for p in points], dtype=np.float64).reshape(-1, 2)


def distance_km(lat_lon_a_deg: ArrayLike, lat_lon_b_deg: ArrayLike) -> Floats:
    """Great-circle distance in km between positions of shape (..., 2), broadcast.

    Haversine (Sinnott 1984), clipped so that antipodes do not leave the domain of arcsin.

    >>> distance_km([(0.0, 0.0), (0.0, 180.0)], (0.0, 90.0)).round(3).tolist()  # a quarter of the way round
    [10007.557, 10007.557]
    """
    a = np.radians(np.asarray(lat_lon_a_deg, dtype=np.float64))
    b = np.radians(np.asarray(lat_lon_b_deg, dtype=np.float64))
    half = np.sin((b - a) / 2.0) ** 2
    haversine = half[..., 0] + np.cos(a[..., 0]) * np.cos(b[..., 0]) * half[..., 1]
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0))))


def point_distance_km(a: Point, b: Point) -> float:
    """Great-circle distance in km between two points.

    >>> round(point_distance_km(Point(lat=0.0, lon=179.5), Point(lat=0.0, lon=-179.5)), 3)  # one degree
    111.195
    """
    return float(distance_km((a.lat, a.lon), (b.lat, b.lon)))


def pairwise_distance_km(lat_lon_deg: ArrayLike) -> Floats:
    """All distances among n positions of shape (n, 2), as an (n, n) matrix in km.

    >>> pairwise_distance_km([(0.0, 0.0), (1.0, 0.0), (3.0, 0.0)]).round(1).tolist()
    [[0.0, 111.2, 333.6], [111.2, 0.0, 222.4], [333.6, 222.4, 0.0]]
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64)
    return distance_km(positions[:, None, :], positions[None, :, :])


def unit_vectors(lat_lon_deg: ArrayLike) -> Floats:
    """Positions of shape (..., 2) as unit vectors of shape (..., 3); x is at (0, 0), z at the North Pole.

    >>> unit_vectors([(0.0, 0.0), (0.0, 90.0), (90.0, 0.0)]).round(6).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    angles = np.radians(np.asarray(lat_lon_deg, dtype=np.float64))
    cosines, sines = np.cos(angles), np.sin(angles)
    # Written in place: np.stack would take longer than the arithmetic of a short list.
    vectors = np.empty((*angles.shape[:-1], 3))
    np.multiply(cosines[..., 0], cosines[..., 1], out=vectors[..., 0])
    np.multiply(cosines[..., 0], sines[..., 1], out=vectors[..., 1])
    vectors[..., 2] = sines[..., 0]
    return vectors


def to_lat_lon_deg(vectors: ArrayLike) -> Floats:
    """Non-zero vectors of shape (..., 3), of any length, as positions of shape (..., 2).

    >>> to_lat_lon_deg([(1.0, 1.0, 0.0), (0.0, 0.0, -7.0)]).round(6).tolist()
    [[0.0, 45.0], [-90.0, 0.0]]
    """
    x, y, z = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    lat = np.degrees(np.arctan2(z, np.hypot(x, y)))
    lon = np.degrees(np.arctan2(y, x))
    return np.stack([lat, wrap_longitudes_deg(lon)], axis=-1)


def mean_point(lat_lon_deg: ArrayLike, weights: ArrayLike | None = None) -> Point:
    """Spherical mean: the direction of the weighted sum of unit vectors.

    The first statistic of directional data (Mardia and Jupp 2000, ch. 9).

    >>> str(mean_point([(0.0, 179.0), (0.0, -177.0)]))
    '0.0000° N, 179.0000° W'

    Raises:
        ValueError: no position, or positions that cancel out (as two antipodes do).
    """
    vectors = unit_vectors(np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2))
    weight = np.ones(len(vectors)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = weight @ vectors / max(float(weight.sum()), np.finfo(np.float64).tiny)
    if np.linalg.norm(total) < 1e-9:
        raise ValueError("the spherical mean of these positions is undefined")
    lat, lon = to_lat_lon_deg(total)
    return Point(lat=float(lat), lon=float(lon))


def medoid_index(lat_lon_deg: ArrayLike, weights: ArrayLike | None = None) -> int:
    """Index of the position with the least weighted sum of distances to all; the first one on a tie.

    >>> medoid_index([(0.0, 0.0), (0.0, 2.0), (0.0, 9.0)])
    1

    Raises:
        ValueError: no position.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)
    if not len(positions):
        raise ValueError("the medoid of no positions is undefined")
    weight = np.ones(len(positions)) if weights is None else np.asarray(weights, dtype=np.float64)
    total_km = pairwise_distance_km(positions) @ weight
    return int(np.flatnonzero(total_km <= total_km.min() + 1e-9)[0])


def bearing_deg(start: Point, end: Point) -> float:
    """Initial bearing in degrees clockwise from north, in [0, 360).

    >>> bearing_deg(Point(lat=0.0, lon=0.0), Point(lat=0.0, lon=-5.0))
    270.0
    """
    lat1, lon1, lat2, lon2 = np.radians([start.lat, start.lon, end.lat, end.lon])
    east = np.sin(lon2 - lon1) * np.cos(lat2)
    north = np.cos(lat1) * np.sin(lat2) - np.sin(lat1) * np.cos(lat2) * np.cos(lon2 - lon1)
    return float(np.degrees(np.arctan2(east, north)) % 360.0)


def destinations_deg(start: Point, bearings_deg: ArrayLike, distances_km: ArrayLike) -> Floats:
    """Positions (..., 2) reached from `start` along great circles; bearings and distances broadcast to (...).

    >>> destinations_deg(Point(lat=0.0, lon=0.0), [0.0, 90.0], HALF_CIRCUMFERENCE_KM / 2.0).round(6).tolist()
    [[90.0, 0.0], [0.0, 90.0]]
    """
    angle = np.asarray(distances_km, dtype=np.float64) / EARTH_RADIUS_KM
    bearing = np.radians(np.asarray(bearings_deg, dtype=np.float64))
    lat1, lon1 = np.radians([start.lat, start.lon])
    here = unit_vectors((start.lat, start.lon))
    north = np.array([-np.sin(lat1) * np.cos(lon1), -np.sin(lat1) * np.sin(lon1), np.cos(lat1)])
    east = np.array([-np.sin(lon1), np.cos(lon1), 0.0])
    heading = np.cos(bearing)[..., None] * north + np.sin(bearing)[..., None] * east
    return to_lat_lon_deg(np.cos(angle)[..., None] * here + np.sin(angle)[..., None] * heading)


def destination(start: Point, bearing_deg: float, distance_km: float) -> Point:
    """The point reached from `start` along a great circle.

    >>> str(destination(Point(lat=0.0, lon=0.0), bearing_deg=90.0, distance_km=111.195))
    '0.0000° N, 1.0000° E'
    """
    lat, lon = destinations_deg(start, bearing_deg, distance_km)
    return Point(lat=float(lat), lon=wrap_longitude_deg(float(lon)))


def circle_lat_lon_deg(centre: Point, radius_km: float, corners: int = 72) -> Floats:
    """A circle on the sphere as (corners, 2) positions, clockwise from north, not closed.

    >>> circle_lat_lon_deg(Point(lat=0.0, lon=0.0), radius_km=111.195, corners=4)[:2].round(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return destinations_deg(centre, np.arange(corners) * 360.0 / corners, radius_km)
