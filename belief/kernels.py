"""Distance kernels on the sphere: how far a report lies from the truth, as a mixture of exponentials.

A kernel of scale s is g_s(d) = exp(-d / s) / norm(s), a probability density per km² around a point. On the sphere of
radius R its norm is closed:

    norm(s) = 2 pi R² (1 + exp(-pi R / s)) / ((R / s)² + 1)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from geo.sphere import EARTH_RADIUS_KM, Floats

EARTH_AREA_KM2 = 4.0 * math.pi * EARTH_RADIUS_KM**2

SCALES_KM = (0.3, 3.0, 25.0, 150.0, 800.0)
"""Scales of the kernels of a report: a spot, a quarter, a city, a region, a country."""


def kernel_norm_km2(scale_km: ArrayLike) -> Floats:
    """The integral of exp(-d / scale) over the sphere in km², for scales of any shape.

    A small scale sees a plane, 2 pi s²; an endless one sees the whole Earth:

    >>> bool(np.isclose(kernel_norm_km2(1.0), 2 * math.pi, rtol=1e-6))
    True
    >>> bool(np.isclose(kernel_norm_km2(1e9), EARTH_AREA_KM2, rtol=1e-4))
    True
    """
    ratio = EARTH_RADIUS_KM / np.asarray(scale_km, dtype=np.float64)
    return np.asarray(2.0 * math.pi * EARTH_RADIUS_KM**2 * (1.0 + np.exp(-math.pi * ratio)) / (ratio**2 + 1.0))


def chord_distance_km(unit_a: Floats, unit_b: Floats) -> Floats:
    """Distances (n, m) in km between unit vectors (n, 3) and (m, 3): one matrix product, exact to a metre.

    >>> chord_distance_km(np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])).round(1).tolist()
    [[10007.6]]
    """
    half_chord = np.sqrt(np.clip(0.5 - 0.5 * (unit_a @ unit_b.T), 0.0, 1.0))
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arcsin(half_chord))
