"""Positions as models write them: two fields, a pair, labels in prose, hemispheres, plain decimals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from agents.structured_output.dms import BODY, HEMISPHERE, MARKS, parse_dms

LAT_KEYS = ("lat", "latitude", "lat_deg", "latitude_deg", "estimated_latitude", "predicted_latitude")
LON_KEYS = (
    "lon",
    "lng",
    "long",
    "longitude",
    "lon_deg",
    "longitude_deg",
    "estimated_longitude",
    "predicted_longitude",
)
PAIR_KEYS = (
    "coordinates",
    "coordinate",
    "coords",
    "position",
    "point",
    "location",
    "gps",
    "lat_lon",
    "latlon",
    "latlng",
)
NO_POSITION = "it holds no latitude and longitude"


class LatLon(NamedTuple):
    """Degrees north and east, within range."""

    lat: float
    lon: float


class Unread(NamedTuple):
    """Why a position could not be read, in words for the model."""

    why: str


def pair_from_values(first: object, second: object) -> LatLon | Unread:
    """Latitude and longitude from two values in this order; the other order only where nothing else is possible.

    They are exchanged if hemisphere letters say so, or if the first cannot be a latitude and the second can.
    """
    lat, lon = parse_dms(first), parse_dms(second)
    if lat is None or lon is None:
        return Unread("latitude or longitude is not a number in degrees")
    if lat.axis == "lon" or lon.axis == "lat":
        if lat.axis == "lat" or lon.axis == "lon":
            return Unread("latitude and longitude contradict their N, S, E or W")
        lat, lon = lon, lat
    elif lat.axis is None and lon.axis is None and abs(lat.degrees) > 90.0 and abs(lon.degrees) <= 90.0:
        lat, lon = lon, lat
    if abs(lat.degrees) > 90.0 or abs(lon.degrees) > 180.0:
        return Unread("latitude must lie between -90 and 90 and longitude between -180 and 180 degrees")
    return LatLon(lat.degrees, lon.degrees)


# --- in an object


def pair_from_fields(fields: Mapping[str, Any]) -> LatLon | Unread:
    """The position in an object: two named fields, or one field with a pair in it (latitude first; GeoJSON's last)."""
    keyed = {str(key).strip().casefold().replace(" ", "_"): value for key, value in fields.items()}
    lat = next((keyed[key] for key in LAT_KEYS if key in keyed), None)
    lon = next((keyed[key] for key in LON_KEYS if key in keyed), None)
    if lat is not None and lon is not None:
        return pair_from_values(lat, lon)
    pairs = (_pair_value(keyed.get(key), keyed.get("type") == "Point") for key in PAIR_KEYS)
    return next((pair for pair in pairs if isinstance(pair, LatLon)), Unread(NO_POSITION))


def _pair_value(value: object, is_geojson: bool) -> LatLon | Unread:
    if isinstance(value, list) and len(value) == 2:
        first, second = (value[1], value[0]) if is_geojson else (value[0], value[1])
        return pair_from_values(first, second)
    return whole_pair(value) if isinstance(value, str) else Unread(NO_POSITION)


# --- in a text

_ANGLE = rf"(?>{HEMISPHERE}\s*)?+{BODY}(?>\s*{HEMISPHERE})?+"
_NO_RANGE = r"(?!\d|\s*(?:to|and|or|,|-|±|\.\.+|/)\s*[-+]?\d)"
"""What follows makes it no single value: another digit, "to 45", "and 45", ", 45"."""
_QUOTES = r"[\s\"'*_`\\(]*+"
_GAP = rf"{_QUOTES}(?:(?:deg|degrees|°)\)?)?{_QUOTES}(?:[:=≈~]|is|of)?{_QUOTES}(?:≈|~|about|approximately)?{_QUOTES}"
_COMMA = r"\d{1,3},\d+"
_LABELLED = re.compile(
    rf"(?<![A-Za-z])(?i:lat(?:itude)?){_GAP}(?P<lat>-?{_COMMA}(?!\d)|{_ANGLE}){_NO_RANGE}"
    rf"(?s:.{{0,60}}?)(?<![A-Za-z])(?i:lon(?:gitude)?|lng|long){_GAP}(?P<lon>-?{_COMMA}(?!\d)|{_ANGLE}){_NO_RANGE}"
)
_BESIDE = r"\s*(?:[,;/]|and|by)?\s*"
_HEMISPHERES = re.compile(
    rf"(?<![\w.])(?P<first>{BODY}\s*{HEMISPHERE}|{HEMISPHERE}\s*{BODY}){_BESIDE}"
    rf"(?P<second>{BODY}\s*{HEMISPHERE}|{HEMISPHERE}\s*{BODY})(?![\w.]*\d)"
)
_DECIMALS = re.compile(
    r"(?<![\d.,/-])(?P<first>[-+]?\d{1,3}\.\d{2,}+)\s*[,;/]\s*(?P<second>[-+]?\d{1,3}\.\d{2,}+)(?![\d.]*\d)"
    r"|(?<![\d.,])(?P<first_c>[-+]?\d{1,3},\d{2,}+)\s*[;/]\s*(?P<second_c>[-+]?\d{1,3},\d{2,}+)(?!\d)"
)
_ANSWER = re.compile(r"(?i:final answer|best guess|my answer|final coordinates|answer)\W")


def whole_pair(text: str) -> LatLon | Unread:
    """The position in a text that is nothing but a pair: "48.1, 11.6", "(48.1; 11.6)", "48° N 11° E"."""
    bare = text.translate(MARKS).strip().strip("()[]{} .")
    if len(bare) > 200:
        return Unread(NO_POSITION)
    for separator in (";", ",", "/", "|", "\n"):
        if bare.count(separator) == 1:
            return pair_from_values(*bare.split(separator))
    found = _HEMISPHERES.fullmatch(bare)
    if found:
        return pair_from_values(found["first"], found["second"])
    parts = bare.split()
    return pair_from_values(*parts) if len(parts) == 2 else Unread(NO_POSITION)


def pair_in_text(text: str) -> LatLon | Unread:
    """The one position in prose: all of it, labelled, or written out.

    Of several different ones the only one behind "answer" counts, if there is such a one.
    """
    plain = text.translate(MARKS)
    whole = whole_pair(plain)
    if isinstance(whole, LatLon):
        return whole
    labelled = _distinct(_LABELLED.finditer(plain))
    found = labelled or _written(plain)
    if len(found) > 1:
        marks = list(_ANSWER.finditer(plain))
        last = plain[marks[-1].end() :] if marks else ""
        found = _distinct(_LABELLED.finditer(last)) or _written(last) or found
    if len(found) == 1:
        return found[0]
    return Unread("it gives several different positions" if found else NO_POSITION)


def _written(text: str) -> list[LatLon]:
    return list(dict.fromkeys([*_distinct(_HEMISPHERES.finditer(text)), *_distinct(_DECIMALS.finditer(text))]))


def _distinct(matches: Iterable[re.Match[str]]) -> list[LatLon]:
    """Different positions among matches with two values each, those out of range left out."""
    pairs = (pair_from_values(*_values(match)) for match in matches)
    return list(dict.fromkeys(pair for pair in pairs if isinstance(pair, LatLon)))


def _values(match: re.Match[str]) -> tuple[str, str]:
    first, second = (value for value in match.groupdict().values() if value is not None)
    return first, second
