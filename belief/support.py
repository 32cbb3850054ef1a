"""The support: positions at which a belief is evaluated, each standing for a share of the prior and for an area.

Two deterministic samples are joined: positions spread as the prior is, and around every pin (a position that some
witness raised) a spiral of offsets, dense near the pin and thin far away. With q(x) positions per km² in all, a
position stands for an area of 1 / q(x) and a prior mass of p(x) / q(x) (multiple importance sampling with the balance
heuristic, Veach and Guibas 1995). The same pins in the same order give the same support.
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
"""Positions around each pin, beside the pin itself; fewer each where there are more than 48 pins."""

MAX_OFFSETS = 48 * OFFSETS
"""Of all pins together."""

NEAREST_KM, FARTHEST_KM = 0.05, 1500.0
"""Distances of the offsets, evenly spaced in their logarithm; the pin stands for what is nearer."""

MAX_PINS = 256
"""Of more, so many are kept, spread evenly over their order."""

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
        prior: what it was made from.
    """

    lat_lon_deg: Floats
    unit: Floats
    prior_mass: Floats
    area_km2: Floats
    pins: slice
    prior: Prior

    def distance_km(self, lat_lon_deg: ArrayLike) -> Floats:
        """Distances (n, k) in km of every position from k others (k, 2) in degrees."""
        return chord_distance_km(self.unit, unit_vectors(np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)))


class Disc(NamedTuple):
    """All that lies within a radius of a position."""

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
    kept = _distinct(unit_vectors(np.asarray(pins, dtype=np.float64).reshape(-1, 2)))
    offsets = min(OFFSETS, MAX_OFFSETS // max(1, len(kept)))
    unit = np.concatenate([kept, _spirals(kept, offsets)])
    at = to_lat_lon_deg(unit)
    density = np.concatenate([prior.density(at), sample.density])
    unit, at = np.concatenate([unit, sample.unit]), np.concatenate([at, sample.lat_lon_deg])
    per_km2 = sample_size * density + _offsets_per_km2(chord_distance_km(unit, kept), offsets).sum(axis=1)
    mass = density / per_km2
    return Support(at, unit, mass / mass.sum(), 1.0 / per_km2, slice(0, len(kept)), prior)


def _distinct(unit: Floats) -> Floats:
    """Vectors (k, 3) without those very near to an earlier one, at most MAX_PINS."""
    near = np.tril(chord_distance_km(unit, unit) <= SAME_PIN_KM, k=-1)
    kept = unit[~near.any(axis=1)]
    return kept[np.linspace(0, len(kept) - 1, MAX_PINS).astype(np.int64)] if len(kept) > MAX_PINS else kept


def _spirals(pins: Floats, offsets: int) -> Floats:
    """Offsets around pins (k, 3) as unit vectors (k * offsets, 3), at golden angles and even steps of log distance."""
    steps = (np.arange(offsets) + 0.5) / offsets
    angle = NEAREST_KM * (FARTHEST_KM / NEAREST_KM) ** steps / EARTH_RADIUS_KM
    return positions_around(pins, angle[None], np.arange(offsets) * _GOLDEN_ANGLE).reshape(-1, 3)


def positions_around(unit: Floats, angle: Floats, bearing: Floats) -> Floats:
    """Positions at some distances and bearings from each of some others.

    Args:
        unit: the others, unit vectors (k, 3).
        angle: distances in radians, (k or 1, m or 1).
        bearing: in radians from north over east, (m,).

    Returns:
        Unit vectors (k, m, 3).
    """
    east, north = _tangents(unit)
    along = np.cos(bearing)[:, None] * north[:, None, :] + np.sin(bearing)[:, None] * east[:, None, :]
    return np.asarray(np.cos(angle)[..., None] * unit[:, None, :] + np.sin(angle)[..., None] * along)


def _tangents(unit: Floats) -> tuple[Floats, Floats]:
    """Unit vectors towards the east and the north at each of (k, 3); at the poles any such pair."""
    east = np.stack([-unit[:, 1], unit[:, 0], np.zeros(len(unit))], axis=1)
    length = np.linalg.norm(east, axis=1, keepdims=True)
    east = np.where(length > 1e-9, east / np.maximum(length, 1e-9), [0.0, 1.0, 0.0])
    return east, np.cross(unit, east)


def _offsets_per_km2(distance_km: Floats, offsets: int) -> Floats:
    """How many positions of a pin's spiral lie in a km² at these distances from it, of any shape.

    The pin has the disc within 50 m to itself:

    >>> _offsets_per_km2(np.array([0.0, 1.0, 2000.0]), OFFSETS).round(3).tolist()
    [127.324, 1.467, 0.0]
    """
    away = np.clip(distance_km, NEAREST_KM, FARTHEST_KM)
    ring_km = 2.0 * np.pi * EARTH_RADIUS_KM * np.sin(away / EARTH_RADIUS_KM)
    per_km2 = offsets / np.log(FARTHEST_KM / NEAREST_KM) / (away * ring_km)
    pin = 1.0 / (np.pi * NEAREST_KM**2)
    return np.where(distance_km < NEAREST_KM, pin, np.where(distance_km <= FARTHEST_KM, per_km2, 0.0))
