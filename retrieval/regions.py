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
from collections.abc import Sequence
from itertools import repeat
from math import dist
from operator import mul
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geo.point import Point
from geo.sphere import EARTH_RADIUS_KM, Floats, lat_lon_array, unit_vectors
from retrieval.candidate import Candidate, Region

Indices = NDArray[np.int64]

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


class Cluster(NamedTuple):
    """A region as plain numbers; candidates are named by their position in the list."""

    centre: int
    radius_km: float
    members: tuple[int, ...]
    mass: float
    isolated: bool


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
    gap = float(descending[0] - descending[-1])
    return np.asarray(np.exp((descending - descending[0]) * (1.0 / (SOFTNESS * gap) if gap > 1e-12 else 0.0)))


def cluster_similar(lat_lon_deg: ArrayLike, similarity: ArrayLike, *, eps_km: float | None = None) -> Ranking:
    """Regions of candidates of one atlas at positions (n, 2) with similarities (n,): the fast way.

    The same as `cluster(lat_lon_deg, vote_weights(similarity))`.

    Raises:
        ValueError: no candidates, similarities of another length or not finite.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64)
    similarities = np.asarray(similarity, dtype=np.float64)
    _check_shapes(positions, similarities)
    voters = np.argsort(-similarities, kind="stable")
    weight = _falling(similarities[voters[:VOTERS]])
    total = float(weight.sum())
    if not math.isfinite(total):
        raise ValueError("similarities must be finite")
    weight = np.ceil(weight * (_STEPS / total))
    return _ranked(unit_vectors(positions), voters[: len(weight)], weight, voters[VOTERS:], eps_km)


def cluster(lat_lon_deg: ArrayLike, weights: ArrayLike, *, eps_km: float | None = None) -> Ranking:
    """Regions of candidates at positions (n, 2) with weights (n,), most supported first.

    Every candidate is a member of exactly one region. Equal regions keep the order of their first candidates.
    `eps_km` overrides the adaptive rule.

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
    voters = np.argsort(-weight, kind="stable")
    count = int(np.count_nonzero(weight))
    return _ranked(unit_vectors(positions), voters[:count], weight[voters[:count]], voters[count:], eps_km)


def _check_shapes(positions: Floats, values: Floats) -> None:
    if positions.shape != (len(values), 2) or not len(values):
        raise ValueError(f"{positions.shape} positions and {values.shape} weights are no list of candidates")


def _ranked(vectors: Floats, voters: Indices, weight: Floats, mute: Indices, eps_km: float | None) -> Ranking:
    """Regions of voters, the heaviest first, with whole weights (v,), and of candidates without weight."""
    votes = _Votes(voters.tolist(), weight, vectors[voters])
    limit, nearby, up = _neighbourhoods(votes, eps_km)
    followers, silent = _followers(vectors[mute], mute, votes, limit, up) if len(mute) else ({}, [])
    found = _described(votes, nearby, up, followers)
    found.sort()
    return Ranking([region for _, _, region in found], silent)


class Ranking(NamedTuple):
    """Regions, most supported first, and candidates that have no weight and no voter near: a region each, last.

    The latter keep the order of their similarity.
    """

    regions: list[Cluster]
    silent: list[int]


class _Votes(NamedTuple):
    """The v candidates that have weight, the heaviest first: places in the list, weights (v,), unit vectors (v, 3)."""

    places: list[int]
    weight: Floats
    vectors: Floats


def _neighbourhoods(votes: _Votes, eps_km: float | None) -> tuple[float, list[float], list[int]]:
    """Cosine of eps; weight within 750 km of each voter; the peak each voter climbs to."""
    cosines = votes.vectors @ votes.vectors.T
    diagonal = cosines.ravel()[:: len(cosines) + 1]
    limit = math.cos((_eps_km(cosines, diagonal) if eps_km is None else eps_km) / EARTH_RADIUS_KM)
    # Rounding may put a candidate a hair away from itself.
    diagonal[:] = 2.0
    near = cosines >= limit
    wide = (cosines >= _COSINE_NEARBY) * 1.0
    up = (near * ((near + wide) @ votes.weight)).argmax(axis=1).tolist()
    for i, higher in enumerate(up):
        while up[higher] != higher:
            higher = up[higher]
        up[i] = higher
    return limit, (wide @ votes.weight).tolist(), up


