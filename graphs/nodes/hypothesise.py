"""hypothesise: the model's own first reading of the picture, and the retrieved regions beside it."""

from __future__ import annotations

from typing import Any

from agents.messages import request
from agents.reply_schemas import MAX_PROPOSED, ProposeHypotheses
from agents.schemas import add_cost
from agents.structured_output.ask import Reply
from agents.structured_output.position import ReplyStatus
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.inference.reckoning import Reckoning, reckon, with_proposals, with_regions
from graphs.nodes.model_calls import ask_model_structured, reply_sha256
from graphs.prompt_data import scene_data
from graphs.state import GeolocateState, Opinion
from graphs.toponyms import ResolvedToponyms, resolve_toponyms


def hypothesise(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Ask the model what the picture alone says; weigh its proposals together with the retrieved regions."""
    if spent_on_asking(context.budgets, state["cost"]):
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
    found = resolve_toponyms(context, spent, proposed, "hypothesise", reply_sha256(reply.messages))
    hypotheses, opinions = with_proposals([], found.positions)
    known: GeolocateState = {**state, "positions": found.positions}
    records = [*state["records"], *found.records]
    reckoning = reckon(context, known, with_regions(context, state, hypotheses), records, opinions)
    notes: list[str] = []
    if reply.status is not ReplyStatus.OK:
        notes.append(f"the model's first reading is missing ({reply.status.value}: {reply.problem})")
    notes += reply.remarks
    unknown = len(proposed) - len(found.positions)
    if unknown:
        notes.append(f"{unknown} place(s) that the model named are in no gazetteer")
    update = ledger_update(reckoning, opinions, reply, found)
    return {**update, "positions": found.positions, "notes": notes}


def ledger_update(
    reckoning: Reckoning, opinions: list[Opinion], reply: Reply[Any], found: ResolvedToponyms
) -> dict[str, Any]:
    """The update of a node that asked the model for places: the ledger, and what the reply and its places came to."""
    return {
        **reckoning._asdict(),
        "opinions": opinions,
        "records": found.records,
        "replies": [reply.status.value],
        "messages": reply.messages,
        "cost": add_cost(reply.cost, found.cost),
    }
