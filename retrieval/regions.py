"""The geographic clustering reranker: from candidates to regions. Pure functions of their arguments.

1. Only the 20 most similar candidates vote; their weights fall exponentially with similarity (`vote_weights`).
2. Candidates within `eps` of each other are neighbours. `eps` is half the median distance from a voter to the
   nearest other one, kept between 25 and 200 km: dense lists are split finely, scattered ones coarsely.
3. Each candidate climbs to the neighbour with the most weight around it, until it is its own (quick shift, Vedaldi
   and Soatto 2008). Those that arrive at the same peak are a region.
4. A region's support is its mass plus all mass within 750 km of its centre, as two towns of one country
   speak for each other; a lone candidate's support is cut by a quarter. Regions come in the order of their support.

docs/regions.md says how the numbers were chosen, on training photos only. The arithmetic is in plain Python where
lists are short: a NumPy call costs as much as twenty steps of a loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import repeat
from math import dist
from operator import itemgetter, mul
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from geo.point import Point
from geo.sphere import EARTH_RADIUS_KM, Floats, distance_km, unit_vectors
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

_COSINE_NEARBY = math.cos(NEARBY_KM / EARTH_RADIUS_KM)
_STEPS = float(1 << 24)
"""Weights are whole numbers of this fraction of the total: sums are exact, so equals tie in any order."""


class Ranking(NamedTuple):
    """k regions of candidates as plain numbers, most supported first; candidates are places in the list."""

    centre: tuple[int, ...]
    """The candidate in the middle of each region: its similarity-weighted spherical medoid."""
    radius_km: tuple[float, ...]
    """Within which nine tenths of the region's weight lie."""
    members: tuple[list[int], ...]
    """The candidates with weight, the heaviest first."""
    mass: tuple[float, ...]
    """Share of all weight."""
    isolated: tuple[bool, ...]
    """Whether it is a lone candidate."""


def vote_weights(similarity: ArrayLike) -> Floats:
    """Weights (n,) in [0, 1] from similarities (n,) of one atlas: 1 for the best, 0 for all but the first 20.

    They depend on the similarities' differences alone, not on their scale, which encoders are free to choose.
    """
    similarities = np.asarray(similarity, dtype=np.float64)
    weights = np.zeros(len(similarities))
    voters = np.argsort(-similarities, kind="stable")[:VOTERS]
    if len(voters):
        weights[voters] = _falling(similarities[voters])
    return weights


def _falling(descending: Floats) -> Floats:
    """Weights (v,) of the voters from their similarities, the best first."""
    best = descending.item(0)
    gap = best - descending.item(-1)
    return np.exp((descending - best) * (1.0 / (SOFTNESS * gap) if gap > 1e-12 else 0.0))


def cluster_similar(lat_lon_deg: ArrayLike, similarity: ArrayLike, *, eps_km: float | None = None) -> Ranking:
    """Regions of the 20 best candidates of one atlas at positions (n, 2) with similarities (n,): the fast way.

    The same as `cluster(lat_lon_deg, vote_weights(similarity))`.

    Raises:
        ValueError: no candidates, similarities of another length or not finite.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64)
    similarities = np.asarray(similarity, dtype=np.float64)
    _check_shapes(positions, similarities)
    voters = (-similarities).argsort(kind="stable")[:VOTERS]
    weight = _falling(similarities.take(voters))
    total = float(np.add.reduce(weight))
    if not math.isfinite(total):
        raise ValueError("similarities must be finite")
    return _ranked(positions.take(voters, axis=0), voters.tolist(), np.ceil(weight * (_STEPS / total)), eps_km)


def cluster(lat_lon_deg: ArrayLike, weights: ArrayLike, *, eps_km: float | None = None) -> Ranking:
    """Regions of those candidates at positions (n, 2) that have weight (n,), most supported first.

    Each is a member of exactly one region. Equal regions keep the order of their first candidates. `eps_km`
    overrides the adaptive rule.

    Raises:
        ValueError: no candidates, weights of another length, negative, not finite or all zero.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64)
    weight = np.asarray(weights, dtype=np.float64)
    _check_shapes(positions, weight)
    total = float(weight.sum())
    if not (0.0 < total < math.inf) or float(weight.min()) < 0.0:
        raise ValueError("weights must be finite, none negative and not all zero")
    # Rounded up, so that what is not zero does not become zero.
    weight = np.ceil(weight * (_STEPS / total))
    voters = np.argsort(-weight, kind="stable")[: np.count_nonzero(weight)]
    return _ranked(positions.take(voters, axis=0), voters.tolist(), weight[voters], eps_km)


def _check_shapes(positions: Floats, values: Floats) -> None:
    if positions.shape != (len(values), 2) or not len(values):
        raise ValueError(f"{positions.shape} positions and {values.shape} weights are no list of candidates")


def _ranked(positions: Floats, places: list[int], weight: Floats, eps_km: float | None) -> Ranking:
    """Regions of candidates with whole weights (v,), the heaviest first."""
    vectors = unit_vectors(positions)
    nearby, up = _neighbourhoods(vectors, weight, eps_km)
    weights, corners = weight.tolist(), vectors.tolist()
    total = sum(weights)
    # Sorted by support, then by the first candidate; no two regions share one.
    found: list[tuple[float, int, int, float, list[int], float, bool]] = []
    for group in _groups(up):
        first = group[0]
        if len(group) == 1:
            mass, place = weights[first], places[first]
            support = ISOLATED_SHARE * (mass + nearby[first])
            found.append((-support, place, place, 0.0, [place], mass / total, True))
        else:
            of_group = itemgetter(*group)
            mass, radius_km, middle = _middle(of_group(corners), of_group(weights))
            members = list(of_group(places))
            support = mass + nearby[group[middle]]
            found.append((-support, min(members), members[middle], radius_km, members, mass / total, False))
    found.sort()
    _, _, *columns = zip(*found, strict=True)
    return Ranking(*columns)


