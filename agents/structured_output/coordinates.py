"""Positions as models write them: decimals, degrees-minutes-seconds, N, S, E, W; as fields, pairs, labels or prose.

A function that finds no position returns the reason, as a text for the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_LAT_KEY = re.compile(r"(?:estimated_|predicted_)?lat(?:itude)?(?:_deg)?")
_LON_KEY = re.compile(r"(?:estimated_|predicted_)?(?:lon|lng|long|longitude)(?:_deg)?")
_PAIR_KEY = re.compile(r"coord(?:inate)?s?|position|point|location|gps|lat_?(?:lon|lng)")
SEVERAL_POSITIONS = "it gives several different positions"
NO_POSITION = "it holds no latitude and longitude"
MAX_ANGLE_CHARACTERS = 80

_PLAIN_SIGNS = str.maketrans("−–‐º˚’′´“”″", "---°°'''\"\"\"")
_LETTER = r"(?:[NSEW]|(?i:north|south|east|west))(?![A-Za-z])"
_DEGREE = r"(?:°|(?i:degrees?|deg)(?![A-Za-z])|d(?=\s*\d))"
_MINUTE = r"(?:'(?!')|(?i:minutes?|min|m)(?![A-Za-z]))"
_SECOND = r"(?:\"|''|(?i:seconds?|secs?|s)(?![A-Za-z]))"
_PART = r"\d{1,2}(?:\.\d+)?+"
_BODY = (
    rf"[-+]?\s*\d{{1,3}}(?:\.\d+)?+(?:\s*{_DEGREE})?+"
    rf"(?:[\s,]*{_PART}\s*{_MINUTE}(?:[\s,]*{_PART}\s*{_SECOND})?+|\s+{_PART}(?:\s+{_PART})?+(?=\s*{_LETTER}))?+"
)
"""An angle without its hemisphere: signs between its parts, or blanks if a hemisphere follows."""
_ANGLE = re.compile(rf"({_BODY})\s*({_LETTER})?")
_HEMISPHERE_FIRST = re.compile(rf"({_LETTER})[\s:]*(.*)", re.DOTALL)
_VERY_SMALL = re.compile(r"[-+]?\d(?:\.\d+)?[eE][-+]\d{1,2}")


class Angle(NamedTuple):
    """Signed degrees, and the axis (NS or EW) where a hemisphere says which."""

    degrees: float
    axis: str = ""


class LatLon(NamedTuple):
    """Degrees north and east, within range."""

    lat: float
    lon: float


def parse_angle(value: object) -> Angle | None:
    """Signed degrees of a number, or of a text that is one angle and nothing else; None if it is not.

    Only the last part may have a fraction, and minutes and seconds stay below 60. A minus sign with S or W says the
    same thing twice; with N or E it is a contradiction.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Angle(float(value)) if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > MAX_ANGLE_CHARACTERS:
        return None
    text = value.translate(_PLAIN_SIGNS).strip()
    if text.count(",") == 1 and "." not in text:
        text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    if _VERY_SMALL.fullmatch(text):
        return Angle(float(text))
    first = _HEMISPHERE_FIRST.fullmatch(text)
    found = _ANGLE.fullmatch(f"{first[2]} {first[1]}" if first else text)
    return _signed(found[1], (found[2] or "-")[0].upper()) if found else None


def _signed(body: str, hemisphere: str) -> Angle | None:
    parts = re.findall(r"\d+(?:\.\d+)?", body)
    is_negative = body.startswith("-")
    if any("." in part for part in parts[:-1]) or any(float(part) >= 60.0 for part in parts[1:]):
        return None
    if is_negative and hemisphere in "NE":
        return None
    degrees = sum(float(part) / 60.0**power for power, part in enumerate(parts))
    axis = next((axis for axis in ("NS", "EW") if hemisphere in axis), "")
    return Angle(-degrees if is_negative or hemisphere in "SW" else degrees, axis)


