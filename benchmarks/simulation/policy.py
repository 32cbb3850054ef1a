"""A scripted LMM's replies: a function of the request alone, so that every run and every resumed run is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage, convert_to_messages

from agents.chat_models.capabilities import SayReady
from agents.messages import read_data
from agents.reply_schemas import GivePosition, NamePlace, ProposeHypotheses, ReviseHypotheses
from benchmarks.simulation.error_model import ErrorModel, Guess
from benchmarks.simulation.server import Json, Reply
from geo.point import Point
from geo.sphere import point_distance_km

READING_STRENGTH = 1.5
"""The strength stated for a reading, -3 to 3: the model does not know how often it misreads."""

LOOKS_A_ROUND = 3
LOOK_RADIUS_KM = 100.0
LOOKS = (("satellite_view", 5), ("search_photos", 0), ("satellite_view", 7), ("reverse_geocode", 0))
"""One kind of look a round, so that each round sees something new; the number is a zoom that the bundled map has."""

HYPOTHESIS_RADIUS_KM = 100.0
A_PART = {"left": 0.4, "top": 0.4, "right": 0.6, "bottom": 0.6}


class Look(NamedTuple):
    """A tool call that looks at one place: which call, in which way, where."""

    call_id: str
    way: str
    point: Point


class ScriptedPolicy:
    """The policy of a scripted LMM with given errors."""

    def __init__(self, errors: ErrorModel) -> None:
        self._errors = errors

    def __call__(self, body: Mapping[str, Any]) -> Reply:
        """The reply to a chat completion's request."""
        messages = convert_to_messages(body["messages"])
        offered = _may_call(body)
        data = _merged(messages)
        if SayReady.__name__ in offered:
            return _call(SayReady, {"ready": True})
        if ProposeHypotheses.__name__ in offered:
            return _call(ProposeHypotheses, self._proposal(data))
        if offered == {ReviseHypotheses.__name__}:
            revision = {"judgements": self._judgements(messages, data), "settled": _rounds(messages) >= len(LOOKS)}
            return _call(ReviseHypotheses, revision)
        if GivePosition.__name__ in offered:
            return _call(GivePosition, _position(self._answer(messages, data)))
        if NamePlace.__name__ in offered:
            return _call(NamePlace, {"name": self._guesses(data)[0].name})
        if offered:
            return self._look(messages, data, offered)
        return Reply("Stone, light and trees; nothing that is found in one place alone.")

    def _proposal(self, data: Json) -> Json:
        """Its places; where some photos have small signs, it asks to see a part enlarged, and then says again."""
        if "close_ups" in data:
            return {"hypotheses": [_place(g) for g in self._errors.closer_guesses(data["photo_id"])]}
        asked = {"look_closer": [A_PART]} if self._errors.rates.small_signs else {}
        return {"hypotheses": [_place(g) for g in self._guesses(data)], **asked}

    def _guesses(self, data: Json) -> list[Guess]:
        return self._errors.guesses(data["photo_id"])

    def _judgements(self, messages: Sequence[BaseMessage], data: Json) -> list[Json]:
        """A reading of each look of the last round, for the hypothesis it looked at."""
        return [
            {
                "hypothesis_id": hypothesis["id"],
                "claim": f"what {look.way} shows {'fits' if fits else 'does not fit'} the photo",
                "strength": READING_STRENGTH if fits else -READING_STRENGTH,
                "tool_call_id": look.call_id,
            }
            for look in _looks(messages, last_round=True)
            for hypothesis in data.get("hypotheses", [])
            if point_distance_km(look.point, _point(hypothesis)) < 1.0
            for fits in [self._fits(data, look)]
        ]

    def _fits(self, data: Json, look: Look) -> bool:
        return self._errors.fits(data["photo_id"], look.point, look.way)

    def _answer(self, messages: Sequence[BaseMessage], data: Json) -> Point:
        """Its own final answer: after its looks, or with what it was shown, or off the cuff."""
        guesses = [guess.point for guess in self._guesses(data)]
        looks = _looks(messages, last_round=False)
        if looks:
            return self._after_looks(guesses, [(look.point, self._fits(data, look)) for look in looks])
        shown = [_point(area) for key in ("similar", "regions") for area in data.get(key, [])]
        return self._errors.recognised(data["photo_id"], shown) or guesses[0]

    def _after_looks(self, guesses: Sequence[Point], readings: Sequence[tuple[Point, bool]]) -> Point:
        if not self._errors.rates.keeps_score:
            return next((point for point, fits in reversed(readings) if fits), guesses[0])
        score = {point: -0.5 * rank for rank, point in enumerate(guesses)}
        for point, fits in readings:
            if point in score:
                score[point] += 1.0 if fits else -1.0
        return max(guesses, key=lambda point: score[point])

    def _look(self, messages: Sequence[BaseMessage], data: Json, offered: set[str]) -> Reply:
        """Look at the leading places, in one way a round."""
        rounds = _rounds(messages)
        tool, zoom = LOOKS[rounds % len(LOOKS)]
        if rounds >= len(LOOKS) or tool not in offered:
            return Reply("Nothing more would help.")
        leaders = [_point(h) for h in data.get("hypotheses", [])] or [g.point for g in self._guesses(data)]
        return Reply(
            "The places differ in what lies around them, so I look there.",
            tuple((tool, _arguments(tool, zoom, point, data["photo_id"])) for point in leaders[:LOOKS_A_ROUND]),
        )


