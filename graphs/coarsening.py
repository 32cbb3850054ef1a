"""Coarsening: an answer no finer than a level, with everything that would give more away removed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from agents.schemas import LEVEL_KM, Answer, Evidence, Hypothesis, Level, Source
from geo.place import Place
from geo.places.continents import CONTINENT_CENTRES, continent_of
from geo.places.gazetteer import Gazetteer
from geo.point import Point
from geo.sphere import Floats, distance_km

MIN_CITY_POPULATION = 15_000
"""A hamlet is finer than a city: it counts as part of the nearest town of this size."""

UNIT_RADIUS_KM: Mapping[Level, float] = {
    Level.CITY: 25.0,
    Level.REGION: 200.0,
    Level.COUNTRY: 750.0,
    Level.CONTINENT: 2500.0,
}
"""About half the width of a unit: no radius below it is reported."""


class Unit(NamedTuple):
    """A city, region, country or continent."""

    name: str
    centre: Point
    place: Place


class Units:
    """The cities, regions, countries and continents that points lie in."""

    def __init__(self, gazetteer: Gazetteer) -> None:
        self._gazetteer = gazetteer

    def unit(self, point: Point, level: Level) -> Unit:
        """The unit of a level that a point lies in; the country where a region is not known.

        Raises:
            ValueError: street level, which is no unit.
        """
        place = self._gazetteer.places_at([(point.lat, point.lon)])[0]
        match level:
            case Level.CITY:
                return self._city(point)
            case Level.REGION if place.region:
                return self._area(place, place.region, place.region)
            case Level.REGION | Level.COUNTRY:
                return self._area(place, place.country, None)
            case Level.CONTINENT:
                return _continent(place)
        raise ValueError(f"{level.value} is no unit with a centre")

    @cached_property
    def _city_lat_lon_deg(self) -> Floats:
        every = self._gazetteer.coordinates()
        return every.lat_lon_deg[every.population >= MIN_CITY_POPULATION]

    def _city(self, point: Point) -> Unit:
        nearest = int(distance_km((point.lat, point.lon), self._city_lat_lon_deg).argmin())
        place = self._gazetteer.places_at([self._city_lat_lon_deg[nearest]])[0]
        return _unit(place)

    def _area(self, place: Place, name: str, region: str | None) -> Unit:
        """A region or country as the gazetteer has it, with its centre and nothing finer."""
        found = self._gazetteer.find(name, place.country_code)
        return _unit(next(area for area in found if area.city is None and area.region == region))


def _unit(place: Place) -> Unit:
    return Unit(place.name, place.point, place.model_copy(update={"distance_km": None}))


def _continent(place: Place) -> Unit:
    name = continent_of(place.country_code)
    return _unit(Place(country=name, country_code="", point=CONTINENT_CENTRES[name]))


REMOVED = "removed"
_ORDER = tuple(Level)


def coarsen(answer: Answer, level: Level, units: Units) -> Answer:
    """The answer at `level` or coarser; street level changes nothing.

    The point becomes the centre of its unit and the place names nothing finer; radii grow to the unit's size;
    hypotheses of one unit become one. Chances within less than the unit go, and so the confidence becomes the chance
    at the new level; sizes of areas grow to the unit's. Candidates, matched tiles, sign texts, tool arguments,
    hashes of tool results (a short text can be guessed from its hash), the metadata position and all areas' outlines
    are removed: the middle of an area gives the point away, however large it is. An answer that is as coarse already
    stays as it is.
    """
    if level is Level.STREET or _is_coarsened(answer, level):
        return answer
    unit = units.unit(answer.point, level) if answer.point else None
    hypotheses = _coarse_hypotheses(answer.hypotheses, level, units)
    unit_km = UNIT_RADIUS_KM[level]
    coarse_level = max((level, answer.level), key=_ORDER.index) if answer.level else None
    chances = {within: round(chance, 2) for within, chance in answer.chance_within_km.items() if within >= unit_km}
    return answer.model_copy(
        update={
            "point": unit.centre if unit else None,
            "place": unit.place if unit else None,
            "radius_50_km": _grown(answer.radius_50_km, unit_km),
            "radius_90_km": _grown(answer.radius_90_km, 2.0 * unit_km),
            "area_50_km2": _grown(answer.area_50_km2, _disc_km2(unit_km)),
            "area_90_km2": _grown(answer.area_90_km2, _disc_km2(2.0 * unit_km)),
            "areas": (),
            "level": coarse_level,
            "chance_within_km": chances,
            "confidence": chances.get(round(LEVEL_KM[coarse_level]), answer.confidence)
            if coarse_level
            else answer.confidence,
            "reasoning": _reasoning(answer, hypotheses, level),
            "hypotheses": hypotheses,
            "evidence": tuple(map(_coarse_evidence, answer.evidence)),
            "candidates": (),
            "matches": (),
            "metadata_position": None,
        }
    )


def _is_coarsened(answer: Answer, level: Level) -> bool:
    """Whether `coarsen` made the answer, at this level or a coarser one; by what it leaves nothing of."""
    sources = [item.source for item in answer.evidence if item.source]
    known = [source for source in sources if source.result_sha256 != REMOVED]
    fine = (*answer.candidates, *answer.matches, *answer.areas, *known)
    if fine or answer.metadata_position or any(km < UNIT_RADIUS_KM[level] for km in answer.chance_within_km):
        return False
    return any(answer.reasoning.endswith(_note(coarse)) for coarse in _ORDER[_ORDER.index(level) :])


def _note(level: Level) -> str:
    return f"Coarsened to {level.value}; finer details were removed."


def _grown(size: float | None, least: float) -> float | None:
    return max(size, least) if size is not None else None


def _disc_km2(radius_km: float) -> float:
    return math.pi * radius_km**2


def _coarse_hypotheses(hypotheses: Sequence[Hypothesis], level: Level, units: Units) -> tuple[Hypothesis, ...]:
    """One hypothesis a unit and status, in the order of the first of each; probabilities add up."""
    merged: dict[tuple[str, str], Hypothesis] = {}
    for hypothesis in hypotheses:
        unit = units.unit(hypothesis.point, level)
        key = (unit.name, hypothesis.status.value)
        known = merged.get(key)
        probability = hypothesis.probability + (known.probability if known else 0.0)
        merged[key] = Hypothesis(
            id=known.id if known else hypothesis.id,
            name=unit.name,
            point=unit.centre,
            radius_km=max(hypothesis.radius_km, UNIT_RADIUS_KM[level], known.radius_km if known else 0.0),
            probability=min(1.0, probability),
            evidence_ids=known.evidence_ids if known else hypothesis.evidence_ids,
            status=hypothesis.status,
        )
    return tuple(merged.values())


def _coarse_evidence(item: Evidence) -> Evidence:
    source = Source(tool=item.source.tool, arguments={}, result_sha256=REMOVED) if item.source else None
    claim = f"{item.kind.value.replace('_', ' ')} (details finer than the allowed precision removed)"
    return item.model_copy(update={"claim": claim, "source": source})


def _reasoning(answer: Answer, hypotheses: Sequence[Hypothesis], level: Level) -> str:
    if answer.point is None or not hypotheses:
        return f"No answer. {_note(level)}"
    return f"{hypotheses[0].name} has a probability of {hypotheses[0].probability:.0%}. {_note(level)}"
