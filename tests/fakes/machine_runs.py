"""Runs of the machine in the small world, and a model that proposes, investigates and revises by a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from agents.schemas import Answer
from graphs.context import GeolocateContext
from graphs.geolocate import build_geolocate
from graphs.nodes.tool_calls import TOOL_CALL_TASK
from tests.fakes.machine import ScriptedModel, given

Calls = list[tuple[str, dict[str, Any]]]


def run(at: GeolocateContext, **changed: Any) -> Answer:
    answer: Answer = build_geolocate(at).invoke(given(**changed))["answer"]  # type: ignore[call-overload]
    return answer


def steps(at: GeolocateContext) -> list[str]:
    updates = build_geolocate(at).stream(given(), stream_mode="updates")  # type: ignore[call-overload]
    return [step for update in updates for step in update if step != TOOL_CALL_TASK]


def without_time(answer: Answer) -> Answer:
    return answer.model_copy(update={"cost": answer.cost.model_copy(update={"seconds": 0.0})})


def propose(*places: tuple[str, float, float]) -> Calls:
    rows = [{"name": n, "lat": lat, "lon": lon, "radius_km": 30.0, "why": "it looks so"} for n, lat, lon in places]
    return [("ProposeHypotheses", {"hypotheses": rows})]


def scripted(investigate: Calls, revision: dict[str, Any] | None = None, **fields: Any) -> ScriptedModel:
    """Proposes Madrid and Prague, makes these calls in its first investigation, revises so."""

    def policy(messages: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        if "ProposeHypotheses" in offered:
            return "", propose(("Madrid", 40.42, -3.7), ("Prague", 50.09, 14.42))
        if "ReviseHypotheses" in offered:
            return "", [("ReviseHypotheses", revision or {})]
        first = sum(isinstance(m, HumanMessage) for m in messages) == 2
        return ("", investigate) if first else ("done", [])

    return ScriptedModel(policy=policy, **fields)
