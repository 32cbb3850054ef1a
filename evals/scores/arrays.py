"""The records of one strategy of a run as arrays, so that 25,600 photos are scored in seconds.

Distances are computed again from truth and point; those in the records are not trusted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.chat_models.spec import short_name
from agents.schemas import LEVEL_KM, Cost
from core.errors import UserError
from evals.runs.records import PlaceNames, RecordError, RecordStatus, RunInfo, Scored, read_info, read_scores
from evals.scores.distance import THRESHOLDS_KM
from evals.scores.reliability import EARTH_AREA_KM2, cap_area_km2
from geo.places.continents import continent_of
from geo.sphere import Floats, distance_km

Bools = NDArray[np.bool_]
Texts = NDArray[np.str_]

CITY = THRESHOLDS_KM.index(25.0)
COSTS = tuple(Cost.model_fields)
ANYWHERE_LOG_DENSITY = -float(np.log(EARTH_AREA_KM2))
"""Nats per km2 of knowing nothing: what a photo without an answer gets."""
UNKNOWN = "not said"
MANY_VALUES = 12


class PlaceHits(NamedTuple):
    """Whether answers name the true place (n,), and which truths have such a name (n,)."""

    right: Bools
    named: Bools


class AreaColumns(NamedTuple):
    """An area that n answers state: its size, and whether the truth lies in it (1, 0)."""

    area_km2: Floats
    inside: Floats


class ScoreArrays(NamedTuple):
    """n photos of one strategy, in the order of their ids; NaN where a record has no such number."""

    photo: Texts
    author: Texts
    """The photo's own id where the author is unknown: then it is a cluster of its own."""
    outcome: Texts
    truth: Floats
    """(n, 2) degrees, latitude first."""
    point: Floats
    """(n, 2)."""
    distance_km: Floats
    radius_50_km: Floats
    radius_90_km: Floats
    confidence: Floats
    claim_right: Bools
    """The event that the confidence is about: the truth lies within the distance of the answer's level. Without stated
    chances (earlier versions): in the committed hypothesis, if there is one."""
    chance: Floats
    """(n, 5) that the truth lies within each of `THRESHOLDS_KM`."""
    surest: Floats
    """What answers are ranked by: the chance within 25 km; the confidence in runs that state no chances."""
    areas: dict[int, AreaColumns]
    """By percent of the belief, 50 and 90."""
    log_density: Floats
    """At the truth, in nats per km2; NaN where an answer does not say."""
    information_nats: dict[str, Floats]
    """By kind of evidence; 0 where it told nothing or nothing was answered; NaN where an answer does not say."""
    area_needed_km2: Floats
    places: dict[str, PlaceHits]
    """By country, region, city."""
    strata: dict[str, Texts]
    cost: dict[str, Floats]
    cost_by_model: dict[str, dict[str, Floats]]
    """Of a jury; 0 where a model was not asked."""
    flagged: dict[str, int]


class System(NamedTuple):
    """One strategy of one run: a row of every table."""

    label: str
    strategy: str
    run: Path
    info: RunInfo
    arrays: ScoreArrays


def load_systems(runs: Sequence[Path], unfinished: bool = False) -> list[System]:
    """Every strategy of every run folder, labelled so that no two are alike.

    Raises:
        UserError: a folder that is no run, or a run that lacks records and `unfinished` was not asked for.
    """
    found = [system for run in runs for system in _systems_of(run, unfinished)]
    names = Counter(system.label for system in found)
    return [s if names[s.label] == 1 else s._replace(label=f"{s.label}, {s.run.name}") for s in found]


def _systems_of(run: Path, unfinished: bool) -> list[System]:
    info = read_info(run)
    by_strategy: dict[str, list[Scored]] = {name: [] for name in info.strategies}
    for record in read_scores(run):
        by_strategy.setdefault(record.strategy, []).append(record)
    for strategy, records in by_strategy.items():
        _check_complete(run, strategy, records, info, unfinished)
    return [
        System(_label(strategy, info, records), strategy, run, info, score_arrays_of(records))
        for strategy, records in by_strategy.items()
        if records
    ]


