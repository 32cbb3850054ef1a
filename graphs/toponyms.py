"""From a place that the model named to a position: its own coordinates, or the gazetteer's for the name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agents.reply_schemas import PredictedPlace
from agents.schemas import Cost, Origin
from geo.place import Place
from geo.places.country_facts import country_of_name
from geo.places.names import name_key
from geo.point import Point
from graphs.context import GeolocateContext
from graphs.nodes.tool_calls import call_tool
from graphs.state import GeolocateState, Position, ToolRecord, add_cost
from tools.results import FoundPlaces
from tools.untrusted_text import untrusted

CITY_RADIUS_KM, REGION_RADIUS_KM, COUNTRY_RADIUS_KM = 25.0, 150.0, 500.0
"""Of a place that the model gave no radius for."""

MAX_LOOKUPS = 3
MIN_NAME_CHARACTERS, MAX_NAME_CHARACTERS = 2, 100


class ResolvedToponym(NamedTuple):
    """A said place with a position (None: nobody knows the name), and the look-ups it took."""

    position: Position | None
    records: list[ToolRecord]
    cost: Cost


def resolve_toponym(
    context: GeolocateContext, state: GeolocateState, said: PredictedPlace, key: str, reply_sha256: str
) -> ResolvedToponym:
    """The position that is meant. `key` names the look-ups, once in a run."""
    if said.lat is not None and said.lon is not None:
        point = Point(lat=said.lat, lon=said.lon)
        name = untrusted(said.name) or str(point)
        return ResolvedToponym(_position(said, name, point, CITY_RADIUS_KM, Origin.MODEL, reply_sha256), [], Cost())
    return _looked_up(context, state, said, key, reply_sha256)


def _position(
    said: PredictedPlace, name: str, point: Point, usual_radius_km: float, origin: Origin, reply_sha256: str
) -> Position:
    return Position(
        name=name,
        point=point,
        radius_km=said.radius_km or usual_radius_km,
        confidence=said.confidence,
        why=untrusted(said.why),
        origin=origin,
        reply_sha256=reply_sha256,
    )


def _looked_up(
    context: GeolocateContext, state: GeolocateState, said: PredictedPlace, key: str, reply_sha256: str
) -> ResolvedToponym:
    records: list[ToolRecord] = []
    cost = Cost()
    if "find_place" not in context.tools:
        return ResolvedToponym(None, records, cost)
    parts = [part.strip() for part in said.name.split(",") if part.strip()]
    for number, arguments in enumerate(_lookups(parts)):
        made = call_tool(context, state, "find_place", arguments, key=f"{key}-{number}")
        records.extend(made["records"])
        cost = add_cost(cost, made["cost"])
        place = _meant(records[-1], parts)
        if place:
            position = _position(said, place.name, place.point, _radius_km(place), Origin.PLACE_NAME, reply_sha256)
            return ResolvedToponym(position, records, cost)
    return ResolvedToponym(None, records, cost)


def _lookups(parts: Sequence[str]) -> Iterator[dict[str, str]]:
    """What to ask the gazetteer, the smallest part first, within the country named last if it is one."""
    code = country_of_name().get(parts[-1].casefold()) if parts else None
    within = {"country_code": code} if code and len(parts) > 1 else {}
    named = [part for part in parts if MIN_NAME_CHARACTERS <= len(part) <= MAX_NAME_CHARACTERS]
    # The largest part is always asked for in the end: a country is better than nothing.
    for part in dict.fromkeys([*named[: MAX_LOOKUPS - 1], *named[-1:]]):
        yield {"name": part, **within}


def _meant(record: ToolRecord, parts: Sequence[str]) -> Place | None:
    """Of the places found, those whose region or country the model named too; then the most populous."""
    if record.result is None:
        return None
    places = FoundPlaces.model_validate(record.result).places
    named = {name_key(part) for part in parts}
    agreeing = [p for p in places if {name_key(p.region or ""), name_key(p.country)} & named]
    return next(iter([*agreeing, *places]), None)


def _radius_km(place: Place) -> float:
    if place.city:
        return CITY_RADIUS_KM
    return REGION_RADIUS_KM if place.region else COUNTRY_RADIUS_KM
