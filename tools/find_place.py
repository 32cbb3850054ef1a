"""The tool that finds places by name."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import StructuredTool
from pydantic import Field

from geo.place import SimilarPlace
from tools.base import Arguments, result_tool
from tools.results import FoundPlaces
from tools.services.geocoders import PlaceSource, shown_place
from tools.untrusted_text import quoted, untrusted

KEPT_PLACES = 50
SHOWN_PLACES = 10


class FindPlaceArguments(Arguments):
    """A name, and perhaps a country."""

    name: str = Field(min_length=2, max_length=100, description="a town, region or country, in any language")
    country_code: str | None = Field(
        None, pattern="^[A-Za-z]{2}$", description="ISO 3166-1 alpha-2, such as PT, to keep one country's places"
    )


def find_place_tool(places: PlaceSource) -> StructuredTool:
    """The tool `find_place(name, country_code)`."""

    def find_place(name: str, country_code: str | None = None) -> FoundPlaces:
        """Find where a place name is: towns, regions and countries of this name, most populous first.

        Use it on names read on signs; a street or a dish can be named after a place far away. Where no place is called
        so, similar names come back as not exact, with a score: call again with the spelling that you believe.
        """
        code = country_code.upper() if country_code else None
        found = places.find(name, code)
        similar = () if found else places.find_similar(name, code)[:KEPT_PLACES]
        return FoundPlaces(query=name, places=tuple(found[:KEPT_PLACES]), similar=tuple(similar))

    return result_tool(find_place, FindPlaceArguments, render_found)


def render_found(result: FoundPlaces) -> str:
    """What the model reads: the ten most populous."""
    shown = [shown_place(place) for place in result.places[:SHOWN_PLACES]]
    data: dict[str, Any] = {"name": untrusted(result.query), "places_found": len(result.places), "places": shown}
    if result.similar:
        data["not_exact"] = [_shown_similar(similar) for similar in result.similar[:SHOWN_PLACES]]
    return quoted(data)


def _shown_similar(similar: SimilarPlace) -> dict[str, Any]:
    return {**shown_place(similar.place), "matched": untrusted(similar.matched), "score": similar.score}