def _may_call(body: Mapping[str, Any]) -> set[str]:
    """Names of the tools on offer, or of the one that has to be called."""
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping):
        return {choice["function"]["name"]}
    return {tool["function"]["name"] for tool in body.get("tools", [])}


def _rounds(messages: Sequence[BaseMessage]) -> int:
    return sum(isinstance(message, AIMessage) and bool(_place_calls(message)) for message in messages)


def _merged(messages: Sequence[BaseMessage]) -> Json:
    """Everything quoted so far; what comes later replaces what came before."""
    data: Json = {}
    for message in messages:
        if isinstance(message, HumanMessage):
            data.update(read_data(message))
    return data


def _call(schema: type, arguments: Json) -> Reply:
    return Reply(calls=((schema.__name__, arguments),))


def _place(guess: Guess) -> Json:
    return {"name": guess.name, "radius_km": HYPOTHESIS_RADIUS_KM, **_position(guess.point)}


def _position(point: Point) -> Json:
    return {"lat": point.lat, "lon": point.lon}


def _point(area: Mapping[str, Any]) -> Point:
    return Point(lat=area["lat"], lon=area["lon"])


def _arguments(tool: str, zoom: int, point: Point, photo_id: str) -> Json:
    if tool == "search_photos":
        return {"photo_id": photo_id, "near": {"centre": _position(point), "radius_km": LOOK_RADIUS_KM}, "limit": 5}
    return {**_position(point), **({"zoom": zoom} if zoom else {})}


def _looks(messages: Sequence[BaseMessage], *, last_round: bool) -> list[Look]:
    """Looks whose tool answered, in order; one that failed shows nothing, and over the wire only its text shows it."""
    answered = {m.tool_call_id for m in messages if isinstance(m, ToolMessage) and not m.text.startswith("Error:")}
    rounds = [calls for m in messages if isinstance(m, AIMessage) and (calls := _place_calls(m))]
    wanted = rounds[-1:] if last_round else rounds
    return [look for calls in wanted for look in calls if look.call_id in answered]


def _place_calls(message: AIMessage) -> list[Look]:
    return [
        Look(call["id"] or "", look_name(call["name"], call["args"].get("zoom", 0)), where)
        for call in message.tool_calls
        if (where := _where(call))
    ]


def look_name(tool: str, zoom: int) -> str:
    """What a kind of look is called."""
    return f"{tool} {zoom}" if zoom else tool


def _where(call: ToolCall) -> Point | None:
    arguments = call["args"]
    centre = (arguments.get("near") or {}).get("centre") if call["name"] == "search_photos" else arguments
    return _point(centre) if call["name"] in dict(LOOKS) and centre and "lat" in centre else None
