"""The decision: the position of greatest expected utility under a belief. It may lie anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from belief.kernels import chord_distance_km, decay
from belief.posterior import Belief, evenly
from geo.sphere import Floats

Rows = NDArray[np.intp]

LOOKED_AT = 64
"""Positions that are compared at a time."""

COUNTRY_KM = 750

DENSE_SHARE = 0.1
"""The densest positions are those that hold this share of the belief."""

NEGLIGIBLE = 1e-4
"""Share of the belief that is left out of expectations, spread over its least probable positions."""


class Aim(StrEnum):
    """What the point of an answer is chosen for: to lie within a distance in km, or the GeoScore."""

    STREET = "1"
    CITY = "25"
    REGION = "200"
    COUNTRY = "750"
    CONTINENT = "2500"
    GEOSCORE = "geoscore"

    @property
    def wanted_km(self) -> int:
        """The distance whose chance says whether the answer is good enough: of GeoScore, a country's."""
        return COUNTRY_KM if self is Aim.GEOSCORE else int(self.value)


class Decision(NamedTuple):
    """A position to answer: its row in the support, latitude and longitude in degrees."""

    row: int
    lat_deg: float
    lon_deg: float


def decide(belief: Belief, utility: Mapping[float, float]) -> Decision:
    """The position of a belief's support that has the greatest expected utility, the first on a tie.

    First the pins, the densest positions and some spread evenly over the belief are compared, then the neighbours of
    the best.

    Args:
        belief: what is believed.
        utility: weights of exp(-d / scale) by scale in km, of an answer d km from the truth.

    >>> from belief.support import make_support
    >>> lisbon = (38.72, -9.14)
    >>> support = make_support([lisbon])
    >>> near = np.exp(-support.distance_km(lisbon)[:, 0] / 5.0) + 1e-4
    >>> best = decide(Belief(support, {}, {"seen": np.log(near)}), {25.0: 1.0})
    >>> bool(support.distance_km(lisbon)[best.row, 0] < 5.0)
    True
    """
    mass, unit = belief.mass, belief.support.unit
    heavy = _heaviest(mass)
    pins = np.arange(len(mass))[belief.support.pins]
    first = np.concatenate([pins, evenly(mass, LOOKED_AT), belief.densest(DENSE_SHARE)[:LOOKED_AT]])
    best = _best(belief, np.unique(first), heavy, utility)
    away_km = chord_distance_km(unit, unit[[best]])[:, 0]
    best = _best(belief, np.argsort(away_km, kind="stable")[:LOOKED_AT], heavy, utility)
    lat, lon = belief.support.lat_lon_deg[best]
    return Decision(best, float(lat), float(lon))


def _heaviest(mass: Floats) -> Rows:
    """Rows that hold all but a negligible share of the probability."""
    order: Rows = np.argsort(-mass, kind="stable")
    return order[: int(np.searchsorted(np.cumsum(mass[order]), 1.0 - NEGLIGIBLE)) + 1]


def _best(belief: Belief, rows: Rows, heavy: Rows, utility: Mapping[float, float]) -> int:
    """The row with the greatest expected utility, over some rows of the belief; the first on a tie."""
    unit = belief.support.unit
    gain = expected_utility(chord_distance_km(unit[rows], unit[heavy]), belief.mass[heavy], utility)
    return int(rows[int(np.flatnonzero(gain >= gain.max() - 1e-12)[0])])


def expected_utility(away_km: Floats, mass: Floats, utility: Mapping[float, float]) -> Floats:
    """Expected utility (k,) of k answers at distances (k, n) in km from positions with probabilities (n,).

    Two positions 111.2 km apart hold 0.7 and 0.3; exp(-d / 200 km) is the utility:

    >>> expected_utility(np.array([[0.0, 111.2], [111.2, 0.0]]), np.array([0.7, 0.3]), {200.0: 1.0}).round(3).tolist()
    [0.872, 0.701]
    """
    total = np.zeros(len(away_km))
    for scale_km, weight in utility.items():
        total += weight * (decay(away_km, scale_km) @ mass)
    return total
