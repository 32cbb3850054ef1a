"""Where the geocoding tools get their places from, and how a place is shown to the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from geo.place import Place
from geo.point import Point
from tools.untrusted_text import untrusted


class PlaceSource(Protocol):
    """A gazetteer or a geocoding service. A service that cannot be reached raises `ToolError`."""

    def place_at(self, point: Point) -> Place | None:
        """The place nearest to a point, with its distance; None where there is none."""
        ...

    def find(self, name: str, country_code: str | None = None) -> Sequence[Place]:
        """Places of a name, the most populous first; `country_code` (alpha-2) keeps one country's."""
        ...


def shown_place(place: Place) -> dict[str, Any]:
    """A place for the model: names as untrusted text, degrees to 4 places (11 m), unknown fields left out."""
    shown: dict[str, Any] = {
        "city": place.city and untrusted(place.city),
        "region": place.region and untrusted(place.region),
        "country": untrusted(place.country),
        "country_code": place.country_code,
        "lat": round(place.point.lat, 4),
        "lon": round(place.point.lon, 4),
        "population": place.population,
        "distance_km": None if place.distance_km is None else round(place.distance_km, 1),
    }
    return {key: value for key, value in shown.items() if value is not None}
