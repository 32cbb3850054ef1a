"""The radius rule: how far the truth may be from the point that was chosen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from geo.point import Point
from geo.sphere import distance_km
from graphs.inference.posterior import Floats, Support
from graphs.inference.sight import SightReading


class Radius(NamedTuple):
    """Radii in km that should hold half and nine tenths of the probability; calibrated on held-out photos or not."""

    radius_50_km: float
    radius_90_km: float
    calibrated: bool = False


def posterior_radius(point: Point, support: Support) -> Radius:
    """Distances from a point within which 50 % and 90 % of the posterior lie."""
    away_km = np.hypot(distance_km((point.lat, point.lon), support.lat_lon_deg), support.spread_km)
    half, most = (weighted_quantile(away_km, support.weight, share) for share in (0.5, 0.9))
    return Radius(half, most)


def reading_radius(said_radius_km: float | None, reading: SightReading) -> Radius:
    """Of a model's own answer: at least what it said holds half, and what its record says holds half and 90 %."""
    half = max(said_radius_km or 0.0, reading.radius_km(0.5))
    return Radius(half, max(half, reading.radius_km(0.9)))


def weighted_quantile(values: Floats, weights: Floats, share: float) -> float:
    """The least value below or at which `share` of the weight lies.

    >>> distances_km, weights = np.array([10.0, 900.0, 50.0]), np.array([0.5, 0.2, 0.3])
    >>> weighted_quantile(distances_km, weights, 0.5), weighted_quantile(distances_km, weights, 0.9)
    (10.0, 900.0)
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    index = int(np.searchsorted(cumulative, share * cumulative[-1] - 1e-12))
    return float(values[order[min(index, len(values) - 1)]])
