"""The support: positions at which a belief is evaluated, each standing for a share of the prior and for an area.

Two deterministic samples are joined: positions spread as the prior is, and around every pin (a position that some
witness raised) a spiral of offsets, dense near the pin and thin far away. With q(x) positions per km² in all, a
position stands for an area of 1 / q(x) and a prior mass of p(x) / q(x) (multiple importance sampling with the balance
heuristic, Veach and Guibas 1995). The same pins give the same support.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from belief.kernels import chord_distance_km
from belief.prior import SAMPLE_SIZE, Prior, default_prior
from geo.sphere import EARTH_RADIUS_KM, Floats, to_lat_lon_deg, unit_vectors

OFFSETS = 95
"""Positions around each pin, beside the pin itself."""

NEAREST_KM, FARTHEST_KM = 0.05, 1500.0
"""Distances of the offsets, evenly spaced in their logarithm."""

MAX_PINS = 48
SAME_PIN_KM = 0.05

_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


class Support(NamedTuple):
    """Positions of a belief.

    Attributes:
        lat_lon_deg: (n, 2).
        unit: the same as unit vectors, (n, 3).
        prior_mass: share of the prior that each stands for, (n,), summing to 1.
        area_km2: area that each stands for, (n,).
        pins: rows of the pins.
    """

    lat_lon_deg: Floats
    unit: Floats
    prior_mass: Floats
    area_km2: Floats
    pins: slice

    def distance_km(self, lat_lon_deg: ArrayLike) -> Floats:
        """Distances (n, k) of every position from k others (k, 2)."""
        return chord_distance_km(self.unit, unit_vectors(np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)))


class Circle(NamedTuple):
    """An area around a position."""

    lat_deg: float
    lon_deg: float
    radius_km: float


class _Sample(NamedTuple):
    lat_lon_deg: Floats
    unit: Floats
    density: Floats


@cache
def _prior_sample(prior: Prior, size: int) -> _Sample:
    at = prior.sample(size)
    return _Sample(at, unit_vectors(at), prior.density(at))


def make_support(pins: ArrayLike = (), prior: Prior | None = None, sample_size: int = SAMPLE_SIZE) -> Support:
    """The support of a belief around pins (k, 2) in degrees; those within 50 m of an earlier one add nothing.

    >>> support = make_support([(48.86, 2.34)])
    >>> len(support.prior_mass) == SAMPLE_SIZE + 1 + OFFSETS, round(float(support.prior_mass.sum()), 6)
    (True, 1.0)
    """
    prior = prior or default_prior()
    sample = _prior_sample(prior, sample_size)
    kept = _distinct(unit_vectors(np.asarray(pins, dtype=np.float64).reshape(-1, 2)))[:MAX_PINS]
    around = _spirals(kept)
    unit = np.concatenate([kept, around, sample.unit])
    at = np.concatenate([to_lat_lon_deg(kept), to_lat_lon_deg(around), sample.lat_lon_deg])
    density = np.concatenate([prior.density(at[: -len(sample.unit)]), sample.density])
    per_km2 = sample_size * density + _offsets_per_km2(chord_distance_km(unit, kept)).sum(axis=1)
    mass = density / per_km2
    return Support(at, unit, mass / mass.sum(), 1.0 / per_km2, slice(0, len(kept)))


def _distinct(unit: Floats) -> Floats:
    """Vectors (k, 3) without those very near to an earlier one."""
    near = np.tril(chord_distance_km(unit, unit) <= SAME_PIN_KM, k=-1)
    return unit[~near.any(axis=1)]


def _spirals(pins: Floats) -> Floats:
    """Offsets around pins (k, 3) as unit vectors (k * OFFSETS, 3), at golden angles and even steps of log distance."""
    steps = (np.arange(OFFSETS) + 0.5) / OFFSETS
    angle = NEAREST_KM * (FARTHEST_KM / NEAREST_KM) ** steps / EARTH_RADIUS_KM
    turn = np.arange(OFFSETS) * _GOLDEN_ANGLE
    east, north = _tangents(pins)
    along = np.cos(turn)[:, None] * north[:, None, :] + np.sin(turn)[:, None] * east[:, None, :]
    moved = np.cos(angle)[:, None] * pins[:, None, :] + np.sin(angle)[:, None] * along
    return np.asarray(moved.reshape(-1, 3))


def _tangents(unit: Floats) -> tuple[Floats, Floats]:
    """Unit vectors towards the east and the north at each of (k, 3); at the poles any such pair."""
    east = np.stack([-unit[:, 1], unit[:, 0], np.zeros(len(unit))], axis=1)
    length = np.linalg.norm(east, axis=1, keepdims=True)
    east = np.where(length > 1e-9, east / np.maximum(length, 1e-9), [0.0, 1.0, 0.0])
    return east, np.cross(unit, east)


def _offsets_per_km2(distance_km: Floats) -> Floats:
    """How many offsets of a pin lie in a km² at these distances from it, of any shape."""
    away = np.maximum(distance_km, NEAREST_KM)
    ring_km = 2.0 * np.pi * EARTH_RADIUS_KM * np.sin(np.minimum(away / EARTH_RADIUS_KM, np.pi / 2.0))
    per_km2 = OFFSETS / np.log(FARTHEST_KM / NEAREST_KM) / (away * ring_km)
    return np.asarray(np.where(distance_km <= FARTHEST_KM, per_km2, 0.0))
