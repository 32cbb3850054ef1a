"""hypothesise: the model proposes distinct places."""

from __future__ import annotations

from typing import Any

from agents.messages import request
from agents.prompts import render
from agents.proposals import MAX_PROPOSED, ProposeHypotheses
from graphs.briefing import scene_data
from graphs.nodes.model_calls import ask_for
from graphs.reckoning import reckon, with_proposals
from graphs.state import GeolocateState
from graphs.workbench import Workbench


def hypothesise(bench: Workbench, state: GeolocateState) -> dict[str, Any]:
    """Ask for hypotheses and weigh them against what was retrieved and read."""
    prompt = render("hypothesise", photo_id=state["photo_id"], max_hypotheses=MAX_PROPOSED)
    said = ask_for(bench, state, request(prompt, scene_data(bench, state)), ProposeHypotheses)
    proposals = said.value.hypotheses if said.value else []
    hypotheses, opinions = with_proposals([], proposals)
    reckoning = reckon(bench, state, hypotheses, state["records"], opinions)
    return {
        **reckoning._asdict(),
        "opinions": opinions,
        "messages": said.messages,
        "notes": [] if said.value else ["the model proposed nothing that could be used"],
        "cost": said.cost,
    }