def pair_from_values(first: object, second: object) -> LatLon | str:
    """Latitude and longitude from two values in this order; the other order only where nothing else is possible.

    They are exchanged if hemispheres say so, or if the first cannot be a latitude and the second can.
    """
    lat, lon = parse_angle(first), parse_angle(second)
    if lat is None or lon is None:
        return "latitude or longitude is not a number in degrees"
    if lat.axis and lat.axis == lon.axis:
        return "latitude and longitude contradict their N, S, E or W"
    is_only_longitude = abs(lat.degrees) > 90.0 >= abs(lon.degrees) and not lat.axis and not lon.axis
    if lat.axis == "EW" or lon.axis == "NS" or is_only_longitude:
        lat, lon = lon, lat
    if abs(lat.degrees) > 90.0 or abs(lon.degrees) > 180.0:
        return "latitude must lie between -90 and 90 and longitude between -180 and 180 degrees"
    return LatLon(lat.degrees, lon.degrees)


def pair_from_fields(fields: Mapping[str, Any]) -> LatLon | str:
    """The position in an object: two named fields, or one field with a pair in it (latitude first; GeoJSON's last)."""
    lat, lon = _values(fields, _LAT_KEY), _values(fields, _LON_KEY)
    if lat and lon:
        return pair_from_values(lat[0], lon[0])
    found: LatLon | str = NO_POSITION
    for value in _values(fields, _PAIR_KEY):
        if isinstance(value, str):
            found = pair_in_text(value)
        elif isinstance(value, list) and len(value) == 2:
            found = pair_from_values(*(value[::-1] if fields.get("type") == "Point" else value))
        if isinstance(found, LatLon):
            return found
    return NO_POSITION


def is_coordinate_key(key: object) -> bool:
    """Whether a field's name stands for a latitude or a longitude."""
    return bool(_LAT_KEY.fullmatch(_plain(key)) or _LON_KEY.fullmatch(_plain(key)))


def _values(fields: Mapping[str, Any], pattern: re.Pattern[str]) -> list[Any]:
    return [value for key, value in fields.items() if value is not None and pattern.fullmatch(_plain(key))]


def _plain(key: object) -> str:
    return str(key).strip().casefold().replace(" ", "_")


# --- in prose

_GAP = r"(?:[\s\"'*_`\\():=≈~°]|(?:deg|degrees|is|of|about|approximately)\b)*+"
_VALUE = rf"(-?\d{{1,3}},\d+(?!\d)|(?>{_LETTER}\s*)?+{_BODY}(?>\s*{_LETTER})?+)"
_NO_RANGE = r"(?!\d|\s*(?:to|and|or|,|-|±|\.\.+|/)\s*[-+]?\d)"
_LABELLED_PAIR = re.compile(
    rf"(?<![A-Za-z])(?i:lat(?:itude)?){_GAP}{_VALUE}{_NO_RANGE}"
    rf"(?s:.{{0,60}}?)(?<![A-Za-z])(?i:lon(?:gitude)?|lng|long){_GAP}{_VALUE}{_NO_RANGE}"
)
_MARKED = rf"({_BODY}\s*{_LETTER}|{_LETTER}\s*{_BODY})"
_MARKED_PAIR = re.compile(rf"(?<![\w.]){_MARKED}\s*(?:[,;/]|and|by)?\s*{_MARKED}(?![\w.]*\d)")
_DECIMAL_PAIR = re.compile(
    r"(?<![\d.,/-])([-+]?\d{1,3}\.\d{2,}+)\s*[,;/]\s*([-+]?\d{1,3}\.\d{2,}+)(?![\d.]*\d)"
    r"|(?<![\d.,])([-+]?\d{1,3},\d{2,}+)\s*[;/]\s*([-+]?\d{1,3},\d{2,}+)(?!\d)"
)
_PERCENTAGE = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s*%")
_LIKELIEST = re.compile(
    r"(?i:most (?:likely|probable|plausible)|likeliest|best (?:guess|match|candidate)|top candidate)"
)
_ANSWER = re.compile(r"(?i:best guess|final coordinates|answer)\W")


