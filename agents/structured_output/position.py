"""The position in a model's reply: found, refused, or not there in any form that can be used.

Pure functions from text. A reply without a position has a status and never a point: (0, 0) is a place in the Gulf of
Guinea, and the result only if the model said so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, NamedTuple

from agents.structured_output.coordinates import LatLon, pair_from_fields, pair_in_text, stated_pairs
from agents.structured_output.json_repair import find_object_lists, is_cut_off

MAX_TEXT_CHARACTERS = 100_000
"""Limit of a reply; a longer one is not an answer to a question for one position."""
MAX_REFUSAL_CHARACTERS = 1_500
"""A refusal is short; a long text that says "I cannot be certain" somewhere is an answer that could not be parsed."""
MAX_NESTING = 4
MAX_RADIUS_KM = 20_015.0

_LAST_NUMBER = re.compile(r"(?:[-+\d.,°'\"]|(?<=\d)[eE])+\s*\Z")
_NAME_KEYS = ("name", "place", "location", "location_name", "exact_location_name", "landmark")
_AREA_KEYS = ("neighborhood", "neighbourhood", "city", "town", "state", "region", "province", "country")
_CONFIDENCE_KEYS = ("confidence", "probability", "prob", "likelihood", "chance", "share", "percentage")
_REASON_KEYS = ("reasoning", "rationale", "reason", "why", "explanation", "clues")
_NO_NAME = re.compile(r"(?i:unknown|n/a|none|null|indeterminable|not sure|\.\.\.|<.*>|.{200,})?", re.DOTALL)


class ReplyStatus(StrEnum):
    """Outcome of asking a model."""

    OK = "ok"
    REFUSED = "refused"
    """The model declined."""
    UNPARSABLE = "unparsable"
    """The reply holds nothing that can be used."""
    FAILED = "failed"
    """No reply: unreachable, too slow, rate-limited or broken off, after all retries."""


class ParsedReply(NamedTuple):
    """A parsed reply.

    Attributes:
        status: ok, refused or unparsable.
        place: what is known of the place, as fields of `agents.reply_schemas.PredictedPlace`: with status ok at least
            `lat` and `lon`, within range; else at most a `name`, for a gazetteer to find.
        places: all that the reply lists, in its order, each as `place` is; `place` alone where it lists none. One that
            has a position, or none of them has, and the one of greatest confidence among those is `place`.
        problem: why there is no position, as a text for the model; empty with status ok.
    """

    status: ReplyStatus
    place: Mapping[str, Any] = MappingProxyType({})
    places: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""


def parse_position(text: str) -> ParsedReply:
    """Find the position in a reply: in JSON (fenced, cut off, amid prose), in labels, in degrees or in plain prose.

    Of several JSON objects with a position the last counts, as models come to their answer at the end; of a list of
    places the one of greatest confidence, or the first, as they list the likeliest first. Prose with several different
    positions and no mark of which is the answer or the most probable is unparsable; `places` has them all the same.
    """
    if not text.strip():
        return ParsedReply(ReplyStatus.UNPARSABLE, problem="the reply is empty")
    if len(text) > MAX_TEXT_CHARACTERS:
        problem = f"the reply has {len(text):,} characters; at most {MAX_TEXT_CHARACTERS:,} are read"
        return ParsedReply(ReplyStatus.UNPARSABLE, problem=problem)
    from_objects = _in_objects(find_object_lists(text))
    if from_objects.status is ReplyStatus.OK:
        return from_objects
    # The last number of a text that was cut off may be short of digits; prose may stand in a string of broken JSON.
    whole = _LAST_NUMBER.sub("", text) if is_cut_off(text) else text
    prose = whole.replace("\\n", "\n").replace('\\"', '"')
    pair, places = pair_in_text(prose), _in_prose(prose)
    if isinstance(pair, LatLon):
        place = {**from_objects.place, **next((p for p in places if (p["lat"], p["lon"]) == pair), pair._asdict())}
        return ParsedReply(ReplyStatus.OK, place, places if len(places) > 1 else (place,))
    if places and not from_objects.places:
        return ParsedReply(ReplyStatus.UNPARSABLE, places=places, problem=pair)
    if looks_like_a_refusal(text) and not from_objects.place:
        return ParsedReply(ReplyStatus.REFUSED, problem="the model declined to answer")
    return from_objects._replace(problem=from_objects.problem or pair)


def _in_prose(text: str) -> tuple[dict[str, Any], ...]:
    return tuple(
        {**said.pair._asdict(), **({} if said.probability is None else {"confidence": said.probability})}
        for said in stated_pairs(text)
        if said.probability is None or said.probability <= 1.0
    )


def _in_objects(lists: Sequence[Sequence[Mapping[str, Any]]]) -> ParsedReply:
    problem, named = "", ParsedReply(ReplyStatus.UNPARSABLE)
    for objects in reversed(lists):
        whole = objects[0] if len(objects) == 1 else {}
        for listed in _nested(objects):
            places = [place for place in (_place(fields, whole, len(listed) > 1) for fields in listed) if place]
            located = [place for place in places if "lat" in place]
            if located:
                return ParsedReply(ReplyStatus.OK, _most_confident(located), tuple(places))
            problem = problem or next((pair for pair in map(pair_from_fields, listed) if isinstance(pair, str)), "")
            if places and not named.place:
                named = named._replace(place=_most_confident(places), places=tuple(places))
    return named._replace(problem=problem)


def _nested(values: Sequence[Any], depth: int = 0) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Objects that may hold the position, the outermost first; those of one list together."""
    objects = [value for value in values if isinstance(value, Mapping)]
    if objects:
        yield objects
    if depth <= MAX_NESTING:
        for value in values:
            if isinstance(value, list):
                yield from _nested(value, depth + 1)
            for part in value.values() if isinstance(value, Mapping) else ():
                yield from _nested(part if isinstance(part, list) else [part], depth + 1)


