"""look, recall and cluster: what the tools find without the model.

Text in the photo is read, the sun is checked if the user gave a time and its position, similar items of the atlases
are retrieved and clustered into regions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.schemas import Cost, add_cost
from agents.strategies import Shown
from graphs.context import SEARCH_TOOL, GeolocateContext
from graphs.nodes.tool_calls import call_tool
from graphs.state import GeolocateState, photo_ids
from tools.results import PhotoMatches

CONTRAST_LIMIT = 10
"""Least similar items asked of each atlas, where a strategy shows them."""


def look(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Call the tools that need no model. Metadata is not looked at."""
    update: dict[str, Any] = {"records": [], "notes": [], "cost": Cost()}
    for tool, arguments, key in _calls(context, state):
        made = call_tool(context, {**state, "cost": add_cost(state["cost"], update["cost"])}, tool, arguments, key)
        update["records"] += made["records"]
        update["notes"] += made["notes"]
        update["cost"] = add_cost(update["cost"], made["cost"])
    return update if update["records"] else {}


def _calls(context: GeolocateContext, state: GeolocateState) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Tool, arguments, and what tells calls of one tool apart."""
    if context.read_signs and "read_signs" in context.tools:
        for number, photo_id in enumerate(photo_ids(state), 1):
            yield "read_signs", {"photo_id": photo_id}, "" if number == 1 else f"photo{number}"
    clues = state.get("clues")
    observed = clues.model_dump(exclude_none=True) if clues else {}
    if "taken_at" in observed and len(observed) > 1 and "sun_check" in context.tools:
        yield "sun_check", observed, ""


def recall(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Search every open atlas with the whole photo, and find the country of each candidate.

    Several photos of one place are one search: its fitted reliability counts once.
    """
    more = {"more_photo_ids": state["more_photo_ids"]} if state.get("more_photo_ids") else {}
    arguments = {"photo_id": state["photo_id"], "limit": context.recall_limit, **more}
    update = call_tool(context, state, SEARCH_TOOL, arguments)
    result = update["records"][0].result
    candidates = list(PhotoMatches.model_validate(result).candidates) if result is not None else []
    countries = context.countries([candidate.point for candidate in candidates])
    contrasts = Shown.DISSIMILAR in context.strategy.shown
    contrast = list(context.dissimilar(photo_ids(state), CONTRAST_LIMIT)) if contrasts else []
    return {**update, "candidates": candidates, "candidate_countries": countries, "contrast": contrast}


def cluster(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Cluster the candidates on the sphere."""
    return {"regions": list(context.cluster(state["candidates"])) if state["candidates"] else []}
