"""A small Overpass interpreter: the part of Overpass QL that the project sends, over a map of single points.

Statements and filters are those of https://wiki.openstreetmap.org/wiki/Overpass_API/Overpass_QL; what it does not know
is a syntax error, which the real interpreter answers with 400 and a page of HTML.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from geo.point import Point
from geo.sphere import point_distance_km
from tests.fakes.tool_calls import Reply
from tests.tools.online.server import Asked, as_json

_SETTINGS = re.compile(r"\[out:json\]\[timeout:\d+\]\[maxsize:\d+\];")
_TAG = r'\["[^"]+"(?:[=~]"[^"]*"(?:,i)?)?\]'
_SPOT = r"\((?:around[.:][^()]*|area\.\w+|[-\d.,]+)\)"
_AREAS = re.compile(rf"\(((?:area(?:{_TAG})+;)+)\)->\.(\w+);")
_QUERY = re.compile(rf"nwr(?:\.(\w+))?((?:{_TAG}|{_SPOT})+)->\.(\w+);")
_OUT = re.compile(r"\.(\w+) out (?:(count)|tags center (\d+));")
_TAG_PARTS = re.compile(r'\["([^"]+)"(?:([=~])"([^"]*)"(,i)?)?\]')


class Thing(NamedTuple):
    """An element of the map; areas that it lies in are known by name."""

    id: int
    lat: float
    lon: float
    tags: dict[str, str]
    areas: tuple[str, ...] = ()
    kind: str = "node"

    @property
    def point(self) -> Point:
        return Point(lat=self.lat, lon=self.lon)


class SmallMap:
    """Answers queries; `asked` holds their text."""

    def __init__(self, things: Sequence[Thing]) -> None:
        self.things = list(things)
        self.asked: list[str] = []

    def __call__(self, request: Asked) -> Reply:
        text = request.query.get("data", "")
        self.asked.append(text)
        try:
            elements = list(self._run(text))
        except SyntaxError:
            return Reply(400, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Error: line 1: parse error</html>")
        about = {"timestamp_osm_base": "2026-11-01T00:00:00Z", "copyright": "www.openstreetmap.org, ODbL."}
        return as_json({"version": 0.6, "generator": "Overpass API 0.7.62", "osm3s": about, "elements": elements})

    def _run(self, text: str) -> Any:
        sets: dict[str, list[Thing]] = {}
        self._areas: dict[str, set[str]] = {}
        at = _end(_SETTINGS.match(text))
        while at < len(text):
            if step := _AREAS.match(text, at):
                self._areas[step[2]] = set(re.findall(r'\["name(?::en)?"="([^"]*)"\]', step[1]))
            elif step := _QUERY.match(text, at):
                start = self.things if step[1] is None else sets[step[1]]
                sets[step[3]] = [thing for thing in start if self._passes(thing, step[2], sets)]
            elif step := _OUT.match(text, at):
                found = sets[step[1]]
                yield from [_count(found)] if step[2] else map(_element, found[: int(step[3])])
            at = _end(step)

    def _passes(self, thing: Thing, filters: str, sets: dict[str, list[Thing]]) -> bool:
        tags = all(_has_tag(thing, *parts) for parts in _TAG_PARTS.findall(filters))
        return tags and all(self._lies(thing, spot[1:-1], sets) for spot in re.findall(_SPOT, filters))

    def _lies(self, thing: Thing, spot: str, sets: dict[str, list[Thing]]) -> bool:
        if spot.startswith("area."):
            return bool(self._areas[spot.removeprefix("area.")] & set(thing.areas))
        if spot.startswith("around."):
            name, metres = spot.removeprefix("around.").split(":")
            near = (point_distance_km(thing.point, other.point) for other in sets[name])
            return any(km * 1000.0 <= float(metres) for km in near)
        numbers = [float(number) for number in spot.removeprefix("around:").split(",")]
        if spot.startswith("around:"):
            radius_m, lat, lon = numbers
            return bool(point_distance_km(thing.point, Point(lat=lat, lon=lon)) * 1000.0 <= radius_m)
        south, west, north, east = numbers
        return south <= thing.lat <= north and west <= thing.lon <= east


def _end(step: re.Match[str] | None) -> int:
    if step is None:
        raise SyntaxError
    return step.end()


def _has_tag(thing: Thing, key: str, how: str, value: str, ignore_case: str) -> bool:
    if key not in thing.tags or not how:
        return key in thing.tags
    if how == "=":
        return thing.tags[key] == value
    return re.search(value, thing.tags[key], re.IGNORECASE if ignore_case else 0) is not None


def _count(found: Sequence[Thing]) -> dict[str, Any]:
    total = str(len(found))
    return {"type": "count", "id": 0, "tags": {"nodes": total, "ways": "0", "relations": "0", "total": total}}


def _element(thing: Thing) -> dict[str, Any]:
    position = {"lat": thing.lat, "lon": thing.lon}
    where = position if thing.kind == "node" else {"center": position}
    return {"type": thing.kind, "id": thing.id, **where, "tags": thing.tags}
