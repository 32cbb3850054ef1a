"""recall and cluster: similar items of the atlases, and the regions that they form."""

from __future__ import annotations

from typing import Any

from agents.strategies import Shown
from graphs.context import GeolocateContext
from graphs.nodes.tool_calls import call_tool
from graphs.state import GeolocateState
from tools.results import PhotoMatches

CONTRAST_LIMIT = 10
"""Least similar items asked of each atlas, where a strategy shows them."""


def recall(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Search every open atlas with the whole photo, and find the country of each candidate."""
    arguments = {"photo_id": state["photo_id"], "limit": context.recall_limit}
    update = call_tool(context, state, "search_photos", arguments)
    result = update["records"][0].result
    candidates = list(PhotoMatches.model_validate(result).candidates) if result is not None else []
    countries = context.countries([candidate.point for candidate in candidates])
    contrasts = Shown.DISSIMILAR in context.strategy.shown
    contrast = list(context.dissimilar(state["photo_id"], CONTRAST_LIMIT)) if contrasts else []
    return {**update, "candidates": candidates, "candidate_countries": countries, "contrast": contrast}


def cluster(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Cluster the candidates on the sphere."""
    return {"regions": list(context.cluster(state["candidates"])) if state["candidates"] else []}
