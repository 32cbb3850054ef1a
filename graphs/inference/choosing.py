"""The point rule: which position of the posterior to answer, and whose coordinates it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agents.schemas import Evidence, EvidenceKind, Hypothesis, Origin, PointSource
from geo.point import Point
from geo.sphere import distance_km
from graphs.inference.posterior import Floats, Support
from graphs.inference.sight import SightReading
from retrieval.candidate import AtlasKind, Candidate

_OF_ORIGIN = {
    Origin.MODEL: PointSource.MODEL,
    Origin.REGION: PointSource.REGION_CENTRE,
    Origin.PLACE_NAME: PointSource.NAMED_PLACE,
    Origin.PERSON: PointSource.PERSON,
}
_OF_ATLAS = {AtlasKind.PHOTO: PointSource.RETRIEVED_PHOTO, AtlasKind.GPS: PointSource.RETRIEVED_PLACE}


class Choice(NamedTuple):
    """A position of the posterior: its row, its point, and the index of the hypothesis that owns it."""

    row: int
    point: Point
    owner: int


def choose(support: Support, utility: Mapping[float, float]) -> Choice:
    """The hypotheses' position of greatest expected utility, the first on a tie.

    Only positions that an open hypothesis owns are answered: the prior says where photos are taken,
    not where this one was, and a candidate outside every hypothesis has nobody who would explain it.

    Raises:
        ValueError: no hypothesis owns a position.
    """
    eligible = np.flatnonzero((support.weight > 0.0) & (support.owner >= 0))
    if not len(eligible):
        raise ValueError("no hypothesis owns a position")
    scores = expected_utility(support.lat_lon_deg[eligible], support, utility)
    best = int(eligible[int(np.flatnonzero(scores >= scores.max() - 1e-12)[0])])
    lat, lon = support.lat_lon_deg[best]
    return Choice(best, Point(lat=float(lat), lon=float(lon)), int(support.owner[best]))


def expected_utility(targets_deg: Floats, support: Support, utility: Mapping[float, float]) -> Floats:
    """Expected utility (k,) of answering each of k positions (k, 2) under the posterior.

    Two positions a degree of latitude (111.2 km) apart hold 0.7 and 0.3 of the weight; exp(−d / 200 km) is the utility:

    >>> where = np.array([[0.0, 0.0], [1.0, 0.0]])
    >>> support = Support(where, np.array([0.7, 0.3]), np.zeros(2), np.array([0, 1]))
    >>> expected_utility(where, support, {200.0: 1.0}).round(3).tolist()
    [0.872, 0.701]
    >>> round(0.7 + 0.3 * float(np.exp(-111.2 / 200)), 3)
    0.872
    """
    away_km = np.hypot(distance_km(targets_deg[:, None, :], support.lat_lon_deg[None, :, :]), support.spread_km)
    gain = sum((a * np.exp(-away_km / s) for s, a in utility.items()), np.zeros_like(away_km))
    return np.asarray(gain @ support.weight)


def source_of(
    choice: Choice, candidates: Sequence[Candidate], hypotheses: Sequence[Hypothesis], evidence: Sequence[Evidence]
) -> PointSource:
    """Whose coordinates the chosen position is: rows of a support are candidates first, then hypotheses' own points."""
    if choice.row < len(candidates):
        return _OF_ATLAS[candidates[choice.row].kind]
    hypothesis = hypotheses[choice.row - len(candidates)]
    if hypothesis.origin is Origin.MODEL and is_named_on_a_sign(hypothesis.id, evidence):
        return PointSource.NAMED_PLACE
    return _OF_ORIGIN[hypothesis.origin]


def is_named_on_a_sign(hypothesis_id: str, evidence: Sequence[Evidence]) -> bool:
    """Whether a name read in the photo speaks for a hypothesis."""
    named = (e.log_likelihood_ratio.get(hypothesis_id, 0.0) for e in evidence if e.kind is EvidenceKind.PLACE_NAME)
    return any(nats > 0.0 for nats in named)


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
