"""The offline reasoner in a conversation: questions are parsed by rules and answered from the belief.

A place that is no hypothesis yet is looked up in the gazetteer, listed, and searched near. That it was named makes it
no likelier: its probability is what the belief holds there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from agents.offline.explanations import (
    NO_LMM,
    Row,
    answer_text,
    compare,
    first,
    open_rows,
    share,
    what_would_change_it,
    why,
)
from agents.offline.facts import is_retraction, parse_facts
from geo.places.country_facts import country_of_name
from geo.places.names import name_key
from geo.point import Point
from geo.sphere import point_distance_km

MAX_PLACES = 2
MAX_NAME_CHARACTERS = 60
NEAR_KM = 50.0
REGION_RADIUS_KM = 150.0
COUNTRY_RADIUS_KM = 400.0
HELP = (
    "I can say why, why not somewhere (“why not Portugal?”), compare two places (“compare with Porto”), say what would"
    " change the answer, and note what you know (“it is not Portugal”, “the sign is Czech”)."
)

Call = tuple[str, dict[str, Any]]
Results = Mapping[str, Mapping[str, Row]]
"""Results of tool calls, by tool and call id."""


class Asks(StrEnum):
    """Topic of a question."""

    CHANGE = "what would change the answer"
    PLACES = "about places"
    WHY = "why"
    WHERE = "where"
    OTHER = "something else"


class Question(NamedTuple):
    """A parsed question."""

    asks: Asks
    places: list[str]


class ChatReply(NamedTuple):
    """Tool calls to make first, or the text."""

    calls: list[Call]
    text: str


_CHANGE = re.compile(
    r"change\b.*\bmind|would it take|would convince|what else (?:would|could)|how could (?:i|we|you)", re.I
)
_WHY = re.compile(r"\bwhy\b|how (?:sure|certain|do you know)|\bevidence\b|\breason|\bexplain|\bbecause\b", re.I)
_CLOSER = re.compile(r"\b(?:zoom|closer|enlarge|magnify)\b", re.I)
_WHERE = re.compile(r"\bwhere\b|which (?:country|city|place)|what (?:country|city|place)|\banswer\b", re.I)
_SPLIT = re.compile(r"\s+(?:and|with|to|or|vs\.?|versus|than|against|from)\s+|[,;/?!:.“”\"()]+", re.I)


def read_question(text: str) -> Question:
    """Parse a question; places are the words that are left when the question's own words are taken away."""
    places = _places(text)
    if _CHANGE.search(text):
        return Question(Asks.CHANGE, [])
    if places:
        return Question(Asks.PLACES, places)
    if _WHY.search(text):
        return Question(Asks.WHY, [])
    return Question(Asks.WHERE if _WHERE.search(text) else Asks.OTHER, [])


def _places(text: str) -> list[str]:
    names = (_name(part) for part in _SPLIT.split(text[:500]))
    return list(dict.fromkeys(name for name in names if len(name) >= 2))[:MAX_PLACES]


def _name(part: str) -> str:
    """The words of a part without fillers at its ends."""
    words = part.split()
    while words and words[0].casefold() in question_words():
        words.pop(0)
    while words and words[-1].casefold() in question_words():
        words.pop()
    return " ".join(words)[:MAX_NAME_CHARACTERS]


