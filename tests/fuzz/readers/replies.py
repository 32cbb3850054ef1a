"""What models and services say: replies parsed as positions, tool calls and schemas; folders of written requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from agents.chat_models.failures import ModelFailure
from agents.chat_models.tool_prompting import calls_in_text
from agents.chat_models.written.request_folder import ReplyFiles, RequestFolder, written_request
from agents.reply_schemas import GivePosition, NamePlace, NoteFacts, ProposeHypotheses, ReviseHypotheses
from agents.structured_output.arguments import arguments_of
from agents.structured_output.ask import ask_structured
from agents.structured_output.json_repair import find_objects
from agents.structured_output.position import ReplyStatus, parse_position
from agents.structured_output.thoughts import split_thoughts
from core.errors import UserError
from geo.point import Point
from tests.agents.structured_output.scripted import find_place, loaded, read_signs
from tests.fuzz.cases import Files, Target
from tools.results import ToolError
from tools.services.geocoders import Nominatim

_SCHEMAS: tuple[type[BaseModel], ...] = (GivePosition, NamePlace, NoteFacts, ProposeHypotheses, ReviseHypotheses)
_TOOLS = [
    {"type": "function", "function": {"name": each.name, "parameters": each.args_schema.model_json_schema()}}  # type: ignore[union-attr]
    for each in (read_signs, find_place)
]
_PLACES = {
    "observations": "a tram, Czech signs",
    "hypotheses": [
        {"name": "Prague, Czechia", "lat": 50.08, "lon": 14.43, "radius_km": 5.0, "confidence": "70%", "why": "signs"},
        {"name": "Warsaw", "lat": "52°13'N", "lon": "21°E", "probability": 0.3},
    ],
}
_REPLY = (
    "<think>Lisbon? No.</think>The signs are Czech, 50.0874, 14.4213.\n```json\n"
    f"{json.dumps(_PLACES, ensure_ascii=False)}\n```\n"
    '{"calls": [{"name": "read_signs", "arguments": {"photo_id": "p"}}]}\nLatitude: 50.08 N, longitude: 14.43 E\n'
)


def _parse(folder: Path) -> object:
    text = (folder / "reply").read_bytes().decode("utf-8", "replace") if (folder / "reply").is_file() else ""
    said, _ = split_thoughts(text)
    reply = parse_position(said)
    if reply.status is ReplyStatus.OK:
        Point(lat=reply.place["lat"], lon=reply.place["lon"])
    for schema in _SCHEMAS:
        arguments_of(AIMessage(said), schema)
    return len(calls_in_text(said, _TOOLS))


def _ask(folder: Path) -> object:
    """The whole way of a reply, as text and as arguments of a call."""
    text = (folder / "reply").read_bytes().decode("utf-8", "replace") if (folder / "reply").is_file() else ""
    arguments: dict[str, Any] = next(iter(find_objects(text)), {})
    call = {"name": "ProposeHypotheses", "args": arguments, "id": "c"}
    broken = {"name": "ProposeHypotheses", "args": text, "id": "c", "error": None}
    for reply in (
        AIMessage(text),
        AIMessage("", tool_calls=[call]),
        AIMessage("", invalid_tool_calls=[broken]),
    ):
        model, _ = loaded(reply, reply)
        asked = ask_structured(model, [HumanMessage("where?")], ProposeHypotheses)
        assert (asked.value is not None) == (asked.status is ReplyStatus.OK)
        if asked.value is not None:
            asked.value.model_dump_json()
    return None


_MESSAGES = [SystemMessage("be brief"), HumanMessage("where?"), AIMessage("here"), HumanMessage("sure?")]


def _requests() -> Files:
    return {
        "0001-0123456789ab/request.json": json.dumps(
            {"id": "0001-0123456789ab", "sample": 0, "for": "x", "messages": [
                {"role": "system", "text": "be brief"}, {"role": "user", "text": "where?"}]}
        ).encode(),
        "0001-0123456789ab/reply.json": b'{"lat": 1, "lon": 2}',
    }  # fmt: skip


def _write_and_read(folder: Path) -> object:
    """A request that continues the one that is there, and its reply."""
    ReplyFiles(folder / "0001-0123456789ab").read()
    place = RequestFolder(folder).place(written_request(_MESSAGES, None, {"for": "x", "sample": 0}), "Reply.")
    assert (place / "prompt.md").is_file()
    return None


def _geocoder(folder: Path) -> object:
    """A service's reply, through the client that it comes by."""
    data = (folder / "body").read_bytes() if (folder / "body").is_file() else b""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(data), headers={"Content-Type": "application/json"})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        geocoder = Nominatim("http://127.0.0.1:9", {"127.0.0.1:9"}, client, min_interval_s=0.0)
        return len(geocoder.find("Praha")), geocoder.place_at(Point(lat=50.0, lon=14.0))


_PLACE = {
    "lat": "50.08",
    "lon": "14.43",
    "address": {"country": "Czechia", "country_code": "cz", "city": "Prague", "state": "Prague"},
    "extratags": {"population": "1,300,000"},
}

TARGETS = (
    Target("reply-parsed", lambda: {"reply": _REPLY.encode()}, _parse, ()),
    Target("reply-asked", lambda: {"reply": json.dumps(_PLACES).encode()}, _ask, ()),
    Target("request-folder", _requests, _write_and_read, (ModelFailure, UserError)),
    Target("geocoder-reply", lambda: {"body": json.dumps([_PLACE, _PLACE]).encode()}, _geocoder, (ToolError,)),
)
