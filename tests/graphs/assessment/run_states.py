"""What a run knows when evidence is made from it: a state, records of tools, positions of models."""

from __future__ import annotations

from typing import Any

from agents.schemas import Cost, Hypothesis
from geo.place import Place
from geo.point import Point
from graphs.state import GeolocateState, Position, ToolRecord
from tests.fakes.machine import candidates, given
from tools.results import Box, FoundPlaces, PhotoMatches, Sign, SignsRead, ToolResult
from tools.services.language_id import dominant_script, likely_languages


def state(**known: Any) -> GeolocateState:
    """A state in which nothing is known but what is given."""
    empty: dict[str, Any] = {
        **given(),
        "candidates": [],
        "candidate_countries": [],
        "contrast": [],
        "regions": [],
        "records": [],
        "opinions": [],
        "positions": [],
        "replies": [],
        "model_replies": [],
        "hypotheses": [],
        "evidence": [],
        "messages": [],
        "round": 0,
        "settled": False,
        "question_posed": None,
        "notes": [],
        "cost": Cost(),
        "cost_by_model": {},
    }
    return {**empty, **known}  # type: ignore[typeddict-item]  # the keys are the state's


def hypothesis(key: str, lat: float, lon: float, radius_km: float = 25.0) -> Hypothesis:
    """An open hypothesis whose name is its id."""
    return Hypothesis(id=key, name=key, point=Point(lat=lat, lon=lon), radius_km=radius_km, probability=0.0)


def position(lat: float, lon: float, **more: Any) -> Position:
    """A place that a model named."""
    said = {"name": "here", "radius_km": 25.0, "model": "fake", "reply_sha256": "0" * 64}
    return Position(point=Point(lat=lat, lon=lon), **{**said, **more})


def record(tool: str, result: ToolResult, call_id: str = "", **arguments: Any) -> ToolRecord:
    """A call that succeeded."""
    return ToolRecord(
        call_id=call_id or f"{tool}-{result.sha256()[:6]}",
        tool=tool,
        arguments=arguments,
        result=result.model_dump(mode="json"),
        result_sha256=result.sha256(),
    )


def searched(call_id: str = "", **arguments: Any) -> ToolRecord:
    """A search that found the candidates of the small world."""
    return record("search_photos", PhotoMatches(candidates=candidates()), call_id, **arguments)


def signs(*lines: str) -> ToolRecord:
    """Lines read in the photo."""
    box = Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
    read = tuple(
        Sign(text=t, confidence=0.9, box=box, script=dominant_script(t), languages=likely_languages(t)) for t in lines
    )
    return record("read_signs", SignsRead(signs=read, languages=likely_languages(" ".join(lines))))


def named(query: str, *places: Place) -> ToolRecord:
    """A name that was looked up."""
    return record("find_place", FoundPlaces(query=query, places=places), name=query)