def _label(strategy: str, info: RunInfo, records: Sequence[Scored]) -> str:
    """The strategy with the model that it asks; one that asks none goes by its own name. Scores of places say so."""
    asks = any(record.model_status for record in records) or any(record.cost.model_calls for record in records)
    name = f"{strategy} ({short_name(info.model)})" if asks else strategy
    return f"{name}, places by {info.together}" if info.together else name


def _check_complete(run: Path, strategy: str, records: Sequence[Scored], info: RunInfo, unfinished: bool) -> None:
    if len({record.photo for record in records}) != len(records):
        raise RecordError(f"{run} has photos twice under {strategy}: its records were edited; run it again")
    if len(records) != info.photos and not unfinished:
        raise UserError(
            f"{run} has {len(records)} of {info.photos} records of {strategy}: it was cut short; give the same command"
            " again to finish it, or add --unfinished to score what there is"
        )


def score_arrays_of(records: Sequence[Scored]) -> ScoreArrays:
    """Arrays of one strategy's records, sorted by photo."""
    rows = sorted(records, key=lambda record: record.photo)
    truth = _positions([r.truth for r in rows])
    point = _positions([r.point for r in rows])
    away_km = distance_km(truth, point)
    outcome = np.array([r.status.value for r in rows], dtype=np.str_)
    answered = (outcome == RecordStatus.ANSWERED.value) & np.isfinite(away_km)
    claim_right, area = _claims(rows, truth, away_km)
    confidence = np.where(answered, _numbers([r.confidence for r in rows]), np.nan)
    chance = np.where(answered[:, None], _chances(rows), np.nan)
    return ScoreArrays(
        photo=np.array([r.photo for r in rows], dtype=np.str_),
        author=np.array([r.photographer for r in rows], dtype=np.str_),
        outcome=outcome,
        truth=truth,
        point=point,
        distance_km=np.where(answered, away_km, np.nan),
        radius_50_km=_numbers([r.radius_50_km for r in rows]),
        radius_90_km=_numbers([r.radius_90_km for r in rows]),
        confidence=confidence,
        claim_right=claim_right & answered,
        chance=chance,
        surest=confidence if np.isnan(chance[:, CITY]).all() else chance[:, CITY],
        areas=_areas(rows),
        log_density=_log_density(rows),
        information_nats=_information(rows),
        area_needed_km2=np.where(answered, area, np.nan),
        places=_places(rows),
        strata=_strata(rows),
        cost=_costs([r.cost for r in rows]),
        cost_by_model=_costs_by_model(rows),
        flagged=dict(Counter(flag.value for r in rows for flag in r.flags)),
    )


def _positions(points: Sequence[tuple[float, float] | None]) -> Floats:
    return np.array([(np.nan, np.nan) if p is None else p for p in points], dtype=np.float64).reshape(-1, 2)


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _chances(rows: Sequence[Scored]) -> Floats:
    stated = [[r.chance_within_km.get(int(km), np.nan) for km in THRESHOLDS_KM] for r in rows]
    return np.array(stated, dtype=np.float64).reshape(-1, len(THRESHOLDS_KM))


def _areas(rows: Sequence[Scored]) -> dict[int, AreaColumns]:
    return {
        50: AreaColumns(_numbers([r.area_50_km2 for r in rows]), _numbers([r.is_in_area_50 for r in rows])),
        90: AreaColumns(_numbers([r.area_90_km2 for r in rows]), _numbers([r.is_in_area_90 for r in rows])),
    }


def _has_no_answer(rows: Sequence[Scored]) -> Bools:
    return np.array([r.status is not RecordStatus.ANSWERED for r in rows], dtype=np.bool_)


def _log_density(rows: Sequence[Scored]) -> Floats:
    """A photo without an answer counts as knowing nothing, if any of the answers says a density."""
    stated = _numbers([r.log_density for r in rows])
    if np.isnan(stated).all():
        return stated
    return np.where(np.isnan(stated) & _has_no_answer(rows), ANYWHERE_LOG_DENSITY, stated)


