from __future__ import annotations

import pytest

from geo.places.continents import CONTINENT_CENTRES, CONTINENTS, NOWHERE, continent_of
from geo.places.gazetteer import Gazetteer
from geo.places.tables import PlaceTables

DISSOLVED = {"AN", "CS"}


@pytest.mark.parametrize(
    ("code", "continent"),
    [
        ("RU", "Europe"),
        ("CY", "Europe"),
        ("TR", "Asia"),
        ("EG", "Africa"),
        ("TL", "Oceania"),
        ("CX", "Oceania"),
        ("GS", "Antarctica"),
        ("XK", "Europe"),
        (None, NOWHERE),
    ],
)
def test_the_division_is_geonames(code: str | None, continent: str) -> None:
    assert continent_of(code) == continent


def test_every_country_of_the_gazetteer_has_a_continent_and_every_continent_a_centre() -> None:
    assert set(PlaceTables().country_codes) - DISSOLVED == set(CONTINENTS)
    assert set(CONTINENTS.values()) == set(CONTINENT_CENTRES)


def test_the_centre_of_a_continent_lies_in_it() -> None:
    gazetteer = Gazetteer()
    for continent, centre in CONTINENT_CENTRES.items():
        assert continent_of(gazetteer.place_at(centre).country_code) == continent


def test_an_unknown_code_is_an_error() -> None:
    with pytest.raises(KeyError):
        continent_of("ZZ")
