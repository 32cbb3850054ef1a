"""Where a model's text says that the photo was taken: a position, a refusal, or nothing that can be used.

Pure functions from text. What cannot be read is a status and never a point: (0, 0) is a place in the
Gulf of Guinea, and it comes back only if the model said so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from agents.structured_output.coordinates import NO_POSITION, LatLon, Unread, pair_from_fields, pair_in_text
from agents.structured_output.json_repair import find_objects, is_cut_off

MAX_REFUSAL_CHARACTERS = 1_500
"""A refusal is short; a long text that says "I cannot be certain" somewhere is an answer that could not be read."""


def looks_like_a_refusal(text: str) -> bool:
    """Whether a reply declines: one of the phrases of agents/data/refusals.txt stands in it and it is short."""
    plain = " ".join(text.replace("’", "'").casefold().split())
    return len(plain) <= MAX_REFUSAL_CHARACTERS and any(phrase.search(plain) for phrase in _phrases())


@cache
def _phrases() -> tuple[re.Pattern[str], ...]:
    lines = resources.files("agents").joinpath("data/refusals.txt").read_text(encoding="utf-8").splitlines()
    return tuple(re.compile(line.strip()) for line in lines if line.strip() and not line.startswith("#"))


MAX_TEXT_CHARACTERS = 100_000
"""Of a reply; a longer one is not an answer to a question for one position."""

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_LAST_NUMBER = re.compile(r"[-+\d.,°'\"]+\s*\Z")
_NAME_KEYS = ("name", "place", "location", "location_name", "exact_location_name", "landmark")
_AREA_KEYS = ("neighborhood", "neighbourhood", "city", "town", "state", "region", "province", "country")
_REASON_KEYS = ("reasoning", "rationale", "reason", "why", "explanation")
_EMPTY_NAMES = frozenset({"unknown", "n/a", "none", "null", "", "indeterminable", "not sure", "..."})


class ReplyStatus(StrEnum):
    """What came of asking a model."""

    OK = "ok"
    REFUSED = "refused"
    """The model declined."""
    UNPARSABLE = "unparsable"
    """The reply holds nothing that can be used."""
    FAILED = "failed"
    """No reply: unreachable, too slow, rate-limited or broken off, after all retries."""


class ParsedPosition(BaseModel):
    """A position that a model said: validated, never trusted."""

    model_config = ConfigDict(frozen=True)

    lat: float = Field(ge=-90.0, le=90.0, allow_inf_nan=False, description="degrees north")
    lon: float = Field(ge=-180.0, le=180.0, allow_inf_nan=False, description="degrees east")
    name: str | None = Field(None, description="the place, from small to large")
    confidence: float | None = Field(None, ge=0.0, le=1.0, description="None: not said, or not readable")
    reason: str | None = None


class PositionRead(NamedTuple):
    """What was read in a reply.

    Attributes:
        status: ok, refused or unparsable.
        position: with status ok; else None.
        named: a place named in the reply's fields, also where no position could be read: for a gazetteer to find.
        problem: why there is no position, in words for the model; empty with status ok.
    """

    status: ReplyStatus
    position: ParsedPosition | None = None
    named: str | None = None
    problem: str = ""


def parse_position(text: str) -> PositionRead:
    """The position that a reply gives: in JSON (fenced, cut off, amid prose), in labels, in degrees or in plain prose.

    Of several JSON objects with a position the last counts, as models come to their answer at the end; of a list of
    places the first, as they list the likeliest first. Prose with several different positions and no mark of which
    is the answer is unparsable.
    """
    if not text.strip():
        return _unparsable("the reply is empty")
    if len(text) > MAX_TEXT_CHARACTERS:
        return _unparsable(f"the reply has {len(text):,} characters; at most {MAX_TEXT_CHARACTERS:,} are read")
    said = _THOUGHT.sub(" ", text)
    objects = find_objects(said)
    from_objects = _read_objects(objects)
    if from_objects.status is ReplyStatus.OK:
        return from_objects
    named = from_objects.named
    from_text = _read_prose(said, objects)
    if isinstance(from_text, LatLon):
        return _ok(from_text, {"name": named} if named else {})
    if looks_like_a_refusal(said) and not named:
        return PositionRead(ReplyStatus.REFUSED, problem="the model declined to answer")
    return _unparsable(from_objects.problem or from_text.why, named)


def _unparsable(problem: str, named: str | None = None) -> PositionRead:
    return PositionRead(ReplyStatus.UNPARSABLE, named=named, problem=problem)


def _read_objects(objects: list[dict[str, Any]]) -> PositionRead:
    problem, named = "", None
    for found in reversed(objects):
        for fields in _nested(found):
            pair = pair_from_fields(fields)
            if isinstance(pair, LatLon):
                return _ok(pair, {**found, **fields})
            problem = problem or pair.why
            named = named or _place_name(fields)
    return _unparsable(problem, named)


def _nested(value: Any, depth: int = 0) -> list[Mapping[str, Any]]:
    """Objects that may hold the position, the outermost first."""
    if depth > 4:
        return []
    if isinstance(value, Mapping):
        inner = [fields for part in value.values() for fields in _nested(part, depth + 1)]
        return [value, *inner]
    if isinstance(value, list):
        return [fields for part in value for fields in _nested(part, depth + 1)]
    return []


def _read_prose(text: str, objects: Sequence[Mapping[str, Any]]) -> LatLon | Unread:
    """The position in the text as it stands, or in the texts inside its objects."""
    # The last number of a text that was cut off may be short of digits.
    whole = _LAST_NUMBER.sub("", text) if is_cut_off(text) else text
    for part in (whole, "\n".join(_texts(list(objects)))):
        found = pair_in_text(part)
        if isinstance(found, LatLon) or found.why != NO_POSITION:
            return found
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for part in value.values() for text in _texts(part))
    elif isinstance(value, list):
        yield from (text for part in value for text in _texts(part))


def _ok(pair: LatLon, fields: Mapping[str, Any]) -> PositionRead:
    name = _place_name(fields)
    position = ParsedPosition(
        lat=pair.lat,
        lon=pair.lon,
        name=name,
        confidence=parse_confidence(fields.get("confidence")),
        reason=next((str(fields[key]) for key in _REASON_KEYS if isinstance(fields.get(key), str)), None),
    )
    return PositionRead(ReplyStatus.OK, position, name)


def _place_name(fields: Mapping[str, Any]) -> str | None:
    """The named place, then the areas it lies in, each once."""
    own = next((fields[key] for key in _NAME_KEYS if _is_name(fields.get(key))), None)
    parts = [own, *(fields.get(key) for key in _AREA_KEYS)]
    names = dict.fromkeys(part.strip() for part in parts if isinstance(part, str) and _is_name(part))
    return ", ".join(names) or None


def _is_name(value: object) -> bool:
    if not isinstance(value, str):
        return False
    text = value.strip()
    return text.casefold() not in _EMPTY_NAMES and not (text.startswith("<") and text.endswith(">")) and len(text) < 200


def parse_confidence(value: object) -> float | None:
    """Between 0 and 1; percentages become fractions; None if it is neither."""
    text = str(value).strip() if isinstance(value, (int, float, str)) and not isinstance(value, bool) else ""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text)
    if not match:
        return None
    number = float(match[1]) / (100.0 if match[2] or float(match[1]) > 1.0 else 1.0)
    return number if number <= 1.0 else None
