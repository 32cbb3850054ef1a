"""The offline reasoner: rules behind a chat model's interface. It is no LMM and does not look at the picture.

It reads the same messages as an LMM and replies with the same tool calls. Each reply is a function of the messages
and the tools offered, so that a run resumes after a crash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage

from agents.chat_models.base import LocalModel, Tool
from agents.messages import read_data
from agents.offline.chat import Call, area_proposal, place_proposal, respond
from agents.reply_schemas import MAX_PROPOSED, ProposeHypotheses, ReviseHypotheses
from geo.places.names import name_key
from tools.services.country_cues import place_strings

GEOCODED_LEADERS = 3
PLACES_A_NAME = 4
MIN_NAMED_POPULATION = 1_000
MIN_SIGN_CONFIDENCE = 0.6


class OfflineReasoner(LocalModel):
    """Rules over tool results, behind the interface of a chat model."""

    @property
    def _llm_type(self) -> str:
        return "offline-rules"

    def reply(self, messages: Sequence[BaseMessage], tools: Sequence[Tool]) -> AIMessage:
        """Tool calls, or a sentence where the rules want none."""
        return _answer(messages, {tool["function"]["name"] for tool in tools})


def _answer(messages: Sequence[BaseMessage], offered: set[str]) -> AIMessage:
    data: dict[str, Any] = {}
    for message in messages:
        if isinstance(message, HumanMessage):
            # Later data replaces earlier data: hypotheses and evidence change, the scene does not.
            data.update(read_data(message))
    if "person_asks" in data:
        reply = respond(data, {tool: _results(messages, tool) for tool in ("find_place", "search_photos")}, offered)
        return _message(reply.calls, len(messages), reply.text)
    if ProposeHypotheses.__name__ in offered:
        heaviest = data.get("regions", [])[:MAX_PROPOSED]
        calls = [(ProposeHypotheses.__name__, {"hypotheses": [area_proposal(region) for region in heaviest]})]
    elif offered == {ReviseHypotheses.__name__}:
        calls = [(ReviseHypotheses.__name__, _revision(messages, data))]
    else:
        calls = [call for call in _investigation(messages, data) if call[0] in offered]
    return _message(calls, len(messages))


_NOTHING_MORE = "Nothing more would tell the hypotheses apart."


def _message(calls: Sequence[Call], turn: int, text: str = _NOTHING_MORE) -> AIMessage:
    tool_calls = [ToolCall(name=name, args=args, id=f"offline-{turn}-{i}") for i, (name, args) in enumerate(calls)]
    text = "" if calls else text
    return AIMessage(text, tool_calls=tool_calls, id=f"offline-{turn}")


# --- investigate: read signs, look up the names on them, see what lies at the leading places


def _investigation(messages: Sequence[BaseMessage], data: Mapping[str, Any]) -> list[Call]:
    """Tool calls that were not made yet."""
    calls: list[Call] = []
    if data.get("signs") is None:
        calls.append(("read_signs", {"photo_id": data["photo_id"]}))
    calls += [("find_place", {"name": text}) for text in place_strings(_sign_texts(messages, data))]
    leaders = data.get("hypotheses", [])[:GEOCODED_LEADERS]
    calls += [("reverse_geocode", {"lat": leader["lat"], "lon": leader["lon"]}) for leader in leaders]
    answers = [message for message in messages if isinstance(message, AIMessage)]
    made = [(call["name"], call["args"]) for answer in answers for call in answer.tool_calls]
    return [call for call in calls if call not in made]


def _sign_texts(messages: Sequence[BaseMessage], data: Mapping[str, Any]) -> list[str]:
    signs = list(data.get("signs") or [])
    for result in _results(messages, "read_signs").values():
        signs.extend(result["text_in_photo"])
    return list(dict.fromkeys(s["text"] for s in signs if s.get("confidence", 1.0) >= MIN_SIGN_CONFIDENCE))


# --- revise: add the places that signs name; countries that they point to are in the belief already


def _revision(messages: Sequence[BaseMessage], data: Mapping[str, Any]) -> dict[str, Any]:
    at_sea = [h["id"] for h in data.get("hypotheses", []) if _lies_at_sea(h, messages)]
    return {"add": list(_named_places(messages))[:MAX_PROPOSED], "reject": at_sea}


def _named_places(messages: Sequence[BaseMessage]) -> Iterator[dict[str, Any]]:
    for result in _results(messages, "find_place").values():
        meant = _meant(name_key(str(result["name"])), result["places"])
        yield from map(place_proposal, meant[:PLACES_A_NAME])


def _meant(name: str, places: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Towns and regions of a name, large enough, the most populous first; those called exactly so, if there are any.

    Countries are left out: signs speak for those by other cues. So are regions with a town of their name in them.
    """
    large = [p for p in places if p.get("population", 0) >= MIN_NAMED_POPULATION]
    towns = [p for p in large if p.get("city")]
    with_town = {(p["country_code"], name_key(p["city"])) for p in towns}
    regions = [p for p in large if p.get("region") and not p.get("city")]
    meant = [*towns, *(p for p in regions if (p["country_code"], name_key(p["region"])) not in with_town)]
    own = [p for p in meant if name_key(str(p.get("city") or p["region"])) == name]
    return sorted(own or meant, key=lambda place: -int(place["population"]))


def _lies_at_sea(hypothesis: Mapping[str, Any], messages: Sequence[BaseMessage]) -> bool:
    """Whether a tool found a hypothesis at sea that is too small to reach land."""
    at_sea = [r for r in _results(messages, "reverse_geocode").values() if r["surface"] == "sea"]
    here = (round(hypothesis["lat"], 4), round(hypothesis["lon"], 4))
    return bool(hypothesis["radius_km"] <= 100.0) and here in [(round(r["lat"], 4), round(r["lon"], 4)) for r in at_sea]


def _results(messages: Sequence[BaseMessage], tool: str) -> dict[str, dict[str, Any]]:
    """Results of a tool by call id, in order; failed calls have none."""
    return {
        message.tool_call_id: read_data(message)
        for message in messages
        if isinstance(message, ToolMessage) and message.name == tool and message.status != "error"
    }
