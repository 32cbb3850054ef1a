"""OpenStreetMap through an Overpass interpreter: kinds of features, the query made from them, what comes back.

The language is at https://wiki.openstreetmap.org/wiki/Overpass_API/Overpass_QL and the JSON at
https://dev.overpass-api.de/output_formats.html#json; an interpreter that runs out of time or memory answers 200 with a
`remark`. Only parsed kinds and numbers reach a query, so no text of a model can change what it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from geo.point import Point
from tools.online.json_service import JsonService
from tools.online.results import MapBox, MapFeature
from tools.results import Circle, ToolError

QUERY_SECONDS = 25
"""What the interpreter is allowed; the client waits a little longer."""

_MAX_MEMORY_BYTES = 128 << 20
_MAX_NAME_CHARACTERS = 200

VOCABULARY: Mapping[str, str] = {
    "airport": "aeroway=aerodrome",
    "beach": "natural=beach",
    "border_control": "barrier=border_control",
    "bridge": "man_made=bridge",
    "buddhist_temple": "amenity=place_of_worship+religion=buddhist",
    "bus_station": "amenity=bus_station",
    "cable_car": "aerialway=cable_car",
    "canal": "waterway=canal",
    "castle": "historic=castle",
    "cemetery": "landuse=cemetery",
    "church": "amenity=place_of_worship+religion=christian",
    "ferry_terminal": "amenity=ferry_terminal",
    "fountain": "amenity=fountain",
    "fuel_station": "amenity=fuel",
    "hindu_temple": "amenity=place_of_worship+religion=hindu",
    "hospital": "amenity=hospital",
    "hotel": "tourism=hotel",
    "level_crossing": "railway=level_crossing",
    "lighthouse": "man_made=lighthouse",
    "market": "amenity=marketplace",
    "metro_entrance": "railway=subway_entrance",
    "monument": "historic=monument",
    "mosque": "amenity=place_of_worship+religion=muslim",
    "museum": "tourism=museum",
    "peak": "natural=peak",
    "railway": "railway=rail",
    "railway_station": "railway=station",
    "river": "waterway=river",
    "school": "amenity=school",
    "stadium": "leisure=stadium",
    "supermarket": "shop=supermarket",
    "synagogue": "amenity=place_of_worship+religion=jewish",
    "town_hall": "amenity=townhall",
    "tram_stop": "railway=tram_stop",
    "university": "amenity=university",
    "viewpoint": "tourism=viewpoint",
    "volcano": "natural=volcano",
    "water_tower": "man_made=water_tower",
    "windmill": "man_made=windmill",
    "wind_turbine": "power=generator+generator:source=wind",
}
"""Common kinds of features and their tags (https://wiki.openstreetmap.org/wiki/Map_features)."""

_TAG = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9_:-]{0,39})(?P<how>[=~])(?P<value>\*|[\w][\w .,:'&/-]{0,59})")
_MAX_TAGS = 4
AREA_NAME = re.compile(r"[^\W\d_][\w .,'’()-]{1,79}")


class Tag(NamedTuple):
    """A condition on a feature: a key with a value, with any value, or with a value that contains some text."""

    key: str
    value: str | None
    contains: bool

    @property
    def filter(self) -> str:
        """The condition in Overpass QL."""
        if self.value is None:
            return f'["{self.key}"]'
        if self.contains:
            return f'["{self.key}"~"{self.value.replace(".", "[.]")}",i]'
        return f'["{self.key}"="{self.value}"]'


def parse_kind(kind: str) -> tuple[Tag, ...]:
    """The tags of a kind of feature: a word of the vocabulary, or tags joined by +.

    >>> parse_kind("church")[1]
    Tag(key='religion', value='christian', contains=False)
    >>> [tag.filter for tag in parse_kind("shop=*+name~St. Mary")]
    ['["shop"]', '["name"~"St[.] Mary",i]']

    Raises:
        ValueError: neither; the message says what is allowed.
    """
    tags = [_TAG.fullmatch(part.strip()) for part in VOCABULARY.get(kind, kind).split("+")]
    if not all(tags) or len(tags) > _MAX_TAGS:
        raise ValueError(
            f"{kind[:60]!r} is no kind of feature: give one of {', '.join(VOCABULARY)}; or OpenStreetMap tags as "
            f"key=value, key=* (any value) or key~text (contains it), at most {_MAX_TAGS} joined by +"
        )
    return tuple(
        Tag(tag["key"], None if tag["value"] == "*" else tag["value"].strip(), tag["how"] == "~") for tag in tags if tag
    )


Area = Circle | MapBox | str
"""Where to look: a circle, a box, or the name of an administrative area."""


@dataclass(frozen=True)
class FeatureQuery:
    """Features of the first kind in an area that have one of each other kind within a distance.

    Attributes:
        kinds: as `parse_kind` takes them.
        area: a name must match `AREA_NAME`.
        within_m: distance to the nearest point of a feature of each other kind.
        limit: features of each kind that come back.
    """

    kinds: Sequence[str]
    area: Area
    within_m: int
    limit: int

    @property
    def text(self) -> str:
        """The query in Overpass QL: each kind is followed by its number and its features."""
        near = f":{self.within_m})"
        steps = [f"[out:json][timeout:{QUERY_SECONDS}][maxsize:{_MAX_MEMORY_BYTES}];", self._named_area]
        steps.append(f"nwr{_filters(self.kinds[0])}{self._area_filter}->.found;")
        for number, kind in enumerate(self.kinds[1:], start=1):
            steps.append(f"nwr{_filters(kind)}(around.found{near}->.near{number};")
            steps.append(f"nwr.found(around.near{number}{near}->.found;")
        steps.append(f".found out count;.found out tags center {self.limit};")
        for number in range(1, len(self.kinds)):
            steps.append(f"nwr.near{number}(around.found{near}->.near{number};")
            steps.append(f".near{number} out count;.near{number} out tags center {self.limit};")
        return "".join(steps)

    @property
    def _named_area(self) -> str:
        """From a state or large city to a district (admin_level 4 to 10), by its own or its English name."""
        if not isinstance(self.area, str):
            return ""
        level = '["boundary"="administrative"]["admin_level"~"^([4-9]|10)$"]'
        return f'(area{level}["name"="{self.area}"];area{level}["name:en"="{self.area}"];)->.place;'

    @property
    def _area_filter(self) -> str:
        if isinstance(self.area, str):
            return "(area.place)"
        if isinstance(self.area, Circle):
            centre = self.area.centre
            return f"(around:{self.area.radius_km * 1000.0:.0f},{centre.lat:.5f},{centre.lon:.5f})"
        return f"({self.area.south:.5f},{self.area.west:.5f},{self.area.north:.5f},{self.area.east:.5f})"


def _filters(kind: str) -> str:
    return "".join(tag.filter for tag in parse_kind(kind))


class FeatureGroup(NamedTuple):
    """Features of one kind, and how many there are in all."""

    features: tuple[MapFeature, ...]
    in_all: int


class Overpass:
    """An Overpass interpreter. Safe between threads."""

    def __init__(self, service: JsonService) -> None:
        self._service = service

    def find(self, query: FeatureQuery) -> list[FeatureGroup]:
        """The features of each kind, in the order of the kinds.

        Raises:
            ToolError: the interpreter cannot be reached, is too busy, or ran out of time or memory.
        """
        answer = self._service.get({"data": query.text})
        if answer.get("remark"):
            raise ToolError("Overpass gave up: the area is too large or the first kind too common; ask for less")
        groups = list(_split(answer.get("elements")))
        if len(groups) != len(query.kinds):
            raise ToolError("Overpass sent JSON of another form than it should")
        return [_group(kind, elements, query.limit) for kind, elements in zip(query.kinds, groups, strict=True)]


def _split(elements: Any) -> Iterator[list[dict[str, Any]]]:
    """Elements in groups that begin with a count."""
    group: list[dict[str, Any]] = []
    for element in elements if isinstance(elements, list) else []:
        if not isinstance(element, dict):
            continue
        if element.get("type") == "count":
            if group:
                yield group
            group = []
        group.append(element)
    if group:
        yield group


def _group(kind: str, elements: Sequence[dict[str, Any]], limit: int) -> FeatureGroup:
    features = (feature for element in elements[1:] if (feature := _feature(kind, element)))
    shown = tuple(islice(features, limit))
    try:
        return FeatureGroup(shown, int(elements[0]["tags"]["total"]))
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise ToolError("Overpass sent JSON of another form than it should") from error


def _feature(kind: str, element: dict[str, Any]) -> MapFeature | None:
    """An element as a feature; None where it has no position."""
    try:
        at = element.get("center", element)
        tags = element.get("tags", {})
        return MapFeature(
            kind=kind,
            name=str(tags.get("name:en") or tags.get("name") or "")[:_MAX_NAME_CHARACTERS],
            point=Point(lat=at["lat"], lon=at["lon"]),
            osm_id=f"{element['type']}/{int(element['id'])}"[:40],
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None
