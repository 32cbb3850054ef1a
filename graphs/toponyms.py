"""Toponym resolution: from a place that the model named to a position, by its own coordinates or the gazetteer's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agents.reply_schemas import PredictedPlace
from agents.schemas import Cost, Origin, add_cost
from geo.place import Place
from geo.places.country_facts import country_of_name
from geo.places.names import name_key
from geo.point import Point
from graphs.context import GeolocateContext
from graphs.nodes.tool_calls import call_tool
from graphs.state import GeolocateState, Position, ToolRecord
from tools.results import FoundPlaces
from tools.untrusted_text import untrusted

CITY_RADIUS_KM, REGION_RADIUS_KM, COUNTRY_RADIUS_KM = 25.0, 150.0, 500.0
"""Of a place that the model gave no radius for."""

MAX_LOOKUPS = 3
MIN_NAME_CHARACTERS, MAX_NAME_CHARACTERS = 2, 100


class ResolvedToponyms(NamedTuple):
    """Positions of the places that are known, and the look-ups that it took."""

    positions: list[Position]
    records: list[ToolRecord]
    cost: Cost


def resolve_toponyms(
    context: GeolocateContext,
    state: GeolocateState,
    predicted: Sequence[PredictedPlace],
    key: str,
    reply_sha256: str,
    model: str | None = None,
    **said: int,
) -> ResolvedToponyms:
    """The positions of predicted places; a place that is in no gazetteer and has no coordinates is left out.

    Args:
        context: has the tool that finds places.
        state: says what may still be spent.
        predicted: in the model's order.
        key: distinguishes these look-ups from others in the run.
        reply_sha256: of the reply that they come from.
        model: the name of the model that predicted them; None: the one that investigates.
        said: `sample` and `look` of the positions.
    """
    positions: list[Position] = []
    records: list[ToolRecord] = []
    cost = Cost()
    for number, place in enumerate(predicted):
        spent: GeolocateState = {**state, "cost": add_cost(state["cost"], cost)}
        found = _resolved(context, spent, place, f"{key}-{number}", reply_sha256)
        by = {"model": context.model.name if model is None else model, "rank": number, **said}
        positions += [position.model_copy(update=by) for position in found.positions]
        records += found.records
        cost = add_cost(cost, found.cost)
    return ResolvedToponyms(positions, records, cost)


def _resolved(
    context: GeolocateContext, state: GeolocateState, predicted: PredictedPlace, key: str, reply_sha256: str
) -> ResolvedToponyms:
    if predicted.lat is not None and predicted.lon is not None:
        point = Point(lat=predicted.lat, lon=predicted.lon)
        name = untrusted(predicted.name) or str(point)
        position = _position(predicted, name, point, CITY_RADIUS_KM, Origin.MODEL, reply_sha256)
        return ResolvedToponyms([position], [], Cost())
    return _looked_up(context, state, predicted, key, reply_sha256)


def _position(
    predicted: PredictedPlace, name: str, point: Point, default_radius_km: float, origin: Origin, reply_sha256: str
) -> Position:
    return Position(
        name=name,
        point=point,
        radius_km=predicted.radius_km or default_radius_km,
        stated_radius_km=predicted.radius_km or (default_radius_km if origin is Origin.PLACE_NAME else None),
        confidence=predicted.confidence,
        why=untrusted(predicted.why),
        origin=origin,
        reply_sha256=reply_sha256,
    )


def _looked_up(
    context: GeolocateContext, state: GeolocateState, predicted: PredictedPlace, key: str, reply_sha256: str
) -> ResolvedToponyms:
    records: list[ToolRecord] = []
    cost = Cost()
    parts = [part.strip() for part in predicted.name.split(",") if part.strip()]
    for number, arguments in enumerate(_lookups(parts) if "find_place" in context.tools else ()):
        made = call_tool(context, state, "find_place", arguments, key=f"{key}-{number}")
        records.extend(made["records"])
        cost = add_cost(cost, made["cost"])
        place = _best_match(records[-1], parts)
        if place:
            radius_km = _radius_km(place)
            position = _position(predicted, place.name, place.point, radius_km, Origin.PLACE_NAME, reply_sha256)
            return ResolvedToponyms([position], records, cost)
    return ResolvedToponyms([], records, cost)


def _lookups(parts: Sequence[str]) -> Iterator[dict[str, str]]:
    """What to ask the gazetteer, the smallest part first, within the country named last if it is one."""
    code = country_of_name().get(parts[-1].casefold()) if parts else None
    within = {"country_code": code} if code and len(parts) > 1 else {}
    named = [part for part in parts if MIN_NAME_CHARACTERS <= len(part) <= MAX_NAME_CHARACTERS]
    # The largest part is always asked for in the end: a country is better than nothing.
    for part in dict.fromkeys([*named[: MAX_LOOKUPS - 1], *named[-1:]]):
        yield {"name": part, **within}


def _best_match(record: ToolRecord, parts: Sequence[str]) -> Place | None:
    """The first place found whose region or country the model named too; else the first, the most populous."""
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
