"""Hypotheses: the modes of a belief and the places somebody raised, each with the probability it holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from belief.kernels import chord_distance_km, decay
from belief.posterior import Belief, evenly, weighted_quantile
from belief.support import Disc, Support
from geo.sphere import Floats

MODE_WITHIN_KM = 500.0
"""Probability that lies this near together is one mode."""

BANDWIDTH_KM = 100.0
"""A mode is where the belief, smoothed by exp(-d / 100 km), is densest; set by hand."""

MODE_SHARE = 0.8
"""A mode's radius holds this share of it."""

CENTRES = 64
"""Positions that are tried as the centre of a mode, spread evenly over the belief."""

LEAST_MODE_RADIUS_KM = 1.0

MIN_MODE_MASS = 0.03
"""Less is not worth a line in a table; set by hand."""

NOBODY = -1


def owners(support: Support, circles: Sequence[Disc]) -> NDArray[np.intp]:
    """For each position of a support the circle of least radius that contains it, or NOBODY: shape (n,).

    >>> from belief.support import make_support
    >>> support = make_support([(48.86, 2.34), (38.72, -9.14)])
    >>> owners(support, [Disc(48.86, 2.34, 300.0), Disc(48.86, 2.34, 5.0)])[:2].tolist()
    [1, -1]
    """
    if not circles:
        return np.full(len(support.prior_mass), NOBODY, dtype=np.intp)
    radius_km = np.array([max(LEAST_MODE_RADIUS_KM, circle.radius_km) for circle in circles])
    inside = support.distance_km([circle[:2] for circle in circles]) <= radius_km
    finest = np.where(inside, radius_km, np.inf).argmin(axis=1)
    return np.where(inside.any(axis=1), finest, NOBODY).astype(np.intp)


def held_by(mass: Floats, owner: NDArray[np.intp], count: int) -> Floats:
    """Probability (count,) that each of some circles holds."""
    return np.asarray(np.bincount(owner[owner >= 0], weights=mass[owner >= 0], minlength=count)[:count], np.float64)


def log_bayes_factors(mass: Floats, mass_without: Floats, owner: NDArray[np.intp], count: int) -> Floats:
    """How much a witness raised the log-odds of each circle (count,), against all else, in nats.

    >>> owner = np.array([0, -1])
    >>> log_bayes_factors(np.array([0.8, 0.2]), np.array([0.5, 0.5]), owner, 1).round(3).tolist()
    [1.386]
    """
    with_it, without_it = held_by(mass, owner, count), held_by(mass_without, owner, count)
    return _log_odds(with_it) - _log_odds(without_it)


def _log_odds(share: Floats) -> Floats:
    bounded = np.clip(share, 1e-12, 1.0 - 1e-12)
    return np.asarray(np.log(bounded / (1.0 - bounded)))


def find_modes(belief: Belief, known: Sequence[Disc], most: int) -> list[Disc]:
    """Modes that no known circle covers, the heaviest first: at most so many, each with 3 % of the belief or more.

    A mode's centre is the position that most of the probability still free lies near; its radius holds 80 % of it.

    >>> from belief.support import make_support
    >>> lisbon = (38.72, -9.14)
    >>> support = make_support([lisbon])
    >>> belief = Belief(support, {}, {"seen": -support.distance_km(lisbon)[:, 0] / 5.0})
    >>> first = find_modes(belief, known=[], most=8)[0]
    >>> bool(support.distance_km(first[:2])[0, 0] < 10.0), find_modes(belief, known=[Disc(*lisbon, 500.0)], most=8)
    (True, [])
    """
    free = np.where(owners(belief.support, known) == NOBODY, belief.mass, 0.0)
    found: list[Disc] = []
    # Of what is left, centres are tried anew: that the modes found are known finds no further ones.
    while len(found) < most and (more := _modes_from_centres(belief.support, free, most - len(found))):
        found += more
        free = np.where(owners(belief.support, more) == NOBODY, free, 0.0)
    return found


def _modes_from_centres(support: Support, free: Floats, most: int) -> list[Disc]:
    """Modes of the free probability (n,) around positions spread evenly over it."""
    found: list[Disc] = []
    if free.sum() < MIN_MODE_MASS:
        return found
    centres = np.unique(evenly(free, CENTRES))
    away_km = chord_distance_km(support.unit[centres], support.unit)
    near = decay(away_km, BANDWIDTH_KM)
    while len(found) < most:
        best = int(np.where(free[centres] > 0.0, near @ free, 0.0).argmax())
        around = np.where(away_km[best] <= MODE_WITHIN_KM, free, 0.0)
        if around.sum() < MIN_MODE_MASS:
            break
        radius_km = max(LEAST_MODE_RADIUS_KM, weighted_quantile(away_km[best], around, MODE_SHARE))
        lat, lon = support.lat_lon_deg[centres[best]]
        found.append(Disc(float(lat), float(lon), radius_km))
        free = np.where(away_km[best] <= radius_km, 0.0, free)
    return found
