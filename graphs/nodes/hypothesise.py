"""hypothesise: the models' own first readings of the picture, and the belief that they and the tools make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from agents.messages import request
from agents.reply_schemas import MAX_PROPOSED, ProposeHypotheses
from agents.schemas import Cost, add_cost
from agents.structured_output.ask import Reply
from agents.structured_output.position import ReplyStatus
from graphs.assessment.assess import Assessment, assess, with_proposals
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.nodes.model_calls import ask_model_structured, model_cost, reply_sha256, reply_statuses, side_by_side
from graphs.prompt_data import scene_data
from graphs.state import GeolocateState, Opinion
from graphs.toponyms import ResolvedToponyms, resolve_toponyms


def hypothesise(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Ask every model what the picture alone says; each is a witness, worth what its record says.

    All are asked the same, side by side. A model that gives nothing to use costs its own reading alone. The
    conversation goes on with the first model's request and reply.
    """
    if spent_on_asking(context.budgets, state["cost"]):
        return assess(context, state).update()
    replies = _ask_all(context, state)
    found = _located(context, state, replies)
    known: GeolocateState = {**state, "positions": found.positions}
    records = [*state["records"], *found.records]
    assessed = assess(context, known, with_proposals([], found.positions), records)
    update = assessed_update(assessed, [], replies[0], found, replies[1:])
    return {**update, "positions": found.positions, "notes": list(_notes(context, replies, len(found.positions)))}


def _ask_all(context: GeolocateContext, state: GeolocateState) -> list[Reply[ProposeHypotheses]]:
    """The reply of each model, in their order."""
    prompt = context.strategy.render(
        context.strategy.hypothesise,
        photo_id=state["photo_id"],
        max_hypotheses=MAX_PROPOSED,
        tool_name=ProposeHypotheses.__name__,
    )
    asked = request(prompt, scene_data(context, state))
    ask = partial(ask_model_structured, context, state, asked, ProposeHypotheses)
    return side_by_side([partial(ask, model) for model in context.models])


def _located(
    context: GeolocateContext, state: GeolocateState, replies: Sequence[Reply[ProposeHypotheses]]
) -> ResolvedToponyms:
    """The positions of all places that the models named, and the look-ups that it took."""
    every = ResolvedToponyms([], [], Cost())
    asked: Cost = model_cost(replies)["cost"]
    for number, reply in enumerate(replies):
        proposed = reply.value.hypotheses if reply.value else []
        spent: GeolocateState = {**state, "cost": add_cost(state["cost"], add_cost(asked, every.cost))}
        key = f"hypothesise-model{number}" if number else "hypothesise"
        found = resolve_toponyms(context, spent, proposed, key, reply_sha256(reply.messages), reply.model)
        every = ResolvedToponyms(
            [*every.positions, *found.positions], [*every.records, *found.records], add_cost(every.cost, found.cost)
        )
    return every


def _notes(context: GeolocateContext, replies: Sequence[Reply[ProposeHypotheses]], known: int) -> Iterator[str]:
    for reply in replies:
        whose = f"the first reading of {reply.model}" if len(context.models) > 1 else "the model's first reading"
        if reply.status is not ReplyStatus.OK:
            yield f"{whose} is missing ({reply.status.value}: {reply.problem})"
        yield from reply.remarks
    unknown = sum(len(reply.value.hypotheses) for reply in replies if reply.value) - known
    if unknown:
        yield f"{unknown} place(s) that the model{'s' * (len(context.models) > 1)} named are in no gazetteer"


def assessed_update(
    assessed: Assessment,
    opinions: list[Opinion],
    reply: Reply[Any],
    found: ResolvedToponyms,
    others: Sequence[Reply[Any]] = (),
) -> dict[str, Any]:
    """The update of a node that asked for places: what the belief now says, and what the replies came to.

    The conversation goes on with `reply`; `others` are replies of other models to the same request.
    """
    costs = model_cost([reply, *others])
    return {
        **assessed.update(),
        "opinions": opinions,
        "records": found.records,
        **reply_statuses([reply, *others]),
        "messages": reply.messages,
        **costs,
        "cost": add_cost(costs["cost"], found.cost),
    }