def _eps_km(cosines: Floats, diagonal: Floats) -> float:
    """Half the median distance from a voter to the nearest other voter, within bounds; spoils the diagonal."""
    diagonal[:] = -1.0
    closest = cosines.max(axis=1)
    closest.sort()
    median_km = EARTH_RADIUS_KM * math.acos(max(-1.0, min(1.0, closest[len(closest) // 2])))
    return min(max(EPS_SHARE * median_km, LEAST_EPS_KM), MOST_EPS_KM)


def _followers(
    vectors: Floats, mute: Indices, votes: _Votes, limit: float, up: list[int]
) -> tuple[dict[int, list[int]], list[int]]:
    """Candidates without weight: those near a voter, by the peak the nearest voter climbs to, and the others."""
    cosines = vectors @ votes.vectors.T
    nearest = cosines.argmax(axis=1)
    is_near = cosines.ravel().take(nearest + np.arange(0, cosines.size, cosines.shape[1])) >= limit
    followers: dict[int, list[int]] = {}
    for i, voter in zip(mute[is_near].tolist(), nearest[is_near].tolist(), strict=True):
        followers.setdefault(up[voter], []).append(i)
    return followers, mute[~is_near].tolist()


def _described(
    votes: _Votes, nearby: list[float], up: list[int], followers: dict[int, list[int]]
) -> list[tuple[float, int, Cluster]]:
    """Regions after what they are sorted by: support, most first, then their first candidate."""
    places, weights, groups = votes.places, votes.weight.tolist(), _groups(up)
    corners, total = votes.vectors.tolist(), sum(weights)
    found = []
    for peak, group in groups.items():
        middle, others = group[0], followers.get(peak)
        mass, place = weights[middle], places[middle]
        if len(group) == 1 and others is None:
            support = ISOLATED_SHARE * (mass + nearby[middle])
            found.append((-support, place, Cluster(place, 0.0, (place,), mass / total, True)))
            continue
        radius_km = 0.0
        if len(group) > 1:
            middle, mass, radius_km = _middle([corners[i] for i in group], [weights[i] for i in group], group)
        members = (*[places[i] for i in group], *(others or ()))
        region = Cluster(places[middle], radius_km, members, mass / total, False)
        found.append((-mass - nearby[middle], min(members), region))
    return found


def _groups(up: list[int]) -> dict[int, list[int]]:
    """Peak -> the voters that climb to it, in their order."""
    groups: dict[int, list[int]] = {}
    for i, peak in enumerate(up):
        if peak in groups:
            groups[peak].append(i)
        else:
            groups[peak] = [i]
    return groups


def _middle(corners: list[list[float]], weights: list[float], group: list[int]) -> tuple[int, float, float]:
    """Medoid, mass, and the radius in km that holds 90 % of the mass, of a group ordered by weight.

    The medoid has the least weighted sum of straight-line distances, the first on a tie: the heavier one of two.
    """
    mass, middle = sum(weights), 0
    if len(group) > 2:
        moments = [sum(map(mul, map(dist, repeat(corner), corners), weights)) for corner in corners]
        # Within a centimetre, so that equals tie whatever the order of summation.
        least = min(moments) + 1e-9 * mass
        middle = next(i for i, moment in enumerate(moments) if moment <= least)
    outwards = sorted(zip(map(dist, repeat(corners[middle]), corners), weights, strict=False))
    enough, reached = RADIUS_SHARE * mass, 0
    while enough > outwards[reached][1]:
        enough -= outwards[reached][1]
        reached += 1
    return group[middle], mass, 2.0 * EARTH_RADIUS_KM * math.asin(min(1.0, outwards[reached][0] / 2.0))


def rank_regions(lat_lon_deg: ArrayLike, weights: ArrayLike, *, eps_km: float | None = None) -> list[Region]:
    """Regions of candidates at positions (n, 2) in degrees with weights (n,), most supported first.

    Every candidate is a member of exactly one region. No candidates give no regions.

    Raises:
        ValueError: weights of another length, negative, not finite or all zero.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)
    weight = np.asarray(weights, dtype=np.float64)
    if not len(positions) and not len(weight):
        return []
    ranking = cluster(positions, weight, eps_km=eps_km)
    last = [Cluster(i, 0.0, (i,), 0.0, True) for i in ranking.silent]
    return [
        Region(
            centre=Point(lat=float(positions[found.centre, 0]), lon=float(positions[found.centre, 1])),
            radius_km=found.radius_km,
            members=found.members,
            mass=found.mass,
            isolated=found.isolated,
        )
        for found in ranking.regions + last
    ]


def candidate_weights(candidates: Sequence[Candidate]) -> Floats:
    """Weights (n,) of candidates from any number of atlases, each of which has the same say.

    Similarities are compared within an atlas only.
    """
    atlases = np.array([candidate.atlas for candidate in candidates])
    similarities = np.array([candidate.similarity for candidate in candidates], dtype=np.float64)
    weights = np.zeros(len(candidates))
    for atlas in dict.fromkeys(atlases.tolist()):
        of_atlas = atlases == atlas
        votes = vote_weights(similarities[of_atlas])
        weights[of_atlas] = votes / votes.sum()
    return weights


def rank_candidates(candidates: Sequence[Candidate], *, eps_km: float | None = None) -> list[Region]:
    """Regions of candidates, most supported first; members index the sequence."""
    return rank_regions(lat_lon_array(c.point for c in candidates), candidate_weights(candidates), eps_km=eps_km)
