"""The geographic clustering reranker: from candidates to regions on the sphere. Pure functions, deterministic.

The constants were chosen on training photos only; docs/results.md has the comparison with the published recipe.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geo.point import Point
from geo.sphere import Floats, distance_km
from retrieval.candidate import Region

VOTERS = 20
SOFTNESS = 0.4
"""Of the gap in similarity between the first and the last voter: where a weight has fallen to 1/e."""

EPS_SHARE = 0.5
LEAST_EPS_KM = 25.0
MOST_EPS_KM = 200.0
NEARBY_KM = 750.0
ISOLATED_SHARE = 0.75
RADIUS_SHARE = 0.9
SAME_PLACE_KM = 1e-5

_WEIGHT_STEPS = float(1 << 24)
"""Weights are whole numbers of this fraction of the total: sums are exact, so equals tie in any order."""


def vote_weights(similarity: ArrayLike) -> Floats:
    """Weights (n,) in [0, 1] from similarities (n,) of one atlas: 1 for the best, 0 for all but the first 20.

    They depend on the similarities' differences alone, not on their scale, which encoders are free to choose.

    >>> vote_weights([0.9, 0.7, 0.5]).round(3)
    array([1.   , 0.287, 0.082])
    """
    similarities = np.asarray(similarity, dtype=np.float64)
    weights = np.zeros(len(similarities))
    voters = np.argsort(-similarities, kind="stable")[:VOTERS]
    if len(voters):
        below_best = similarities[voters] - similarities[voters[0]]
        gap = -below_best[-1]
        weights[voters] = np.exp(below_best / (SOFTNESS * gap)) if gap > 1e-12 else 1.0
    return weights


def rank_regions(lat_lon_deg: ArrayLike, weights: ArrayLike, *, eps_km: float | None = None) -> list[Region]:
    """Regions of candidates at positions (n, 2) in degrees with weights (n,), most supported first.

    1. Candidates with weight vote. Voters within `eps_km` of each other are neighbours; by default it is half the
       median distance from a voter to the nearest other one, between 25 and 200 km.
    2. Each voter climbs to the neighbour with the most weight around it, until it is its own (quick shift, Vedaldi
       and Soatto 2008). Those that arrive at the same peak are a region, whose centre is its weighted medoid.
    3. A region's support is its mass plus all mass within 750 km of its centre, so that two towns of one country
       support each other; a lone candidate's support is cut by a quarter.
    4. Every candidate is a member of exactly one region: one without weight joins the region of the nearest voter
       within 25 km, or is a region of no mass, at the end.

    Regions of equal support keep the order of their first candidates. No candidates give no regions.

    Two neighbouring towns near Paris outweigh a lone candidate in Lima, though that one is the heaviest:

    >>> positions = [(-12.05, -77.04), (48.86, 2.35), (48.80, 2.13), (48.86, 2.40)]
    >>> for region in rank_regions(positions, [0.4, 0.3, 0.2, 0.1]):
    ...     print(region.members, f"{region.mass:.1f} of the weight within {region.radius_km:.1f} km")
    (1, 2, 3) 0.6 of the weight within 17.4 km
    (0,) 0.4 of the weight within 0.0 km

    Raises:
        ValueError: weights of another length, negative, not finite or all zero.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)
    if not len(positions) and not np.size(weights):
        return []
    weight = _whole_weights(weights, len(positions))
    voters = np.argsort(-weight, kind="stable")[: np.count_nonzero(weight)]
    to_voter_km = distance_km(positions[:, None], positions[voters])
    km, mass = to_voter_km[voters], weight[voters]
    nearby = (km <= NEARBY_KM) @ mass
    peaks = _peaks(km, mass, nearby, eps_km)
    silent = np.flatnonzero(weight == 0.0)
    nearest_voter = to_voter_km[silent].argmin(axis=1)
    joins = to_voter_km[silent].min(axis=1) <= LEAST_EPS_KM

    ranked = []
    for peak in np.unique(peaks):
        group = np.flatnonzero(peaks == peak)
        middle, radius_km = _middle(km[np.ix_(group, group)], mass[group])
        is_alone = len(group) == 1
        support = (mass[group].sum() + nearby[group[middle]]) * (ISOLATED_SHARE if is_alone else 1.0)
        followers = silent[joins & (peaks[nearest_voter] == peak)]
        region = Region(
            centre=_point(positions[voters[group[middle]]]),
            radius_km=radius_km,
            members=(*voters[group].tolist(), *followers.tolist()),
            mass=mass[group].sum() / mass.sum(),
            isolated=is_alone,
        )
        ranked.append((-support, voters[group].min(), region))
    ranked.sort(key=lambda row: row[:2])
    without_mass = [
        Region(centre=_point(positions[i]), radius_km=0.0, members=(i,), mass=0.0, isolated=True)
        for i in silent[~joins].tolist()
    ]
    return [region for *_, region in ranked] + without_mass


def _whole_weights(weights: ArrayLike, count: int) -> Floats:
    """The weights (count,) as whole numbers, rounded up so that what is not zero does not become zero."""
    weight = np.asarray(weights, dtype=np.float64)
    if weight.shape != (count,):
        raise ValueError(f"{count} positions and weights of shape {weight.shape} are no list of candidates")
    total = weight.sum()
    if not 0.0 < total < np.inf or weight.min() < 0.0:
        raise ValueError("weights must be finite, none negative and not all zero")
    return np.asarray(np.ceil(weight * (_WEIGHT_STEPS / total)))


def _peaks(km: Floats, weight: Floats, nearby: Floats, eps_km: float | None) -> NDArray[np.intp]:
    """The voter (v,) at the top of each voter's climb, from distances (v, v), the heaviest voter first."""
    if eps_km is None:
        others = km + np.diag(np.full(len(km), np.inf))
        closest = np.sort(others.min(axis=1))[(len(km) - 1) // 2]
        eps_km = float(np.clip(EPS_SHARE * closest, LEAST_EPS_KM, MOST_EPS_KM))
    near = km <= eps_km
    uphill: NDArray[np.intp] = np.where(near, near @ weight + nearby, 0.0).argmax(axis=1)
    while not np.array_equal(uphill[uphill], uphill):
        uphill = uphill[uphill]
    return uphill


def _middle(km: Floats, weight: Floats) -> tuple[int, float]:
    """The weighted medoid of m candidates with distances (m, m), and the radius in km with 90 % of their weight."""
    moments = km @ weight
    middle = int(np.argmax(moments <= moments.min() + SAME_PLACE_KM * weight.sum()))
    outwards = np.argsort(km[middle], kind="stable")
    reached = np.searchsorted(weight[outwards].cumsum(), RADIUS_SHARE * weight.sum())
    return middle, float(km[middle, outwards[reached]])


def _point(lat_lon_deg: Floats) -> Point:
    return Point(lat=float(lat_lon_deg[0]), lon=float(lat_lon_deg[1]))
