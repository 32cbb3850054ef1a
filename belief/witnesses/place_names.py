"""Place names read on signs: how likely a string is there because the photo was taken in a place of that name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from belief.witnesses.reports import ReportedPlace
from geo.place import Place
from geo.places.names import name_key

PLACE_PRIOR = 0.01
"""Chance that a photo is from a given city of 8 million, as the weights of names are in proportion to."""

MOST_CERTAIN = 0.9
"""A name on a sign, however telling, may be a restaurant's."""

CITY_RADIUS_KM, REGION_RADIUS_KM = 10.0, 100.0

NAME_NATS = 3.0
NAME_NATS_PER_LETTER = 0.45
EXTRA_WORD_NATS = 1.5
NAME_NATS_MAX = 9.0
"""A name read on a sign: the longer it is and the more words it has, the less it occurs by chance. Set on the
training half of IM2GPS3k's development photos, where the six strings that scored highest all named the city."""

ALIAS_NATS = 2.0
"""A former or second name of a place, where another place is called so today, is rarely what a sign means."""

POPULATION_EXPONENT = 0.8
LARGE_CITY_POPULATION = 8_000_000
SMALL_PLACE_POPULATION = 1_000
"""Photos are taken in a place in proportion to population^0.8; PLACE_PRIOR is meant for a city of 8 million."""


def towns_and_regions(places: Sequence[Place]) -> list[Place]:
    """Places that a name on a sign may mean: no countries, and no region that has a town of the same name in it.

    "Shanghai" is the city, not the middle of the municipality.
    """
    towns = {(place.country_code, name_key(place.city)) for place in places if place.city}
    return [p for p in places if p.city or (p.region and (p.country_code, name_key(p.region)) not in towns)]


def place_name_nats(text: str, places: Sequence[Place]) -> list[float]:
    """What a name on a sign says for each place that has it, before other places are taken into account.

    Where some places are called just that, those that only bear it as another name stand back.
    """
    primary = [name_key(place.city or place.region or "") == name_key(text) for place in places]
    return [
        name_nats(text) + population_nats(place.population) - (ALIAS_NATS if any(primary) and not own else 0.0)
        for place, own in zip(places, primary, strict=True)
    ]


def name_nats(text: str) -> float:
    """How much less often a string stands on a sign by chance than in the place it names."""
    words = text.split()
    letters = sum(c.isalpha() for c in text)
    # A Chinese, Japanese or Korean character carries about as much as two letters and a half.
    wide = sum(c >= "\u3040" for c in text)
    length_nats = NAME_NATS_PER_LETTER * (letters + 1.5 * wide)
    return min(NAME_NATS_MAX, NAME_NATS + length_nats + EXTRA_WORD_NATS * (len(words) - 1))


def population_nats(population: int | None) -> float:
    """Log of how often photos are taken in a place of this size, against a city of 8 million."""
    people = max(population or SMALL_PLACE_POPULATION, SMALL_PLACE_POPULATION)
    return POPULATION_EXPONENT * math.log(min(people, LARGE_CITY_POPULATION) / LARGE_CITY_POPULATION)


def name_report(text: str, places: Sequence[Place]) -> list[ReportedPlace]:
    """A name read on a sign as a report of the places it may mean, with the chance of each; the rest is "none".

    "Lisboa" is most likely Lisbon, and may be nothing:

    >>> from geo.point import Point
    >>> at = Point(lat=38.7, lon=-9.1)
    >>> lisbon = Place(country="Portugal", country_code="PT", city="Lisboa", point=at, population=500_000)
    >>> round(name_report("Lisboa", [lisbon])[0].confidence, 2)
    0.25
    """
    meant = towns_and_regions(places)
    odds = [PLACE_PRIOR * math.exp(nats) for nats in place_name_nats(text, meant)]
    total = 1.0 + math.fsum(odds)
    return [
        ReportedPlace(
            place.point.lat,
            place.point.lon,
            CITY_RADIUS_KM if place.city else REGION_RADIUS_KM,
            min(MOST_CERTAIN, chance / total),
        )
        for place, chance in zip(meant, odds, strict=True)
    ]
