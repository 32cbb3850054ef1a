"""Coarsening: nothing finer than the allowed level stays anywhere in the answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import ArrayLike

from agents.schemas import Answer, AnswerStatus, Level
from geo.place import Place
from geo.places.gazetteer import PlaceCoordinates
from geo.point import Point
from geo.sphere import distance_km, lat_lon_array
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
