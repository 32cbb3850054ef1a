"""revise: the belief takes in what the tools returned, and the model may add, merge, reject and judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from agents.messages import passing_request
from agents.reply_schemas import Judgement, ReviseHypotheses
from agents.schemas import Hypothesis, add_cost
from agents.structured_output.position import ReplyStatus
from belief.decision import decide
from graphs.assessment.assess import Assessment, assess, with_proposals
from graphs.assessment.citations import citation_notes
from graphs.assessment.hypotheses import merge, reject
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.nodes.hypothesise import assessed_update
from graphs.nodes.investigate import all_tools
from graphs.nodes.model_calls import ask_model_structured, reply_sha256
from graphs.prompt_data import table_data
from graphs.state import GeolocateState, Opinion, Position
from graphs.toponyms import resolve_toponyms

SETTLED_CHANCE = 0.95

UNCHANGED = 0.01
"""A round that moves no probability by as much has changed nothing."""


def revise(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Weigh the new tool results, let the model revise if the budgets allow asking it, and weigh again."""
    first = assess(context, state)
    spent = spent_on_asking(context.budgets, state["cost"])
    if spent:
        return {**first.update(), "settled": is_settled(context, state["hypotheses"], first), "notes": [spent]}
    return _with_the_model(context, state, first)


def _with_the_model(context: GeolocateContext, state: GeolocateState, first: Assessment) -> dict[str, Any]:
    shown: GeolocateState = {**state, "hypotheses": first.hypotheses, "evidence": first.evidence}
    prompt = context.strategy.render(context.strategy.revise, tool_name=ReviseHypotheses.__name__)
    asked = passing_request(f"Revision after round {state['round']}.", prompt, table_data(context, shown))
    reply = ask_model_structured(context, shown, asked, ReviseHypotheses, offered=all_tools(context, state))
    revision = reply.value or ReviseHypotheses()
    spent: GeolocateState = {**state, "cost": add_cost(state["cost"], reply.cost)}
    key = f"revise-{state['round']}"
    found = resolve_toponyms(context, spent, revision.add, key, reply_sha256(reply.messages))
    hypotheses, opinions, notes = apply_revision(revision, found.positions, first.hypotheses)
    records = [*state["records"], *found.records]
    notes += citation_notes(opinions, hypotheses, records)
    assessed = assess(context, state, hypotheses, records, [*state["opinions"], *opinions])
    if reply.status is not ReplyStatus.OK:
        notes.append(f"the model's revision could not be used ({reply.problem})")
    settled = revision.settled or is_settled(context, state["hypotheses"], assessed)
    return {**assessed_update(assessed, opinions, reply, found), "settled": settled, "notes": [*notes, *reply.remarks]}


class Revision(NamedTuple):
    """The hypotheses after a revision, the judgements in it, and what could not be done."""

    hypotheses: list[Hypothesis]
    opinions: list[Opinion]
    notes: list[str]


def apply_revision(revision: ReviseHypotheses, added: Sequence[Position], hypotheses: Sequence[Hypothesis]) -> Revision:
    """The hypotheses with the located places added, and merged and rejected as the model wants."""
    changed = with_proposals(hypotheses, added)
    notes: list[str] = []
    for keep, absorb in revision.merge:
        changed = _if_open(changed, notes, absorb, partial(merge, keep=keep, absorb=absorb))
    for key in revision.reject:
        changed = _if_open(changed, notes, key, partial(reject, hypothesis_id=key))
    return Revision(changed, [_opinion(judgement) for judgement in revision.judgements], notes)


def _if_open(
    hypotheses: list[Hypothesis], notes: list[str], key: str, change: Callable[[list[Hypothesis]], list[Hypothesis]]
) -> list[Hypothesis]:
    try:
        return change(hypotheses)
    except KeyError as error:
        notes.append(f"the model wanted to close {key}, but {error.args[0]} is not an open hypothesis")
        return hypotheses


def _opinion(judgement: Judgement) -> Opinion:
    return Opinion(
        hypothesis_id=judgement.hypothesis_id,
        claim=judgement.claim,
        strength_nats=judgement.strength,
        tool_call_id=judgement.tool_call_id,
    )


def is_settled(context: GeolocateContext, before: Sequence[Hypothesis], after: Assessment) -> bool:
    """Whether the truth is all but surely within the wanted distance of the best point, or nothing has changed."""
    best = decide(after.belief, context.parameters.utility[context.aim.value])
    if after.belief.chance_within_km((best.lat_deg, best.lon_deg), context.aim.wanted_km) >= SETTLED_CHANCE:
        return True
    known = {h.id: h.probability for h in before}
    return all(h.id in known and abs(h.probability - known[h.id]) < UNCHANGED for h in after.hypotheses)
