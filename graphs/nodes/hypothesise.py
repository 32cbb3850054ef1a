"""hypothesise: the model's own first reading, and the retrieved regions beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.messages import request
from agents.reply_schemas import MAX_PROPOSED, PredictedPlace, ProposeHypotheses
from agents.schemas import Cost
from agents.structured_output.ask import Reply, ReplyStatus
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.inference.reckoning import reckon, with_proposals, with_regions
from graphs.nodes.model_calls import ask_model_structured
from graphs.prompt_data import scene_data
from graphs.reply_status import reply_sha256
from graphs.state import GeolocateState, Position, ToolRecord, add_cost
from graphs.toponyms import resolve_toponym


def hypothesise(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Ask what the picture alone says, then weigh that and the retrieved regions, which need nobody to propose them."""
    spent_on = spent_on_asking(context.budgets, state["cost"])
    if spent_on:
        return reckon(context, state, with_regions(context, state, []), state["records"], [])._asdict()
    prompt = context.strategy.render(
        context.strategy.hypothesise,
        photo_id=state["photo_id"],
        max_hypotheses=MAX_PROPOSED,
        tool_name=ProposeHypotheses.__name__,
    )
    reply = ask_model_structured(context, state, request(prompt, scene_data(context, state)), ProposeHypotheses)
    proposed = reply.value.hypotheses if reply.value else []
    spent: GeolocateState = {**state, "cost": add_cost(state["cost"], reply.cost)}
    positions, records, cost = locate_all(context, spent, proposed, "hypothesise", reply_sha256(reply.messages))
    hypotheses, opinions = with_proposals([], positions)
    known: GeolocateState = {**state, "positions": positions}
    reckoning = reckon(
        context, known, with_regions(context, state, hypotheses), [*state["records"], *records], opinions
    )
    return {
        **reckoning._asdict(),
        "positions": positions,
        "opinions": opinions,
        "records": records,
        "replies": [reply.status.value],
        "messages": reply.messages,
        "notes": [*_notes(reply), *reply.remarks, *_unknown(proposed, positions)],
        "cost": add_cost(reply.cost, cost),
    }


def locate_all(
    context: GeolocateContext, state: GeolocateState, said: Sequence[PredictedPlace], key: str, reply_hash: str
) -> tuple[list[Position], list[ToolRecord], Cost]:
    """Positions of the places said; those that nobody knows are left out. The look-ups and their cost come along."""
    positions: list[Position] = []
    records: list[ToolRecord] = []
    cost = Cost()
    for number, place in enumerate(said):
        spent: GeolocateState = {**state, "cost": add_cost(state["cost"], cost)}
        found = resolve_toponym(context, spent, place, f"{key}-{number}", reply_hash)
        positions += [found.position] if found.position else []
        records += found.records
        cost = add_cost(cost, found.cost)
    return positions, records, cost


def _notes(reply: Reply[ProposeHypotheses]) -> list[str]:
    if reply.status is ReplyStatus.OK:
        return []
    return [f"the model's first reading is missing ({reply.status.value}: {reply.problem})"]


def _unknown(said: Sequence[PredictedPlace], positions: Sequence[Position]) -> list[str]:
    lost = len(said) - len(positions)
    return [f"{lost} place(s) that the model named are in no gazetteer"] if lost else []