def _information(rows: Sequence[Scored]) -> dict[str, Floats]:
    kinds = sorted({kind for r in rows for kind in r.information_nats or ()})
    silent = np.array([r.information_nats is None for r in rows], dtype=np.bool_) & ~_has_no_answer(rows)
    told = {kind: _numbers([(r.information_nats or {}).get(kind, 0.0) for r in rows]) for kind in kinds}
    return {kind: np.where(silent, np.nan, nats) for kind, nats in told.items()}


def _costs(costs: Sequence[Cost]) -> dict[str, Floats]:
    return {name: np.array([getattr(cost, name) for cost in costs], dtype=np.float64) for name in COSTS}


def _costs_by_model(rows: Sequence[Scored]) -> dict[str, dict[str, Floats]]:
    models = sorted({model for r in rows for model in r.cost_by_model})
    return {model: _costs([r.cost_by_model.get(model, Cost()) for r in rows]) for model in models}


def _claims(rows: Sequence[Scored], truth: Floats, away_km: Floats) -> tuple[Bools, Floats]:
    """Whether the event of the confidence holds, and the area searched until the truth is found: both (n,).

    Hypotheses are searched in the answer's order; where none holds the truth, a circle round the answer grows.
    """
    most = max((len(r.hypotheses) for r in rows), default=0) or 1
    discs = np.full((len(rows), most, 3), np.nan)
    for row, record in zip(discs, rows, strict=True):
        if record.hypotheses:
            row[: len(record.hypotheses)] = [(*h.point, h.radius_km) for h in record.hypotheses]
    inside = distance_km(truth[:, None], discs[..., :2]) <= discs[..., 2]
    area = np.cumsum(np.nan_to_num(cap_area_km2(discs[..., 2])), axis=1)
    first = area[np.arange(len(rows)), inside.argmax(axis=1)]
    needed = np.where(inside.any(axis=1), first, area[:, -1] + cap_area_km2(away_km))
    within_level = away_km <= _numbers([LEVEL_KM[r.level] if r.level else None for r in rows])
    about_hypothesis = np.array([bool(r.hypotheses) and not r.chance_within_km for r in rows], dtype=np.bool_)
    return np.where(about_hypothesis, inside[:, 0], within_level), np.minimum(needed, EARTH_AREA_KM2)


def _places(rows: Sequence[Scored]) -> dict[str, PlaceHits]:
    """Country, region and city of the answer against the truth's, each within the one before."""
    names = [(_names(r.truth_place), _names(r.place if r.point else None)) for r in rows]
    found = {}
    for depth, level in enumerate(("country", "region", "city"), 1):
        named = [truth[depth - 1] is not None for truth, _ in names]
        right = [ok and truth[:depth] == own[:depth] for ok, (truth, own) in zip(named, names, strict=True)]
        found[level] = PlaceHits(np.array(right, dtype=np.bool_), np.array(named, dtype=np.bool_))
    return found


def _names(place: PlaceNames | None) -> tuple[str | None, str | None, str | None]:
    return (place.country_code, place.region, place.city) if place else (None, None, None)


def _strata(rows: Sequence[Scored]) -> dict[str, Texts]:
    """What the benchmark's table holds about each photo, and the continent of its truth."""
    names = sorted({name for r in rows for name in r.strata})
    found = {name: _stratum([r.strata.get(name) for r in rows]) for name in names}
    continents = [continent_of(r.truth_place.country_code if r.truth_place else None) for r in rows]
    return {"continent": np.array(continents, dtype=np.str_), **found}


def _stratum(values: Sequence[str | float | None]) -> Texts:
    """Texts and few numbers as they are; many numbers as quarters."""
    numbers = {v for v in values if isinstance(v, int | float)}
    if len(numbers) <= MANY_VALUES:
        texts = [UNKNOWN if v is None else f"{v:g}" if isinstance(v, int | float) else v for v in values]
        return np.array(texts, dtype=np.str_)
    column = _numbers([v if isinstance(v, int | float) else None for v in values])
    edges = np.nanquantile(column, [0.0, 0.25, 0.5, 0.75, 1.0])
    place = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, 3)
    names = np.array([f"{low:g} to {high:g}" for low, high in pairwise(edges)])
    return np.where(np.isnan(column), UNKNOWN, names[place])
