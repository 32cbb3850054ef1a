"""Coarsening: nothing finer than the allowed level stays anywhere in the answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import ArrayLike

from agents.schemas import Answer, AnswerStatus, Cost, CredibleArea, Level
from geo.place import Place
from geo.places.gazetteer import PlaceCoordinates
from geo.point import Point
from geo.sphere import circle_lat_lon_deg, distance_km, lat_lon_array, mean_point, point_distance_km
from graphs.coarsening import UNIT_RADIUS_KM, Units, coarsen
from graphs.geolocate import build_geolocate
from tests.fakes.machine import EXIF_POSITION, PLACES, context, given

HAMLET = PLACES[2].model_copy(update={"city": "Hamlet", "population": 200, "point": Point(lat=38.9, lon=-9.2)})
KNOWN = (*PLACES, HAMLET)
COUNTRY = Place(country="Portugal", country_code="PT", point=Point(lat=39.6, lon=-8.0), population=10_000_000)
REGION = COUNTRY.model_copy(update={"region": "Lisbon", "point": Point(lat=38.8, lon=-9.1)})


COORDINATES = PlaceCoordinates(
    lat_lon_deg=lat_lon_array(p.point for p in KNOWN),
    ids=[str(number) for number in range(len(KNOWN))],
    population=np.array([p.population or 0 for p in KNOWN]),
)


class SmallGazetteer:
    """Nearest of the small world; areas for Portugal, and each other country at its first city."""

    def places_at(self, lat_lon_deg: ArrayLike) -> list[Place]:
        asked = np.asarray(lat_lon_deg).reshape(-1, 2)
        nearest = distance_km(asked[:, None, :], COORDINATES.lat_lon_deg[None]).argmin(axis=1)
        return [KNOWN[int(i)] for i in nearest]

    def find(self, name: str, country_code: str | None = None) -> list[Place]:
        if country_code == "PT":
            return [COUNTRY, REGION]
        inside = [p for p in KNOWN if p.country_code == country_code]
        city = {"city": None}
        return [p.model_copy(update={**city, "region": r}) for p in inside[:1] for r in (None, name)]

    def coordinates(self) -> PlaceCoordinates:
        return COORDINATES


UNITS = Units(SmallGazetteer())  # type: ignore[arg-type]  # a fake with the methods it needs
SIGNS = ("Lisbon", "Rua Augusta 12", "www.loja.pt", "+351 21 346 1234")


def answered() -> Answer:
    at = context(SIGNS, min_confidence=0.0)
    answer: Answer = build_geolocate(at).invoke(given(metadata_position=EXIF_POSITION))["answer"]  # type: ignore[call-overload]
    assert answer.status is AnswerStatus.ANSWERED
    return answer


@pytest.mark.parametrize("level", [Level.CITY, Level.REGION, Level.COUNTRY, Level.CONTINENT])
def test_nothing_finer_stays(level: Level) -> None:
    fine, coarse = answered(), coarsen(answered(), level, UNITS)
    text = coarse.model_dump_json()
    for revealing in ("loja.pt", "346 1234", str(EXIF_POSITION.lat), "photo_id"):
        assert revealing in fine.model_dump_json()
        assert revealing not in text
    assert "Rua Augusta" not in text
    assert coarse.candidates == ()
    assert coarse.metadata_position is None
    assert coarse.radius_50_km is not None
    assert coarse.radius_50_km >= UNIT_RADIUS_KM[level]
    assert coarse.radius_90_km is not None
    assert coarse.radius_90_km >= coarse.radius_50_km
    hashes = {e.source.result_sha256 for e in fine.evidence if e.source} - {fine.photo_sha256}
    assert not any(value in text for value in hashes)


@pytest.mark.parametrize(
    ("level", "name", "point"),
    [
        (Level.CITY, "Lisbon, Portugal", PLACES[2].point),
        (Level.REGION, "Lisbon, Portugal", REGION.point),
        (Level.COUNTRY, "Portugal", COUNTRY.point),
        (Level.CONTINENT, "Europe", Point(lat=53.0, lon=26.0)),
    ],
)
def test_the_point_is_the_centre_of_its_unit(level: Level, name: str, point: Point) -> None:
    coarse = coarsen(answered(), level, UNITS)
    assert coarse.point == point
    assert coarse.place is not None
    assert coarse.place.name == name
    assert coarse.hypotheses[0].name == name
    assert coarse.hypotheses[0].point == point
    if level in (Level.COUNTRY, Level.CONTINENT):
        assert "Lisbon" not in json.dumps(coarse.model_dump(mode="json"))


def test_a_hamlet_counts_as_its_nearest_town() -> None:
    assert UNITS.unit(HAMLET.point, Level.CITY).name == "Lisbon, Portugal"


def test_hypotheses_of_one_unit_become_one() -> None:
    fine, coarse = answered(), coarsen(answered(), Level.CONTINENT, UNITS)
    assert len({(h.name, h.status) for h in coarse.hypotheses}) == len(coarse.hypotheses) < len(fine.hypotheses)
    assert sum(h.probability for h in coarse.hypotheses) == pytest.approx(sum(h.probability for h in fine.hypotheses))


def test_street_level_changes_nothing() -> None:
    answer = answered()
    assert coarsen(answer, Level.STREET, UNITS) is answer


def test_a_coarse_answer_is_not_made_finer() -> None:
    vague = answered().model_copy(update={"level": Level.CONTINENT, "radius_50_km": 3000.0})
    coarse = coarsen(vague, Level.CITY, UNITS)
    assert (coarse.level, coarse.radius_50_km) == (Level.CONTINENT, 3000.0)


def test_an_abstention_stays_one() -> None:
    at = context(min_confidence=0.99)
    answer: Answer = build_geolocate(at).invoke(given())["answer"]  # type: ignore[call-overload]
    coarse = coarsen(answer, Level.COUNTRY, UNITS)
    assert coarse.point is None
    assert coarse.reasoning.startswith("No answer.")
    assert coarse.hypotheses


SECRET = Point(lat=38.71234, lon=-9.13567)
"""Where the photo was taken: inside Lisbon, and not at its centre."""


def nested(radius_km: float) -> tuple[CredibleArea, ...]:
    """Areas whose common middle is the secret."""
    rings = [circle_lat_lon_deg(SECRET, radius_km * part)[:, ::-1].tolist() for part in (0.25, 0.5, 0.75, 1.0)]
    return tuple(
        CredibleArea(
            share=share,
            area_km2=float(np.pi) * (radius_km * part) ** 2,
            polygons=((tuple((lon, lat) for lon, lat in [*ring, ring[0]]),),),
        )
        for share, part, ring in zip((0.25, 0.5, 0.75, 0.9), (0.25, 0.5, 0.75, 1.0), rings, strict=True)
    )


def believed(radius_km: float, **changes: object) -> Answer:
    areas = nested(radius_km)
    fields = {
        "point": SECRET,
        "level": Level.STREET,
        "confidence": 0.71828,
        "chance_within_km": {1: 0.71828, 25: 0.81828, 200: 0.91828, 750: 0.97, 2500: 0.99},
        "areas": areas,
        "area_50_km2": areas[1].area_km2,
        "area_90_km2": areas[3].area_km2,
        "cost_by_model": {"openai:gpt-4.1": Cost(model_calls=1)},
    }
    return answered().model_copy(update=fields | changes)


def every_position(value: object) -> list[tuple[float, float]]:
    """Everything in an answer's JSON that could be a position: pairs of numbers, and lat with lon, as (lat, lon)."""
    if isinstance(value, dict):
        own = [(value["lat"], value["lon"])] if {"lat", "lon"} <= set(value) else []
        return own + [found for item in value.values() for found in every_position(item)]
    if isinstance(value, list):
        if len(value) == 2 and all(isinstance(item, float | int) for item in value):
            return [(value[1], value[0])]
        return [found for item in value for found in every_position(item)]
    return []


