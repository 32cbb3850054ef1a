"""look: read the text in the photo, and check the sun if the user gave a time and its position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.schemas import Cost, add_cost
from graphs.context import GeolocateContext
from graphs.nodes.tool_calls import call_tool
from graphs.state import GeolocateState


def look(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Call the tools that need no model. Metadata is not looked at."""
    update: dict[str, Any] = {"records": [], "notes": [], "cost": Cost()}
    for tool, arguments in _calls(context, state):
        made = call_tool(context, {**state, "cost": add_cost(state["cost"], update["cost"])}, tool, arguments)
        update["records"] += made["records"]
        update["notes"] += made["notes"]
        update["cost"] = add_cost(update["cost"], made["cost"])
    return update if update["records"] else {}


def _calls(context: GeolocateContext, state: GeolocateState) -> Iterator[tuple[str, dict[str, Any]]]:
    if context.read_signs and "read_signs" in context.tools:
        yield "read_signs", {"photo_id": state["photo_id"]}
    clues = state.get("clues")
    observed = clues.model_dump(exclude_none=True) if clues else {}
    if "taken_at" in observed and len(observed) > 1 and "sun_check" in context.tools:
        yield "sun_check", observed
