"""All scores of one system: from arrays to a score that JSON can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from core.frozen import Frozen
from evals.scores import distance, reliability
from evals.scores.arrays import COSTS, ScoreArrays, System
from evals.scores.distance import Interval
from evals.scores.reliability import Coverage, ReliabilityBin
from geo.sphere import Floats

CURVE_POINTS = 100
AREA_BUDGETS_KM2 = np.geomspace(1.0, reliability.EARTH_AREA_KM2, 49)
RISK_THRESHOLDS_KM = (25.0, 200.0, 750.0, 2500.0)
PER_DOLLAR_KM = 25.0
"""Answers per dollar are counted within this distance."""


class Curve(Frozen):
    """A line of a chart."""

    x: tuple[float, ...]
    y: tuple[float, ...]


class NamedShare(Frozen):
    """How many answers name the true country, region or city."""

    right: Interval
    photos: int = Field(description="photos whose true place has such a name: the denominator")


class Stratum(Frozen):
    """A part of the photos."""

    name: str
    value: str
    photos: int
    accuracy: dict[float, Interval] = Field(description="by threshold in km")
    geoscore: float
    median_km: float | None


class Score(Frozen):
    """All that is measured of one system. Intervals are [estimate, low, high] at 95 %."""

    label: str
    strategy: str
    model: str
    encoder: str
    heading: str = Field(description="benchmark, protocol, and whether it is only a part")
    photos: int = Field(description="the denominator: every photo, answered or not")
    photographers: int
    outcomes: dict[str, int]
    flagged: dict[str, int]
    accuracy: dict[float, Interval] = Field(description="by threshold in km; Wilson intervals")
    median_km: float | None = Field(description="no answer is infinitely far; None: infinite")
    mean_km: float = Field(description="no answer counts as 20,015 km")
    geoscore: Interval = Field(description="mean of 5000·exp(-d/1492.7); bootstrap over photographers")
    named: dict[str, NamedShare] = Field(description="by country, region, city")
    coverage_50: Coverage | None
    coverage_90: Coverage | None
    calibration_error: float | None = Field(description="of the confidence that the truth is in the named hypothesis")
    reliability: tuple[ReliabilityBin, ...]
    risk_area: dict[float, float] = Field(description="area under risk-coverage by threshold in km; lower is better")
    risk_curve: dict[float, Curve] = Field(description="share answered against share wrong")
    recall_area: Curve = Field(description="area searched in km2 against share of photos found")
    cost_per_photo: dict[str, float]
    hits_per_usd: float | None = Field(description=f"answers within {PER_DOLLAR_KM:g} km per US dollar; None: free")
    strata: tuple[Stratum, ...]


def score(system: System) -> Score:
    """Everything about one system."""
    arrays, info = system.arrays, system.info
    away_km = arrays.distance_km
    return Score(
        label=system.label,
        strategy=system.strategy,
        model=info.model,
        encoder=info.encoder,
        heading=info.heading(),
        photos=len(away_km),
        photographers=len(np.unique(arrays.author)),
        outcomes=dict(Counter(arrays.outcome.tolist())),
        flagged=arrays.flagged,
        accuracy=_accuracy(away_km, info.thresholds_km),
        median_km=_finite_or_none(distance.median_km(away_km)),
        mean_km=distance.mean_km(away_km),
        geoscore=distance.clustered_bootstrap(distance.geoscore(away_km), arrays.author),
        named=_named(arrays),
        coverage_50=reliability.coverage(away_km, arrays.radius_50_km),
        coverage_90=reliability.coverage(away_km, arrays.radius_90_km),
        **_confidence(arrays),
        recall_area=_curve(*reliability.recall_at_areas(arrays.area_needed_km2, AREA_BUDGETS_KM2)),
        cost_per_photo={name: float(arrays.cost[name].mean()) for name in COSTS},
        hits_per_usd=_hits_per_usd(arrays),
        strata=tuple(_strata(arrays, info.thresholds_km)),
    )


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _accuracy(away_km: Floats, thresholds_km: Sequence[float]) -> dict[float, Interval]:
    return {km: distance.accuracy_interval(away_km, km) for km in thresholds_km}


def _named(arrays: ScoreArrays) -> dict[str, NamedShare]:
    found = {}
    for level, (right, named) in arrays.places.items():
        if named.any():
            interval = distance.wilson_interval(int(right.sum()), int(named.sum()))
            found[level] = NamedShare(right=interval, photos=int(named.sum()))
    return found


def _confidence(arrays: ScoreArrays) -> dict[str, object]:
    stated = np.isfinite(arrays.confidence)
    confidence, right = arrays.confidence[stated], arrays.claim_right[stated]
    curves = {km: reliability.risk_coverage(arrays.confidence, _losses(arrays, km)) for km in RISK_THRESHOLDS_KM}
    return {
        "calibration_error": reliability.expected_calibration_error(confidence, right) if stated.any() else None,
        "reliability": tuple(reliability.reliability_bins(confidence, right)),
        "risk_area": {km: curve.area for km, curve in curves.items()},
        "risk_curve": {km: _curve(curve.coverage, curve.risk) for km, curve in curves.items()},
    }


def _losses(arrays: ScoreArrays, threshold_km: float) -> Floats:
    return np.where(distance.hits(arrays.distance_km, threshold_km), 0.0, 1.0)


def _curve(x: Floats, y: Floats) -> Curve:
    """At most 100 points of a line, the ends among them."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), CURVE_POINTS)).round().astype(int))
    return Curve(x=tuple(x[keep].round(6).tolist()), y=tuple(y[keep].round(6).tolist()))


def _hits_per_usd(arrays: ScoreArrays) -> float | None:
    spent = float(arrays.cost["usd"].sum())
    return float(distance.hits(arrays.distance_km, PER_DOLLAR_KM).sum()) / spent if spent else None


def _strata(arrays: ScoreArrays, thresholds_km: Sequence[float]) -> list[Stratum]:
    return [
        _stratum(arrays, name, value, thresholds_km)
        for name, values in arrays.strata.items()
        for value in np.unique(values).tolist()
    ]


def _stratum(arrays: ScoreArrays, name: str, value: str, thresholds_km: Sequence[float]) -> Stratum:
    away_km = arrays.distance_km[arrays.strata[name] == value]
    return Stratum(
        name=name,
        value=value,
        photos=len(away_km),
        accuracy=_accuracy(away_km, thresholds_km),
        geoscore=float(distance.geoscore(away_km).mean()),
        median_km=_finite_or_none(distance.median_km(away_km)),
    )