def pair_in_text(text: str) -> LatLon | str:
    """The one position in a text: "48.1, 11.6" alone, or in prose a labelled position or one written out.

    Of several different ones the only one behind "answer" counts, else the one stated as most probable.
    """
    plain = text.translate(_PLAIN_SIGNS)
    bare = plain.strip("()[]{} .\n")
    for separator in (";", ",", "/", "|", "\n", None):
        parts = bare.split(separator, 2)
        whole = pair_from_values(*parts) if len(parts) == 2 else NO_POSITION
        if isinstance(whole, LatLon):
            return whole
    found = _pairs(plain)
    if len(found) > 1:
        found = _pairs(_ANSWER.split(plain)[-1]) or found
    if len(found) > 1:
        found = _most_probable(plain) or found
    if len(found) == 1:
        return found[0]
    return SEVERAL_POSITIONS if found else NO_POSITION


class StatedPair(NamedTuple):
    """A position in prose, and its probability where the text states one for each of them."""

    pair: LatLon
    probability: float | None


def stated_pairs(text: str) -> list[StatedPair]:
    """The different positions in prose, in order, each with the percentage that stands with it."""
    plain = text.translate(_PLAIN_SIGNS)
    found = _first_of_each(_found(plain))
    stated = _percentages(plain, found)
    return [StatedPair(item.pair, stated[n] / 100.0 if stated else None) for n, item in enumerate(found)]


def _most_probable(text: str) -> list[LatLon]:
    """The position of the greatest percentage, else the one called the most likely; empty if there is no single one."""
    found = _first_of_each(_found(text))
    stated = _percentages(text, found)
    if stated:
        return [item.pair for item, share in zip(found, stated, strict=True) if share == max(stated)]
    starts = [0, *(item.end for item in found)]
    called = [
        item.pair for item, start in zip(found, starts, strict=False) if _LIKELIEST.search(text, start, item.start)
    ]
    return called if len(called) == 1 else []


def _percentages(text: str, found: Sequence[_Found]) -> list[float]:
    """The percentage of each position, all behind or all before them on their lines; empty if one has none or two."""
    if not found:
        return []
    edges = [*(item.start for item in found[1:]), len(text)]
    behind = [text[item.end : edge].partition("\n")[0] for item, edge in zip(found, edges, strict=True)]
    starts = [0, *(item.end for item in found)]
    before = [text[start : item.start].rpartition("\n")[2] for item, start in zip(found, starts, strict=False)]
    for sides in (behind, before):
        stated = [_PERCENTAGE.findall(side) for side in sides]
        if all(len(values) == 1 for values in stated):
            return [float(values[0]) for values in stated]
    return []


class _Found(NamedTuple):
    """A position and where in the text it stands."""

    pair: LatLon
    start: int
    end: int


def _pairs(text: str) -> list[LatLon]:
    """Different positions within range."""
    return [item.pair for item in _first_of_each(_found(text))]


def _first_of_each(found: Sequence[_Found]) -> list[_Found]:
    return list({item.pair: item for item in reversed(found)}.values())[::-1]


def _found(text: str) -> list[_Found]:
    """Positions within range: the labelled ones, or without any those with hemispheres or decimals."""
    return _matches(text, _LABELLED_PAIR) or _matches(text, _MARKED_PAIR, _DECIMAL_PAIR)


def _matches(text: str, *patterns: re.Pattern[str]) -> list[_Found]:
    matches = (match for pattern in patterns for match in pattern.finditer(text))
    pairs = ((pair_from_values(*filter(None, match.groups())), match) for match in matches)
    found = [_Found(pair, *match.span()) for pair, match in pairs if isinstance(pair, LatLon)]
    return sorted(found, key=lambda item: item.start)