def _neighbourhoods(vectors: Floats, weight: Floats, eps_km: float | None) -> tuple[list[float], list[int]]:
    """Weight within 750 km of each candidate; the neighbour each climbs to, or itself."""
    cosines = vectors.dot(vectors.T)
    diagonal = cosines.ravel()[:: len(cosines) + 1]
    eps = _eps_km(cosines, diagonal) if eps_km is None else eps_km
    # Rounding may put a candidate a hair away from itself.
    diagonal[:] = 2.0
    near = cosines >= math.cos(eps / EARTH_RADIUS_KM)
    nearby = (cosines >= _COSINE_NEARBY).dot(weight)
    return nearby.tolist(), (near * (near.dot(weight) + nearby)).argmax(axis=1).tolist()


def _eps_km(cosines: Floats, diagonal: Floats) -> float:
    """Half the median distance from a voter to the nearest other voter, within bounds; spoils the diagonal."""
    diagonal[:] = -1.0
    closest = np.maximum.reduce(cosines)
    closest.sort()
    median_km = EARTH_RADIUS_KM * math.acos(max(-1.0, min(1.0, closest.item(len(closest) // 2))))
    return min(max(EPS_SHARE * median_km, LEAST_EPS_KM), MOST_EPS_KM)


def _groups(up: list[int]) -> Iterable[list[int]]:
    """The candidates that climb to each peak, in their order."""
    groups: dict[int, list[int]] = {}
    for i, higher in enumerate(up):
        while up[higher] != higher:
            higher = up[higher]
        if higher in groups:
            groups[higher].append(i)
        else:
            groups[higher] = [i]
    return groups.values()


def _middle(corners: Sequence[Sequence[float]], weights: Sequence[float]) -> tuple[float, float, int]:
    """Mass, the radius in km that holds 90 % of it, and the medoid of two candidates or more, the heaviest first."""
    mass = sum(weights)
    enough = RADIUS_SHARE * mass
    if weights[0] >= enough:
        return mass, 0.0, 0
    if len(weights) == 2:
        return mass, _chord_km(dist(*corners)), 0
    middle = _medoid(corners, weights, mass)
    outwards = sorted(zip(map(dist, repeat(corners[middle]), corners), weights, strict=False))
    reached = 0
    while enough > outwards[reached][1]:
        enough -= outwards[reached][1]
        reached += 1
    return mass, _chord_km(outwards[reached][0]), middle


def _medoid(corners: Sequence[Sequence[float]], weights: Sequence[float], mass: float) -> int:
    """The place with the least weighted sum of straight-line distances, the first on a tie; the heaviest is first."""
    # By the triangle inequality, nothing is nearer to all than a place with half of the weight.
    if 2.0 * weights[0] >= mass:
        return 0
    moments = [sum(map(mul, map(dist, repeat(corner), corners), weights)) for corner in corners]
    # Within a centimetre, so that equals tie whatever the order of summation.
    least = min(moments) + 1e-9 * mass
    return [moment <= least for moment in moments].index(True)


def _chord_km(chord: float) -> float:
    return 2.0 * EARTH_RADIUS_KM * math.asin(min(1.0, chord / 2.0))


def rank_regions(lat_lon_deg: ArrayLike, weights: ArrayLike, *, eps_km: float | None = None) -> list[Region]:
    """Regions of candidates at positions (n, 2) in degrees with weights (n,), most supported first.

    Every candidate is a member of exactly one region: one without weight joins the region of the nearest candidate
    with weight within 25 km, or is a region of no mass, at the end. No candidates give no regions.

    Raises:
        ValueError: weights of another length, negative, not finite or all zero.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)
    weight = np.asarray(weights, dtype=np.float64)
    if not len(positions) and not len(weight):
        return []
    ranking = cluster(positions, weight, eps_km=eps_km)
    followers, alone = _followers(positions, ranking)
    regions = [
        _region(positions, centre, radius_km, (*members, *joined), mass, isolated)
        for (centre, radius_km, members, mass, isolated), joined in zip(
            zip(*ranking, strict=True), followers, strict=True
        )
    ]
    return regions + [_region(positions, i, 0.0, (i,), 0.0, True) for i in alone]


def _followers(positions: Floats, ranking: Ranking) -> tuple[list[list[int]], list[int]]:
    """Candidates without weight: those near a member of each region, and those near none."""
    region_of = {place: k for k, members in enumerate(ranking.members) for place in members}
    mute = [i for i in range(len(positions)) if i not in region_of]
    followers: list[list[int]] = [[] for _ in ranking.members]
    if not mute:
        return followers, []
    voters = list(region_of)
    km = distance_km(positions[mute][:, None], positions[voters])
    nearest = km.argmin(axis=1).tolist()
    is_near = (km.min(axis=1) <= LEAST_EPS_KM).tolist()
    for i, voter, near in zip(mute, nearest, is_near, strict=True):
        if near:
            followers[region_of[voters[voter]]].append(i)
    return followers, [i for i, near in zip(mute, is_near, strict=True) if not near]


def _region(
    positions: Floats, centre: int, radius_km: float, members: tuple[int, ...], mass: float, isolated: bool
) -> Region:
    lat, lon = positions[centre].tolist()
    point = Point(lat=lat, lon=lon)
    return Region(centre=point, radius_km=radius_km, members=members, mass=mass, isolated=isolated)
