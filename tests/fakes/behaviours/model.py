"""A scripted model: it answers each of the machine's questions sensibly, by a call where it can, else as JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from agents.chat_models.dialects.conversations import NOTED
from tests.fakes.behaviours.replies import Json, Said

REASONING = 'Tram tracks. First thought: {"lat": 1.5, "lon": 2.5, "name": "Nowhere", "hypotheses": []}. No: Prague.'
PRAGUE = {"name": "Prague", "lat": 50.09, "lon": 14.42, "radius_km": 10.0, "confidence": 0.7, "why": "the bridge"}
MADRID = {"name": "Madrid", "lat": 40.42, "lon": -3.7, "radius_km": 25.0, "confidence": 0.2, "why": "the light"}
PORTUGAL = {"words": "it is Portugal", "countries": ["PT"]}
_ANSWERS: dict[str, Json] = {
    "GivePosition": PRAGUE,
    "ProposeHypotheses": {"hypotheses": [PRAGUE, MADRID]},
    "NamePlace": {"name": "Prague", "why": "the bridge"},
    "SayReady": {"ready": True},
}
_TO_CALL: tuple[tuple[str, Json], ...] = (
    ("find_place", {"name": "Prague"}),
    ("reverse_geocode", {"lat": 50.09, "lon": 14.42}),
)
_IN_PROMPT = re.compile(r"arguments of (\w+) as one JSON object|Call (?:the tool )?(\w+)|one call of the tool (\w+)")


def turns(asked: Json) -> list[tuple[str, str]]:
    """Role and text of each message, in the form of either protocol."""
    return [(message["role"], _text(message.get("content"))) for message in asked["messages"]]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content or []
    return "\n".join(_text(block.get("text") or block.get("content")) for block in blocks)


def reply(asked: Json, takes_tools: bool) -> Said:
    """What the model says to a request."""
    offered = [(tool.get("function") or tool)["name"] for tool in asked.get("tools") or []] if takes_tools else []
    last = turns(asked)[-1][1]
    if "NoteFacts" in offered and any("person_asks" in text for _, text in turns(asked)):
        return _follow_up(asked)
    by_text = [name for found in _IN_PROMPT.finditer(last) for name in found.groups() if name]
    named = [*by_text, *(offered if len(offered) == 1 or "find_place" not in offered else ())]
    wanted = next((name for name in named if name in _ANSWERS or name == "ReviseHypotheses"), None)
    if wanted:
        arguments = _ANSWERS.get(wanted) or _revision(asked)
        return Said(calls=((wanted, arguments, _id(asked)),)) if offered else Said(text=json.dumps(arguments))
    if not _has_tools(offered, last) or _has_results(asked):
        return Said(text="Nothing more would help: it is Prague, 50.09, 14.42.")
    if offered:
        return Said(calls=tuple((name, args, f"{_id(asked)}-{n}") for n, (name, args) in enumerate(_TO_CALL)))
    return Said(text=json.dumps([{"name": name, "arguments": arguments} for name, arguments in _TO_CALL]))


def _follow_up(asked: Json) -> Said:
    """A reply to what a person says about Portugal; the first call notes it."""
    if "NoteFacts" in json.dumps([message.get("tool_calls") for message in asked["messages"]]):
        return Said(text="I noted that it is Portugal.")
    return Said(calls=(("NoteFacts", {"facts": [PORTUGAL]}, _id(asked)),))


def _revision(asked: Json) -> Json:
    """A judgement that cites the last tool call that the model can see."""
    seen = re.findall(r"tool_call_id\W+([\w-]+)", json.dumps(asked["messages"]))
    seen += [block["id"] for m in asked["messages"] for block in m.get("tool_calls") or []]
    judged = {
        "hypothesis_id": "h1",
        "claim": "it is there",
        "strength": 1.0,
        "tool_call_id": seen[-1] if seen else None,
    }
    return {"judgements": [judged], "settled": True}


def _has_tools(offered: list[str], prompt: str) -> bool:
    return bool(offered) or "You can call these tools" in prompt


def _has_results(asked: Json) -> bool:
    return "tool_result" in json.dumps(asked["messages"]) or any(
        (role == "tool" and text != NOTED) or "Result of the tool find_place" in text for role, text in turns(asked)
    )


def _id(asked: Json) -> str:
    return f"call_{len(asked['messages'])}"
