"""Where tools find places: the offline gazetteer, or a Nominatim service that the user names.

Nominatim (https://nominatim.org/release-docs/latest/api/Overview/) is opt-in and over the network. Its usage policy
asks for at most one request a second, a cache and attribution (© OpenStreetMap contributors, ODbL). Positions
and names looked up leave the machine.

`geopy` has a Nominatim client too, but its adapters follow redirects to any host and read bodies of any size and
kind, and its reverse lookup cannot ask for a place's population.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import httpx

from core.errors import UserError
from core.json_text import parse_json
from geo.place import Place, SimilarPlace
from geo.point import Point
from geo.sphere import point_distance_km
from tools.base import shown_position
from tools.results import ToolError
from tools.services.rate_limited_http import RateLimitedFetcher
from tools.untrusted_text import untrusted

CACHED_ANSWERS = 1000
_MAX_BYTES = 1_000_000
_ALWAYS = {"format": "jsonv2", "addressdetails": "1", "extratags": "1", "accept-language": "en"}
_SETTLEMENTS = ("city", "town", "village", "hamlet", "municipality", "suburb")


class PlaceSource(Protocol):
    """A gazetteer or a geocoding service. A service that cannot be reached raises `ToolError`."""

    def place_at(self, point: Point) -> Place | None:
        """The place nearest to a point, with its distance; None where there is none."""
        ...

    def find(self, name: str, country_code: str | None = None) -> Sequence[Place]:
        """Places of a name, the most populous first; `country_code` (alpha-2) keeps one country's."""
        ...

    def find_similar(self, name: str, country_code: str | None = None) -> Sequence[SimilarPlace]:
        """Places of a name like this one, the likest first; none where `find` is tolerant by itself."""
        ...


class Nominatim:
    """A `PlaceSource` over a Nominatim service. Safe between threads.

    Args:
        base_url: such as https://nominatim.example.org, without a path of its own unless the service has one.
        allowed_hosts: the only hosts (with port, if any) that may be asked, exactly as written.
        client: with a time limit; closed by its owner.

    Raises:
        UserError: a base URL that is not http or https, or whose host is not allowed.
    """

    def __init__(
        self, base_url: str, allowed_hosts: Collection[str], client: httpx.Client, min_interval_s: float = 1.0
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or parts.netloc not in allowed_hosts:
            hosts = ", ".join(sorted(allowed_hosts)) or "none"
            raise UserError(f"The geocoder {base_url!r} cannot be used: http(s) on an allowed host ({hosts}) only")
        self._base_url = base_url.rstrip("/")
        self._fetcher = RateLimitedFetcher("Nominatim", client, "application/json", _MAX_BYTES, min_interval_s)
        self._answer = lru_cache(CACHED_ANSWERS)(self._fetch_json)

    def place_at(self, point: Point) -> Place | None:
        """The populated place at a point, with the distance to its own position; None at sea."""
        query = {"lat": f"{point.lat:.6f}", "lon": f"{point.lon:.6f}", "zoom": "13"}
        place = _place(self._answer(self._url("reverse", query)))
        return place and place.model_copy(update={"distance_km": point_distance_km(point, place.point)})

    def find(self, name: str, country_code: str | None = None) -> list[Place]:
        """Places of a name, the most populous first."""
        only = {"countrycodes": country_code.lower()} if country_code else {}
        found = self._answer(self._url("search", {"q": name, "limit": "20", "featureType": "settlement", **only}))
        places = [_place(entry) for entry in (found if isinstance(found, list) else [])]
        return sorted((place for place in places if place), key=lambda place: -(place.population or 0))

    def find_similar(self, _name: str, _country_code: str | None = None) -> list[SimilarPlace]:
        """None: the service's own search forgives spelling."""
        return []

    def _url(self, path: str, query: dict[str, str]) -> str:
        return f"{self._base_url}/{path}?{urlencode({**_ALWAYS, **query})}"

    def _fetch_json(self, url: str) -> Any:
        body = self._fetcher.get(url)
        try:
            return parse_json(body) if body is not None else None
        except ValueError as error:
            raise ToolError("Nominatim sent something that is not JSON") from error


def _place(entry: Any) -> Place | None:
    """An entry of a jsonv2 answer as a place; None where it names no country or has no position."""
    try:
        address, position = entry["address"], Point(lat=float(entry["lat"]), lon=float(entry["lon"]))
        return Place(
            country=address["country"],
            country_code=address["country_code"].upper(),
            region=address.get("state"),
            city=next((address[kind] for kind in _SETTLEMENTS if kind in address), None),
            point=position,
            population=_population(entry.get("extratags") or {}),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None


def _population(tags: dict[str, str]) -> int | None:
    digits = str(tags.get("population", "")).replace(",", "").replace(" ", "")
    return int(digits) if digits.isdecimal() else None


def shown_place(place: Place) -> dict[str, Any]:
    """A place for the model: names as untrusted text, unknown fields left out."""
    shown: dict[str, Any] = {
        "city": place.city and untrusted(place.city),
        "region": place.region and untrusted(place.region),
        "country": untrusted(place.country),
        "country_code": place.country_code,
        **shown_position(place.point),
        "population": place.population,
        "distance_km": None if place.distance_km is None else round(place.distance_km, 1),
    }
    return {key: value for key, value in shown.items() if value is not None}
