"""hypothesise: the models' own first readings of the picture, and the belief that they and the tools make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from agents.messages import passing_request
from agents.reply_schemas import MAX_PROPOSED, ProposeHypotheses
from agents.schemas import Cost, add_cost
from agents.strategies import ASK_CLOSER
from agents.structured_output.ask import Reply
from agents.structured_output.position import ReplyStatus
from agents.structured_output.samples import side_by_side
from graphs.assessment.assess import Assessment, assess, with_proposals
from graphs.assessment.evidence import latest_look
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.nodes.look_closer import may_look_closer, proposals_schema, second_look
from graphs.nodes.model_calls import ask_model_structured, model_cost, reply_sha256, reply_statuses
from graphs.prompt_data import photo_title, scene_data
from graphs.state import GeolocateState, Opinion, Position
from graphs.toponyms import ResolvedToponyms, resolve_toponyms


def hypothesise(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Ask every model what the picture alone says; each is a witness, worth what its record says.

    All are asked the same, side by side. A model that gives nothing to use costs its own reading alone. The
    conversation goes on with the first model's request and reply. Where the strategy looks closer, each model sees
    the parts that it asked for enlarged and says once more where the photo was taken: that counts in place of its
    first reading.
    """
    if spent_on_asking(context.budgets, state["cost"]):
        return assess(context, state).update()
    first = _ask_all(context, state)
    looked = second_look(context, _after(state, first), first)
    replies = [*first, *looked.replies]
    found = _located(context, _after(state, replies, looked.cost), first, looked.replies)
    known: GeolocateState = {**state, "positions": found.positions}
    proposed = with_proposals([], _as_last_seen(found.positions))
    assessed = assess(context, known, proposed, [*state["records"], *looked.records, *found.records])
    update = assessed_update(assessed, [], replies[0], found, replies[1:])
    return {
        **update,
        "records": [*looked.records, *found.records],
        "messages": [*first[0].messages, *looked.messages],
        "cost": add_cost(update["cost"], looked.cost),
        "positions": found.positions,
        "notes": [*_notes(context, first, found.positions), *looked.notes],
    }


def _after(
    state: GeolocateState, replies: Sequence[Reply[ProposeHypotheses]], more: Cost | None = None
) -> GeolocateState:
    """The state with what replies cost, and more, counted as spent."""
    return {**state, "cost": add_cost(add_cost(state["cost"], model_cost(replies)["cost"]), more or Cost())}


def _as_last_seen(positions: Sequence[Position]) -> list[Position]:
    """The places of each model as it last saw them."""
    models = dict.fromkeys(position.model for position in positions)
    return [p for model in models for p in latest_look([p for p in positions if p.model == model])]


def _ask_all(context: GeolocateContext, state: GeolocateState) -> list[Reply[ProposeHypotheses]]:
    """The reply of each model, in their order."""
    strategy, schema = context.strategy, proposals_schema(state)
    prompt = strategy.render(
        strategy.hypothesise,
        photo_id=photo_title(state),
        max_hypotheses=MAX_PROPOSED,
        tool_name=ProposeHypotheses.__name__,
        clue_catalogue=strategy.clue_catalogue,
        look_closer=strategy.template(ASK_CLOSER) if may_look_closer(context) else "",
    )
    asked = passing_request(f"Photo {photo_title(state)}.", prompt, scene_data(context, state))
    ask = partial(ask_model_structured, context, state, asked, schema)
    return side_by_side([partial(ask, model) for model in context.models], len(context.models))


def _located(
    context: GeolocateContext,
    state: GeolocateState,
    first: Sequence[Reply[ProposeHypotheses]],
    again: Sequence[Reply[ProposeHypotheses]],
) -> ResolvedToponyms:
    """The positions of all places that the models named at each look, and the look-ups that it took."""
    every = ResolvedToponyms([], [], Cost())
    looks = [*((0, number, reply) for number, reply in enumerate(first)), *((1, n, r) for n, r in enumerate(again))]
    for look, number, reply in looks:
        proposed = reply.value.hypotheses if reply.value else []
        spent: GeolocateState = {**state, "cost": add_cost(state["cost"], every.cost)}
        key = "-".join(["hypothesise", *(["again"] if look else []), *([f"model{number}"] if number else [])])
        found = resolve_toponyms(context, spent, proposed, key, reply_sha256(reply.messages), reply.model, look=look)
        every = ResolvedToponyms(
            [*every.positions, *found.positions], [*every.records, *found.records], add_cost(every.cost, found.cost)
        )
    return every


def _notes(
    context: GeolocateContext, replies: Sequence[Reply[ProposeHypotheses]], positions: Sequence[Position]
) -> Iterator[str]:
    for reply in replies:
        whose = f"the first reading of {reply.model}" if len(context.models) > 1 else "the model's first reading"
        if reply.status is not ReplyStatus.OK:
            yield f"{whose} is missing ({reply.status.value}: {reply.problem})"
        yield from reply.remarks
    known = sum(position.look == 0 for position in positions)
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