@pytest.mark.parametrize("radius_km", [0.5, 40.0, 300.0, 3000.0])
@pytest.mark.parametrize("level", [Level.CITY, Level.REGION, Level.COUNTRY, Level.CONTINENT])
def test_no_area_gives_the_point_away_however_large_it_is(level: Level, radius_km: float) -> None:
    """The middle of any ring is the secret: the attack averages every position that is left, and every ring."""
    fine, coarse = believed(radius_km), coarsen(believed(radius_km), level, UNITS)
    before = [position for area in fine.areas for position in every_position(area.model_dump(mode="json"))]
    assert point_distance_km(mean_point(before), SECRET) < 0.1 + 0.01 * radius_km  # the attack works on what is fine
    assert coarse.areas == ()
    units = {(h.point.lat, h.point.lon) for h in coarse.hypotheses} | {(coarse.point.lat, coarse.point.lon)}  # type: ignore[union-attr]
    place = coarse.place.point if coarse.place else None
    known = units | ({(place.lat, place.lon)} if place else set())
    assert set(every_position(coarse.model_dump(mode="json"))) <= known


@pytest.mark.parametrize("level", [Level.CITY, Level.REGION, Level.COUNTRY, Level.CONTINENT])
def test_no_size_or_chance_tells_more_than_the_level(level: Level) -> None:
    coarse, unit_km = coarsen(believed(0.5), level, UNITS), UNIT_RADIUS_KM[level]
    assert coarse.area_50_km2 is not None
    assert coarse.area_50_km2 >= np.pi * unit_km**2
    assert coarse.area_90_km2 is not None
    assert coarse.area_90_km2 >= coarse.area_50_km2
    assert min(coarse.chance_within_km) == unit_km
    assert max(coarse.chance_within_km) == 2500
    assert coarse.confidence == coarse.chance_within_km[round(unit_km)]
    text = coarse.model_dump_json()
    for finer in ("71828", "81828", "91828", "38.712", "9.1356"):
        assert finer not in text
    assert coarse.cost_by_model == {"openai:gpt-4.1": Cost(model_calls=1)}


def test_sizes_of_a_vague_belief_stay_and_old_answers_get_none() -> None:
    vague = coarsen(believed(3000.0), Level.CITY, UNITS)
    assert (vague.area_50_km2, vague.area_90_km2) == (believed(3000.0).area_50_km2, believed(3000.0).area_90_km2)
    empty: dict[str, object] = {"chance_within_km": {}, "areas": (), "area_50_km2": None, "area_90_km2": None}
    old = coarsen(believed(1.0, **empty), Level.REGION, UNITS)
    assert (old.chance_within_km, old.area_50_km2, old.confidence) == ({}, None, 0.71828)


def test_every_field_of_an_answer_has_been_thought_of() -> None:
    """A new field of the schema may be finer than the level: add it here once `coarsen` treats it, or need not."""
    coarsened = {
        "point", "place", "radius_50_km", "radius_90_km", "area_50_km2", "area_90_km2", "areas", "level",
        "chance_within_km", "confidence", "reasoning", "hypotheses", "evidence", "candidates", "matches",
        "metadata_position",
    }  # fmt: skip
    harmless = {
        "photo_sha256", "more_photo_sha256s", "status", "point_source", "model_status", "radius_is_calibrated", "cost",
        "cost_by_model", "versions",
    }  # fmt: skip
    assert set(Answer.model_fields) == coarsened | harmless
