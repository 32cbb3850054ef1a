"""Place names on signs: longer names and larger places weigh more; a name may be nothing."""

from __future__ import annotations

import pytest

from belief.witnesses.place_names import (
    MOST_CERTAIN,
    name_nats,
    name_report,
    place_name_nats,
    population_nats,
    towns_and_regions,
)
from geo.place import Place
from geo.point import Point
from tests.fakes.machine import PLACES


def test_longer_names_and_more_words_weigh_more_up_to_a_limit() -> None:
    nats = [name_nats(text) for text in ("Rome", "Lisbon", "San Sebastian", "A very long name of a far place")]
    assert nats == sorted(nats)
    assert nats[-1] == name_nats("Another very long name of a far place")
    assert name_nats("東京駅") > name_nats("Rom")


def test_large_places_are_likelier_than_small_ones() -> None:
    nats = [population_nats(people) for people in (8_000_000, 100_000, 5_000, None)]
    assert nats == sorted(nats, reverse=True)
    assert nats[0] == 0.0
    assert population_nats(30_000_000) == 0.0


def test_a_former_name_stands_back_where_another_place_is_called_so() -> None:
    newport = [p for p in PLACES if p.city == "Newport"]
    alias = PLACES[0].model_copy(update={"city": "Elsewhere", "population": newport[0].population})
    own, other = place_name_nats("Newport", [newport[0], alias])
    assert own - other == pytest.approx(2.0)
    assert place_name_nats("Praha", [PLACES[4]])[0] > 0.0


def test_a_region_with_a_town_of_its_name_is_the_town() -> None:
    region = PLACES[0].model_copy(update={"city": None})
    other = PLACES[5].model_copy(update={"city": None})
    assert towns_and_regions([region, PLACES[0], other]) == [PLACES[0], other]


def test_a_report_of_a_name_shares_its_chance_among_namesakes_and_leaves_some_for_none() -> None:
    larger, smaller = name_report("Newport", PLACES[5:7])
    assert larger.confidence is not None
    assert smaller.confidence is not None
    assert MOST_CERTAIN > larger.confidence > smaller.confidence > 0.0
    assert larger.confidence + smaller.confidence < 1.0


def test_a_country_by_name_is_no_place() -> None:
    spain = Place(country="Spain", country_code="ES", point=Point(lat=40.42, lon=-3.70), population=46_000_000)
    assert name_report("Spain", [spain]) == []
