"""Distance kernels on the sphere: how far a report lies from the truth is a mixture of exponentials exp(-d / s)."""

from __future__ import annotations

import math

import numpy as np

from geo.sphere import EARTH_RADIUS_KM, Floats

EARTH_AREA_KM2 = 4.0 * math.pi * EARTH_RADIUS_KM**2

SCALES_KM = (0.3, 3.0, 25.0, 150.0, 800.0)
"""Scales of the kernels of a report: a spot, a quarter, a city, a region, a country."""

_LEAST_EXPONENT = -700.0
"""Below it exponentials become subnormal numbers, with which arithmetic takes ten times as long."""


def chord_distance_km(unit_a: Floats, unit_b: Floats) -> Floats:
    """Distances (n, m) in km between unit vectors (n, 3) and (m, 3): one matrix product, exact to a metre.

    >>> chord_distance_km(np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])).round(1).tolist()
    [[10007.6]]
    """
    # In place: at thousands of positions, fetching memory takes longer than the arithmetic.
    out = np.asarray(unit_a @ unit_b.T)
    out *= -0.5
    out += 0.5
    np.sqrt(np.clip(out, 0.0, 1.0, out=out), out=out)
    np.arcsin(out, out=out)
    out *= 2.0 * EARTH_RADIUS_KM
    return out


def decay(distance_km: Floats, scale_km: float) -> Floats:
    """exp(-d / s) at distances of any shape; beyond 700 scales it stays at 1e-304.

    >>> decay(np.array([0.0, 25.0, 2000.0]), scale_km=25.0).round(3).tolist()
    [1.0, 0.368, 0.0]
    """
    out = distance_km / -scale_km
    np.maximum(out, _LEAST_EXPONENT, out=out)
    return np.asarray(np.exp(out, out=out))
