"""The second look: parts of the photo that a model asked for are shown enlarged, and it says again where it was taken.

Visual agents owe much of what they gain to this (GeoVista's image_zoom_in_tool, o3). It comes before anything that was
retrieved is shown, so that what the model says stays its own reading of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from langchain_core.messages import AnyMessage, HumanMessage, ToolCall

from agents.messages import passing_request
from agents.reply_schemas import ProposeHypotheses, ProposeTogether
from agents.schemas import Cost
from agents.strategies import Step
from agents.structured_output.ask import Reply
from agents.structured_output.position import ReplyStatus
from agents.structured_output.samples import side_by_side
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.nodes.model_calls import ask_model_structured
from graphs.nodes.tool_calls import ToolOutcome, limits_left, run_tool_calls
from graphs.prompt_data import photo_data, photo_title
from graphs.state import GeolocateState, ToolRecord, photo_ids
from tools.results import Box

CLOSER_TOOL = "look_closer"
"""The tool that enlarges."""


class SecondLook(NamedTuple):
    """What came of looking closer.

    Attributes:
        replies: of the models that asked for parts of the photo, in their order.
        records: the tool calls that enlarged them.
        cost: of the tool calls; that of the replies is in them.
        messages: what joins the conversation, which is the first model's.
        notes: what the answer has to mention.
    """

    replies: list[Reply[ProposeHypotheses]]
    records: list[ToolRecord]
    cost: Cost
    messages: list[AnyMessage]
    notes: list[str]


def may_look_closer(context: GeolocateContext) -> bool:
    """Whether the strategy looks closer and the tool is there."""
    return context.strategy.runs(Step.LOOK_CLOSER) and CLOSER_TOOL in context.tools


def proposals_schema(state: GeolocateState) -> type[ProposeHypotheses]:
    """The schema of an initial prediction: of several photos, a part to enlarge names its photo."""
    return ProposeTogether if state.get("more_photo_ids") else ProposeHypotheses


def second_look(
    context: GeolocateContext, state: GeolocateState, first: Sequence[Reply[ProposeHypotheses]]
) -> SecondLook:
    """Show each model the parts that it asked for, and ask it again; nothing where none asked, or nothing is left."""
    calls = list(_calls(context, state, first))
    if not calls:
        return SecondLook([], [], Cost(), [], [])
    limits = limits_left(context, state)
    outcomes = run_tool_calls([call for _, call in calls], context.tools, limits)
    cost = Cost(tool_calls=min(len(calls), limits.calls))
    seen: dict[int, list[ToolOutcome]] = {}
    for (number, _), outcome in zip(calls, outcomes, strict=True):
        if outcome.record.error is None:
            seen.setdefault(number, []).append(outcome)
    notes = [f"{CLOSER_TOOL} failed: {o.record.error}" for o in outcomes if o.record.error is not None]
    replies = _ask_again(context, state, first, seen) if seen else []
    notes += [
        f"{reply.model} did not say what it saw when it looked closer ({reply.status.value}: {reply.problem})"
        for reply in replies
        if reply.status is not ReplyStatus.OK
    ]
    messages = replies[0].messages if replies and 0 in seen else []
    return SecondLook(replies, [outcome.record for outcome in outcomes], cost, messages, notes)


def _calls(
    context: GeolocateContext, state: GeolocateState, first: Sequence[Reply[ProposeHypotheses]]
) -> Iterator[tuple[int, ToolCall]]:
    """A call for each model that asked to look closer, and each photo that it asked for, by the model's number."""
    if not may_look_closer(context) or spent_on_asking(context.budgets, state["cost"]):
        return
    for number, reply in enumerate(first):
        boxes = reply.value.look_closer if reply.value else []
        for photo, (photo_id, parts) in enumerate(_by_photo(state, boxes).items(), 1):
            arguments = {"photo_id": photo_id, "boxes": [box.model_dump(exclude={"photo_id"}) for box in parts]}
            key = f"{number}" if photo == 1 else f"{number}-photo{photo}"
            yield number, ToolCall(name=CLOSER_TOOL, args=arguments, id=f"own-{CLOSER_TOOL}-{key}")


def _by_photo(state: GeolocateState, boxes: Sequence[Box]) -> dict[str, list[Box]]:
    """Parts by the photo that they are of; where none of these photos is named, the first."""
    known, parts = photo_ids(state), dict[str, list[Box]]()
    for box in boxes:
        named = getattr(box, "photo_id", "")
        parts.setdefault(named if named in known else known[0], []).append(box)
    return parts


def _ask_again(
    context: GeolocateContext,
    state: GeolocateState,
    first: Sequence[Reply[ProposeHypotheses]],
    seen: dict[int, list[ToolOutcome]],
) -> list[Reply[ProposeHypotheses]]:
    """The replies of the models that saw something, side by side, each in its own conversation."""
    prompt = context.strategy.render(
        context.strategy.look_again, photo_id=photo_title(state), tool_name=ProposeHypotheses.__name__
    )

    def ask(number: int, outcomes: list[ToolOutcome]) -> Reply[ProposeHypotheses]:
        so_far: GeolocateState = {**state, "messages": [*state["messages"], *first[number].messages]}
        asked = passing_request(_enlarged(outcomes), prompt, photo_data(state))
        return ask_model_structured(context, so_far, asked, proposals_schema(state), context.models[number])

    return side_by_side([partial(ask, number, outcomes) for number, outcomes in seen.items()], len(seen))


def _enlarged(outcomes: Sequence[ToolOutcome]) -> HumanMessage:
    """What the tool returned, as a message of its own: the calls were the machine's, not the model's."""
    blocks: list[str | dict[str, Any]] = []
    for outcome in outcomes:
        if len(outcomes) > 1:
            blocks.append({"type": "text", "text": f"Parts of {outcome.record.arguments['photo_id']}:"})
        content: str | list[Any] = outcome.message.content
        blocks += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return HumanMessage(blocks)
