"""recall: what the atlases remember that looks like the photo."""

from __future__ import annotations

from typing import Any

from graphs.nodes.own_calls import call_tool
from graphs.state import GeolocateState
from graphs.workbench import Workbench
from tools.results import PhotoMatches


def recall(bench: Workbench, state: GeolocateState) -> dict[str, Any]:
    """Search every open atlas with the whole photo, and say which country each candidate lies in."""
    arguments = {"photo_id": state["photo_id"], "limit": bench.recall_limit}
    update = call_tool(bench, state, "search_photos", arguments)
    result = update["records"][0].result
    candidates = list(PhotoMatches.model_validate(result).candidates) if result is not None else []
    countries = bench.countries([candidate.point for candidate in candidates])
    return {**update, "candidates": candidates, "candidate_countries": countries}


def cluster(bench: Workbench, state: GeolocateState) -> dict[str, Any]:
    """Cluster the candidates on the sphere."""
    return {"regions": list(bench.cluster(state["candidates"])) if state["candidates"] else []}
