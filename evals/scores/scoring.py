"""All scores of one system: from arrays to a score that JSON can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from core.frozen import Frozen
from evals.scores import distance, reliability
from evals.scores.arrays import ScoreArrays, System
from evals.scores.distance import THRESHOLDS_KM, Interval
from evals.scores.reliability import ChanceReliability, Coverage
from geo.sphere import Floats

CURVE_POINTS = 100
AREA_BUDGETS_KM2 = np.geomspace(1.0, reliability.EARTH_AREA_KM2, 49)
TOLD_NATS = 0.1
"""Set by hand: evidence that told less moves no probability by more than 0.23 (Pinsker's inequality)."""
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


class Information(Frozen):
    """What a kind of evidence told, over all photos."""

    nats: Interval = Field(description="mean of a photo; bootstrap over photographers")
    told: Interval = Field(description=f"share of photos that it told more than {TOLD_NATS:g} nats; Wilson interval")


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
    radius_held: dict[int, Interval] = Field(
        description="by percent, 50 and 90: how often the radius holds, over photos that state one; bootstrap over"
        " photographers"
    )
    area_50: Coverage | None
    area_90: Coverage | None
    confidence: ChanceReliability | None = Field(description="at the distance of each answer's level")
    chances: dict[float, ChanceReliability] = Field(description="by distance in km; empty: no chances are stated")
    log_score: Interval | None = Field(description="mean log density at the truth, nats per km2; None: not known")
    selective_area: dict[float, Interval] = Field(description="under accuracy-coverage, by threshold in km")
    selective_curve: dict[float, Curve] = Field(description="share answered against share right, surest first")
    information: dict[str, Information] = Field(description="by kind of evidence; empty: not known")
    recall_area: Curve = Field(description="area searched in km2 against share of photos found")
    cost_per_photo: dict[str, float]
    cost_by_model: dict[str, dict[str, float]] = Field(description="a photo, of each model of a jury")
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
        radius_held=_radius_held(arrays),
        area_50=reliability.area_coverage(arrays.areas[50].inside, arrays.areas[50].area_km2),
        area_90=reliability.area_coverage(arrays.areas[90].inside, arrays.areas[90].area_km2),
        confidence=reliability.chance_reliability(arrays.confidence, arrays.claim_right, arrays.author),
        chances=_chances(arrays),
        log_score=_log_score(arrays),
        **_selective(arrays),
        information=_information(arrays),
        recall_area=_curve(*reliability.recall_at_areas(arrays.area_needed_km2, AREA_BUDGETS_KM2)),
        cost_per_photo=_means(arrays.cost),
        cost_by_model={model: _means(cost) for model, cost in arrays.cost_by_model.items()},
        hits_per_usd=_hits_per_usd(arrays),
        strata=tuple(_strata(arrays, info.thresholds_km)),
    )


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _accuracy(away_km: Floats, thresholds_km: Sequence[float]) -> dict[float, Interval]:
    return {km: distance.accuracy_interval(away_km, km) for km in thresholds_km}


def _radius_held(arrays: ScoreArrays) -> dict[int, Interval]:
    found = {}
    for share, radius_km in ((50, arrays.radius_50_km), (90, arrays.radius_90_km)):
        stated = np.isfinite(radius_km)
        if stated.any():
            held = (arrays.distance_km[stated] <= radius_km[stated]).astype(np.float64)
            found[share] = distance.clustered_bootstrap(held, arrays.author[stated])
    return found


def _named(arrays: ScoreArrays) -> dict[str, NamedShare]:
    found = {}
    for level, (right, named) in arrays.places.items():
        if named.any():
            interval = distance.wilson_interval(int(right.sum()), int(named.sum()))
            found[level] = NamedShare(right=interval, photos=int(named.sum()))
    return found


def _chances(arrays: ScoreArrays) -> dict[float, ChanceReliability]:
    found = {
        km: reliability.chance_reliability(chance, distance.hits(arrays.distance_km, km), arrays.author)
        for km, chance in zip(THRESHOLDS_KM, arrays.chance.T, strict=True)
    }
    return {km: held for km, held in found.items() if held}


def _log_score(arrays: ScoreArrays) -> Interval | None:
    known = np.isfinite(arrays.log_density)
    return distance.clustered_bootstrap(arrays.log_density[known], arrays.author[known]) if known.any() else None


def _selective(arrays: ScoreArrays) -> dict[str, object]:
    areas, curves = {}, {}
    for km in THRESHOLDS_KM:
        right = distance.hits(arrays.distance_km, km)
        curve = reliability.accuracy_coverage(arrays.surest, right)
        draws = reliability.selective_area_draws(arrays.surest, right, arrays.author)
        areas[km] = distance.percentile_interval(curve.area, draws)
        curves[km] = _curve(curve.coverage, curve.accuracy)
    return {"selective_area": areas, "selective_curve": curves}


def _information(arrays: ScoreArrays) -> dict[str, Information]:
    found = {}
    for kind, every in arrays.information_nats.items():
        known = np.isfinite(every)
        nats, author = every[known], arrays.author[known]
        told = distance.wilson_interval(int((nats > TOLD_NATS).sum()), len(nats))
        found[kind] = Information(nats=distance.clustered_bootstrap(nats, author), told=told)
    return found


def _means(cost: Mapping[str, Floats]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in cost.items()}


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
