"""One angle as people and models write it: decimal, degrees-minutes-seconds, with or without N, S, E, W."""

from __future__ import annotations

import math
import re
from typing import Literal, NamedTuple

Axis = Literal["lat", "lon"]
MAX_ANGLE_CHARACTERS = 80


class Angle(NamedTuple):
    """Signed degrees, and which axis a hemisphere letter put them on."""

    degrees: float
    axis: Axis | None


MARKS = str.maketrans(
    {"−": "-", "–": "-", "‐": "-", "º": "°", "˚": "°", "’": "'", "′": "'", "´": "'", "“": '"', "”": '"', "″": '"'}
)
"""Typographic signs to plain ones."""

HEMISPHERE = r"(?:[NSEW](?![A-Za-z])|(?i:north|south|east|west)(?![A-Za-z]))"
_NUMBER = r"\d{1,3}(?:\.\d+)?+"
_DEGREE_MARK = r"(?:°|(?i:degrees?|deg)(?![A-Za-z])|d(?=\s*\d))"
_MINUTE_MARK = r"(?:'(?!')|(?i:minutes?|min)(?![A-Za-z])|m(?![A-Za-z]))"
_SECOND_MARK = r"(?:\"|''|(?i:seconds?|secs?)(?![A-Za-z])|s(?![A-Za-z]))"
BODY = (
    rf"[-+]?\s*{_NUMBER}(?:\s*{_DEGREE_MARK})?+"
    rf"(?:[\s,]*\d{{1,2}}(?:\.\d+)?+\s*{_MINUTE_MARK}(?:[\s,]*\d{{1,2}}(?:\.\d+)?+\s*{_SECOND_MARK})?+"
    rf"|\s+\d{{1,2}}(?:\.\d+)?+(?:\s+\d{{1,2}}(?:\.\d+)?+)?+(?=\s*{HEMISPHERE}))?+"
)
"""A pattern for an angle without its hemisphere: marks between the parts, or blanks where a hemisphere follows."""
_WORDS = {"north": "N", "south": "S", "east": "E", "west": "W"}
_BEFORE = re.compile(rf"({HEMISPHERE})[\s:]*")
_AFTER = re.compile(rf"\s*({HEMISPHERE})\Z")
_BODY = re.compile(BODY)
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_SCIENTIFIC = re.compile(r"[-+]?\d(?:\.\d+)?[eE][-+]\d{1,2}")
"""How languages write very small numbers; the sign keeps "5E" an angle with its hemisphere."""


def parse_dms(value: object) -> Angle | None:
    """Signed degrees of a number, or of a text that is nothing but one angle; None if it is not.

    A minus sign with S or W says the same thing twice; with N or E it is a contradiction and unreadable.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return Angle(float(value), None) if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > MAX_ANGLE_CHARACTERS:
        return None
    return _read_text(_with_decimal_point(value.translate(MARKS).strip()))


def _with_decimal_point(text: str) -> str:
    return re.sub(r"(?<=\d),(?=\d)", ".", text) if text.count(",") == 1 and "." not in text else text


def _read_text(text: str) -> Angle | None:
    if _SCIENTIFIC.fullmatch(text):
        return Angle(float(text), None)
    letters: list[str] = []
    before = _BEFORE.match(text)
    if before:
        letters.append(_letter(before[1]))
    after = _AFTER.search(text)
    if after:
        letters.append(_letter(after[1]))
    bare = text[before.end() if before else 0 : after.start() if after else len(text)].strip()
    # The blanks of "33 51 24 S" need the hemisphere that has just been taken away.
    if not _BODY.fullmatch(bare) and not (letters and _BODY.match(f"{bare} N") and _is_blank_separated(bare)):
        return None
    return _signed(bare, letters)


def _is_blank_separated(text: str) -> bool:
    return re.fullmatch(r"[-+]?\s*\d{1,3}\s*°?\s+\d{1,2}(?:\.\d+)?(?:\s+\d{1,2}(?:\.\d+)?)?", text) is not None


def _letter(text: str) -> str:
    return _WORDS.get(text.casefold(), text)


def _signed(bare: str, letters: list[str]) -> Angle | None:
    degrees = _from_parts(_DIGITS.findall(bare))
    if degrees is None or len(set(letters)) > 1:
        return None
    is_negative = bare.startswith("-")
    if not letters:
        return Angle(-degrees if is_negative else degrees, None)
    if is_negative and letters[0] in "NE":
        return None
    return Angle(-degrees if letters[0] in "SW" else degrees, "lat" if letters[0] in "NS" else "lon")


def _from_parts(parts: list[str]) -> float | None:
    """Degrees of degrees, minutes and seconds: only the last may have a fraction, minutes and seconds stay below 60."""
    if not 1 <= len(parts) <= 3 or any("." in part for part in parts[:-1]):
        return None
    if any(float(part) >= 60.0 for part in parts[1:]):
        return None
    return sum(float(part) / 60.0**power for power, part in enumerate(parts))