@cache
def question_words() -> frozenset[str]:
    """Words that are not part of a place's name (agents/data/question_words.txt)."""
    lines = resources.files("agents").joinpath("data/question_words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def respond(data: Row, results: Results, offered: set[str]) -> ChatReply:
    """The reply to what `data["person_asks"]` says, or the calls to make before it."""
    asked = str(data["person_asks"])
    if "NoteFacts" in offered and (replied := _to_a_statement(data, asked, results)):
        return replied
    if "look_closer" in offered and _CLOSER.search(asked):
        return _closer(data, asked, results)
    question = read_question(asked)
    if question.asks is Asks.PLACES and open_rows(data):
        return _about_places(data, question.places, results, offered)
    text = {
        Asks.CHANGE: what_would_change_it,
        Asks.WHY: why,
        Asks.WHERE: answer_text,
    }.get(question.asks, _cannot)(data)
    return ChatReply([], f"{text}\n{NO_LMM}")


def _to_a_statement(data: Row, words: str, results: Results) -> ChatReply | None:
    """The call that notes what the person states or takes back, then what came of it; None: they do neither."""
    done = next(iter(results.get("NoteFacts", {}).values()), None)
    if done is not None:
        said = [f"Noted: “{text}”." for text in done.get("noted", [])]
        said += ["Taken back." for _ in done.get("taken_back", [])[:1]]
        said += [f"Not noted: {text}." for text in done.get("problems", [])]
        leader = next(iter(open_rows(data)), None)
        now = f"{leader['name']} has a probability of {share(leader['probability'])} now." if leader else ""
        return ChatReply([], f"{' '.join([*said, now])}\n{NO_LMM}")
    if facts := parse_facts(words):
        return ChatReply([("NoteFacts", {"facts": facts})], "")
    stated = [item["id"] for item in data.get("evidence") or [] if str(item["claim"]).startswith("the person says")]
    if is_retraction(words) and stated:
        return ChatReply([("NoteFacts", {"retract": stated[-1:]})], "")
    return None


def _closer(data: Row, words: str, results: Results) -> ChatReply:
    """A look at the part of the photo that is named, and then the text that was read in it."""
    done = next(iter(results.get("look_closer", {}).values()), None)
    if done is None:
        return ChatReply([("look_closer", {"photo_id": data["photo_id"], "boxes": [_box(words)]})], "")
    parts = done.get("close_ups", [])
    if not any("text_in_it" in part for part in parts):
        return ChatReply([], f"Signs are not read here, and I cannot look at the picture.\n{NO_LMM}")
    lines = [sign["text"] for part in parts for sign in part.get("text_in_it", [])]
    read = f"Text read there: {'; '.join(lines)}." if lines else "No text was read there."
    return ChatReply([], f"{read}\n{NO_LMM}")


def _box(words: str) -> dict[str, float]:
    """The half, or quarter, of the photo that words name; its middle where they name none."""
    said = {word.casefold() for word in re.findall(r"\w+", words)}
    across = (0.0, 0.5) if "left" in said else (0.5, 1.0) if "right" in said else None
    is_high, is_low = said & {"top", "upper", "above"}, said & {"bottom", "lower", "below"}
    down = (0.0, 0.5) if is_high else (0.5, 1.0) if is_low else None
    if across is None and down is None:
        across, down = (0.25, 0.75), (0.25, 0.75)
    (left, right), (top, bottom) = across or (0.0, 1.0), down or (0.0, 1.0)
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def _cannot(data: Row) -> str:
    return f"{answer_text(data)}\nI do not understand more than that. {HELP}"


def _about_places(data: Row, names: Sequence[str], results: Results, offered: set[str]) -> ChatReply:
    unknown = [name for name in names if not _known(data, name) and _looked_up(results, name) is None]
    if unknown and "find_place" in offered:
        return ChatReply([("find_place", {"name": name}) for name in unknown], "")
    calls = list(_additions(data, names, results, offered))
    return ChatReply(calls, "") if calls else ChatReply([], f"{_compared(data, names, results)}\n{NO_LMM}")


def _known(data: Row, name: str) -> Row | None:
    """The most probable hypothesis of a name: by a part of its own name, or by its country."""
    key, code = name_key(name), country_of_name().get(name.casefold())
    for row in open_rows(data):
        parts = {name_key(part) for part in str(row["name"]).split(",")}
        if key in parts or (code and row.get("country_code") == code):
            return row
    return None


def _looked_up(results: Results, name: str) -> Row | None:
    """The gazetteer's result for a name; None if the name was not looked up."""
    found = (r for r in results.get("find_place", {}).values() if name_key(str(r["name"])) == name_key(name))
    return next(found, None)


def _place(results: Results, name: str) -> Row | None:
    found = _looked_up(results, name)
    return found["places"][0] if found and found["places"] else None


def _meant(data: Row, name: str, results: Results) -> Row | None:
    """The hypothesis of a name, also by the gazetteer's position of it."""
    known, place = _known(data, name), _place(results, name)
    if known or place is None:
        return known
    if not place.get("city") and not place.get("region"):
        return next((row for row in open_rows(data) if row.get("country_code") == place["country_code"]), None)
    return next((row for row in open_rows(data) if _within(row, place)), None)


def _within(row: Row, place: Row) -> bool:
    away = point_distance_km(Point(lat=row["lat"], lon=row["lon"]), Point(lat=place["lat"], lon=place["lon"]))
    return away <= max(1.0, min(float(row["radius_km"]), _radius_km(place)))


def area_proposal(area: Row) -> dict[str, Any]:
    """An area of the data as a proposal, without a reason: tool results give the reasons."""
    return {key: area[key] for key in ("name", "lat", "lon", "radius_km")}


def place_proposal(place: Row) -> dict[str, Any]:
    """A place of the gazetteer as a proposal."""
    parts = dict.fromkeys(part for part in (place.get("city"), place.get("region"), place["country"]) if part)
    return {"name": ", ".join(parts), "lat": place["lat"], "lon": place["lon"], "radius_km": _radius_km(place)}


def _radius_km(place: Row) -> float:
    """About how far a place reaches; a city 3 km with a thousand people, 25 km with ten million."""
    if place.get("city"):
        return round(min(25.0, 3.0 * math.pow(max(1.0, place.get("population", 0) / 1_000), 0.23)), 1)
    return REGION_RADIUS_KM if place.get("region") else COUNTRY_RADIUS_KM


def _additions(data: Row, names: Sequence[str], results: Results, offered: set[str]) -> Iterator[Call]:
    """New hypotheses for places that are none yet, and a search near each and near the leader; once."""
    if results.get("search_photos") or "ReviseHypotheses" not in offered:
        return
    new = [_place(results, name) for name in names if _meant(data, name, results) is None]
    added = [_addition(data, place) for place in new if place is not None]
    if not added:
        return
    yield "ReviseHypotheses", {"add": added}
    leader = first(data)
    if "search_photos" in offered:
        for area in [*added, *([leader] if leader else [])]:
            near = {"centre": {"lat": area["lat"], "lon": area["lon"]}, "radius_km": max(NEAR_KM, area["radius_km"])}
            yield "search_photos", {"photo_id": data["photo_id"], "near": near, "limit": 5}


def _addition(data: Row, place: Row) -> dict[str, Any]:
    """A place as a proposal; a country is represented by what was retrieved in it, where something was."""
    retrieved = {row["country_code"]: row for row in data.get("countries") or []}
    if not place.get("city") and not place.get("region") and place["country_code"] in retrieved:
        return area_proposal(retrieved[place["country_code"]])
    return place_proposal(place)


def _compared(data: Row, names: Sequence[str], results: Results) -> str:
    rows = [_meant(data, name, results) for name in names]
    missing = [name for name, row in zip(names, rows, strict=True) if row is None]
    lines = [_missing(data, name, results) for name in missing]
    found = [row for row in rows if row is not None]
    leader = first(data)
    if found and leader:
        other = found[1] if len(found) > 1 else leader
        lines.append(_pair(data, found[0], other, results))
    return "\n".join(lines or [answer_text(data)])


def _missing(data: Row, name: str, results: Results) -> str:
    closed = next((row for row in data.get("closed") or [] if name_key(name) in name_key(row["name"])), None)
    if closed:
        return f"{closed['name']} ({closed['id']}) was {closed['status']}."
    if _looked_up(results, name) is None:
        return f"{name!r} is no hypothesis, and I may not look places up here."
    if _place(results, name) is None:
        return f"I know no place called {name!r}. {HELP}"
    return f"{name} could not be listed, so nothing is told for or against it."


def _pair(data: Row, a: Row, b: Row, results: Results) -> str:
    if a["id"] == b["id"]:
        return f"{a['name']} is the answer.\n{why(data)}"
    likelier, other = (a, b) if a["probability"] >= b["probability"] else (b, a)
    return compare(data, likelier, other, _alike(results, (a, b)))


def _alike(results: Results, rows: Sequence[Row]) -> dict[str, float]:
    """The best similarity that a search near each hypothesis found, by hypothesis id."""
    best: dict[str, float] = {}
    found = [
        hit for result in results.get("search_photos", {}).values() for a in result["atlases"] for hit in a["best"]
    ]
    for row in rows:
        at = Point(lat=row["lat"], lon=row["lon"])
        reach = max(NEAR_KM, float(row["radius_km"]))
        near = [h["similarity"] for h in found if point_distance_km(at, Point(lat=h["lat"], lon=h["lon"])) <= reach]
        if near:
            best[row["id"]] = max(near)
    return best
