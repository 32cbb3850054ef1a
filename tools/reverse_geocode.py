"""The tool that says what lies at a position."""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.tools import StructuredTool

from geo.point import Point
from tools.base import PositionArguments, result_tool, shown_position
from tools.results import PlaceAt
from tools.services.geocoders import PlaceSource, shown_place
from tools.untrusted_text import quoted

MAX_DISTANCE_KM = 500.0

COAST_KM = 10.0
"""A position this near a town is on land, whatever the land mask says: its cells are 5 km wide, and the mask
puts 3 % of the thousand largest cities in the sea."""


def reverse_geocode_tool(
    places: PlaceSource, is_land: Callable[[Point], bool], max_distance_km: float = MAX_DISTANCE_KM
) -> StructuredTool:
    """The tool `reverse_geocode(lat, lon)`; places beyond `max_distance_km` are not named."""

    def reverse_geocode(lat: float, lon: float) -> PlaceAt:
        """Say what lies at a position: land or sea, and the nearest town with its region, country and distance in km.

        Use it to name a region of candidates, and to check that a position is on land.
        """
        point = Point(lat=lat, lon=lon)
        place = places.place_at(point)
        near = place if place is not None and (place.distance_km or 0.0) <= max_distance_km else None
        by_a_town = near is not None and near.city is not None and (near.distance_km or 0.0) <= COAST_KM
        return PlaceAt(point=point, place=near, surface="land" if by_a_town or is_land(point) else "sea")

    return result_tool(reverse_geocode, PositionArguments, render_place_at)


def render_place_at(result: PlaceAt) -> str:
    """What the model reads."""
    nearest = shown_place(result.place) if result.place else None
    position = shown_position(result.point, decimals=5)
    return quoted({**position, "surface": result.surface, "nearest_place": nearest})