def _place(fields: Mapping[str, Any], whole: Mapping[str, Any], is_listed: bool) -> dict[str, Any] | None:
    """What one object says of a place; None if it neither locates nor names it.

    A place by itself is also described by the object around it; of a list's places only the reason is shared.
    """
    pair = pair_from_fields(fields)
    if isinstance(pair, LatLon):
        shared = {key: whole[key] for key in _REASON_KEYS if key in whole} if is_listed else whole
        return {**pair._asdict(), **_about_the_place({**shared, **fields})}
    name = place_name(fields)
    if name is None:
        return None
    return _about_the_place(fields) if is_listed else {"name": name}


def _most_confident(places: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The place of greatest confidence, the first of equal ones; the first where not all state theirs."""
    stated = all("confidence" in place for place in places)
    return max(places, key=lambda place: place["confidence"]) if stated else places[0]


def _about_the_place(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Name, radius, confidence and reason, where given."""
    why = next((fields[key] for key in _REASON_KEYS if isinstance(fields.get(key), str)), None)
    known = {
        "name": place_name(fields),
        "radius_km": parse_radius_km(fields.get("radius_km")),
        "confidence": stated_confidence(fields),
        "why": why,
    }
    return {key: value for key, value in known.items() if value is not None}


def stated_confidence(fields: Mapping[str, Any]) -> float | None:
    """The confidence that an object states, under whatever name."""
    stated = (parse_confidence(fields[key]) for key in _CONFIDENCE_KEYS if fields.get(key) is not None)
    return next((value for value in stated if value is not None), None)


def place_name(fields: Mapping[str, Any]) -> str | None:
    """The named place, then the areas it lies in, each once."""
    texts = {key: value.strip() for key, value in fields.items() if isinstance(value, str)}
    names = {key: text for key, text in texts.items() if not _NO_NAME.fullmatch(text)}
    own = [names[key] for key in _NAME_KEYS if key in names][:1]
    return ", ".join(dict.fromkeys([*own, *(names[key] for key in _AREA_KEYS if key in names)])) or None


def parse_radius_km(value: object) -> float | None:
    """Kilometres above 0, at most half of the Earth's circumference; "25 km" is read too; None if it is none."""
    match = None if isinstance(value, bool) else re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:km)?", str(value).strip())
    return float(match[1]) if match and 0.0 < float(match[1]) <= MAX_RADIUS_KM else None


def parse_confidence(value: object) -> float | None:
    """Between 0 and 1; percentages become fractions; None if it is neither."""
    match = None if isinstance(value, bool) else re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", str(value).strip())
    if not match:
        return None
    number = float(match[1]) / (100.0 if match[2] or float(match[1]) > 1.0 else 1.0)
    return number if number <= 1.0 else None


def looks_like_a_refusal(text: str) -> bool:
    """Whether a reply declines: it is short and holds one of the phrases of agents/data/refusals.txt."""
    plain = " ".join(text.replace("’", "'").casefold().split())
    return len(plain) <= MAX_REFUSAL_CHARACTERS and any(phrase.search(plain) for phrase in _refusals())


@cache
def _refusals() -> tuple[re.Pattern[str], ...]:
    lines = resources.files("agents").joinpath("data/refusals.txt").read_text(encoding="utf-8").splitlines()
    return tuple(re.compile(line.strip()) for line in lines if line.strip() and not line.startswith("#"))
