"""Online tools in a whole run: off until configured, asked at one host only, cited by judgements, told in the audit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import BaseMessage

from agents.chat_models.registry import LoadedModel
from agents.schemas import Answer, EvidenceKind
from core.errors import UserError
from graphs.events.steps import Answered, StepDone
from graphs.online_services import mapillary_token
from graphs.settings import make_settings
from graphs.state import CaptureClues, ToolRecord
from graphs.system import GeoSleuth
from retrieval.photos.photo import Photo
from tests.fakes.machine import Calls, ScriptedModel, propose
from tests.fakes.tool_calls import Reply
from tests.tools.online.overpass_interpreter import SmallMap, Thing
from tests.tools.online.server import Asked, OnlineServer, as_json, serving
from tests.tools.online.test_street_view import TOKEN, Api, row
from tests.tools.online.test_weather import archive

ONLINE = {"map_features", "street_view", "web_search", "reverse_image_search", "weather"}
MAP = SmallMap([Thing(1, 40.42, -3.7, {"historic": "castle", "name": "Alcázar"})])
STREETS = Api([row(1, 40.4201, 0.0, computed_geometry={"type": "Point", "coordinates": [-3.7, 40.4201]})])


def every_service(asked: Asked) -> Reply:
    """All services behind one address, by path."""
    if asked.path == "/overpass":
        return MAP(asked)
    if asked.path == "/weather":
        return archive(zone="Europe/Madrid")(asked)
    if asked.path in ("/search", "/pictures"):
        return as_json({"results": [{"title": "A castle", "url": "https://x.example/", "lat": 40.42, "lon": -3.7}]})
    return STREETS(asked)


@pytest.fixture
def server() -> Iterator[OnlineServer]:
    with serving(every_service) as started:
        STREETS.url = started.url
        yield started


def settings_of(server: OnlineServer, home: Path) -> dict[str, Any]:
    return {
        "home": home,
        "read_signs": False,
        "overpass": f"{server.url}/overpass",
        "mapillary": server.url,
        "mapillary_token": TOKEN,
        "web_search": f"{server.url}/",
        "image_search": f"{server.url}/pictures",
        "weather": f"{server.url}/weather",
    }


def photo() -> Photo:
    rgb = np.random.default_rng(3).integers(0, 255, (120, 160, 3), np.uint8)
    return Photo(rgb, "3".ljust(64, "0"), "holiday.jpg")


CALLS: Calls = [
    ("map_features", {"kinds": ["castle"], "centre": {"lat": 40.42, "lon": -3.7}, "radius_km": 5.0}),
    ("street_view", {"lat": 40.42, "lon": -3.7}),
    ("web_search", {"query": "castle by the river"}),
    ("reverse_image_search", {"photo_id": photo().id}),
    ("weather", {"lat": 40.42, "lon": -3.7, "taken_at": "1999-01-01T00:00"}),
]


def curious(messages: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
    """Proposes Madrid and Prague, calls each online tool once, and judges each result, of Madrid, to fit both."""
    made = [call for message in messages for call in getattr(message, "tool_calls", []) if call["name"] in ONLINE]
    if "ProposeHypotheses" in offered:
        return "", propose(("Madrid", 40.42, -3.7), ("Prague", 50.09, 14.42))
    if offered == {"ReviseHypotheses"}:
        judgements = [
            {"hypothesis_id": key, "claim": f"{call['name']} fits", "strength": 3.0, "tool_call_id": call["id"]}
            for call in made
            for key in ("H1", "H2")
        ]
        return "", [("ReviseHypotheses", {"judgements": judgements, "settled": True})]
    return "", [] if made else [call for call in CALLS if call[0] in offered]


def located(opened: GeoSleuth) -> tuple[Answer, list[ToolRecord]]:
    records: list[ToolRecord] = []
    clues = CaptureClues(taken_at="2024-07-01T13:00")
    for event in opened.stream(photo(), clues=clues):
        if isinstance(event, StepDone):
            records += event.records
        elif isinstance(event, Answered):
            return event.answer, records
    raise AssertionError("no answer")


def curious_model() -> LoadedModel:
    return LoadedModel(name="offline", chat=ScriptedModel(policy=curious))


def audit(home: Path) -> list[str]:
    left: list[str] = json.loads((home / "audit.jsonl").read_text().splitlines()[-1])["left_the_machine"]
    return left


def test_none_is_offered_until_it_is_configured(tmp_path: Path) -> None:
    with GeoSleuth.open(make_settings(home=tmp_path, read_signs=False), model=curious_model()) as opened:
        assert not ONLINE & set(opened.context.tools)
        located(opened)
    assert audit(tmp_path) == []


def test_all_are_asked_and_told(server: OnlineServer, tmp_path: Path) -> None:
    with GeoSleuth.open(make_settings(**settings_of(server, tmp_path)), model=curious_model()) as opened:
        assert set(opened.context.tools) >= ONLINE
        answer, records = located(opened)
    made = {record.tool: record for record in records if record.tool in ONLINE}
    assert {tool: record.error for tool, record in made.items()} == dict.fromkeys(ONLINE)
    host = server.url.removeprefix("http://")
    assert audit(tmp_path) == [
        f"areas and kinds of things seen, to {host}, if the model looked at the map",
        f"positions of hypotheses, to {host}, if the model asked for street pictures",
        f"words that the model chose, to {host}, if the model searched",
        f"THE PHOTO'S PIXELS, whole or a part, to {host}, if the model searched with it",
        f"positions of hypotheses and the date, to {host}, if the model asked for weather",
    ]
    kept = json.dumps([record.model_dump(mode="json") for record in records])
    assert "jpeg_base64" not in kept, "pictures stay out of records"
    assert TOKEN not in kept + answer.model_dump_json() + (tmp_path / "audit.jsonl").read_text()
    assert made["weather"].arguments["taken_at"] == "2024-07-01T13:00", "the user's time, not the model's"
    assert made["map_features"].result is not None
    assert made["map_features"].result["positions"] == [{"lat": 40.42, "lon": -3.7}]


def test_results_count_by_the_judgements_that_cite_them_alone(server: OnlineServer, tmp_path: Path) -> None:
    with GeoSleuth.open(make_settings(**settings_of(server, tmp_path)), model=curious_model()) as opened:
        answer, _ = located(opened)
    cited = [e for e in answer.evidence if e.source and e.source.tool in ONLINE]
    assert {e.source.tool for e in cited if e.source and e.information_nats} == ONLINE
    assert {e.kind for e in cited if e.information_nats} == {EvidenceKind.JUDGEMENT}
    assert {e.judged for e in cited if e.information_nats} == {"H1"}, "no result of one place speaks for another"


@pytest.mark.parametrize("setting", ["overpass", "mapillary", "web_search", "image_search", "weather"])
@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "overpass.example.org", "http://", "http://u:secret@h/", "http://h/?key=secret", "http://["],
)
def test_addresses_that_cannot_be_used(setting: str, url: str) -> None:
    with pytest.raises(UserError, match=rf"setting {setting}: .*give http\(s\)://HOST") as error:
        make_settings(**{setting: url})
    assert "secret" not in str(error.value)


def test_the_token_comes_from_the_environment_and_is_never_saved_or_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSLEUTH_MAPILLARY_TOKEN", f" {TOKEN}\n")
    settings = make_settings()
    assert mapillary_token(settings) == TOKEN
    assert TOKEN not in f"{settings!r}{settings.model_dump()}{settings.model_dump_json()}"
    monkeypatch.setenv("GEOSLEUTH_MAPILLARY_TOKEN", "")
    assert mapillary_token(make_settings()) == ""


def test_a_token_that_cannot_be_one_stops_the_opening(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="GEOSLEUTH_MAPILLARY_TOKEN"):
        GeoSleuth.open(make_settings(home=tmp_path, mapillary_token="a b"))  # noqa: S106 - made up
