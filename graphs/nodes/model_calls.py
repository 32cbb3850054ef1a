"""Asking models: one conversation, the photo put in at each call; and what came of the replies.

Each request begins with what was sent before it: tools, system prompt, photo and conversation stay the same, and the
data that change stand at its end (`agents.messages.passing_request`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import reduce
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from agents.chat_models.registry import LoadedModel
from agents.messages import as_sent, with_images, without_earlier_pictures
from agents.schemas import AnswerStatus, Cost, add_cost, add_cost_by_model
from agents.strategies import Step
from agents.structured_output.ask import Reply, ask, ask_structured
from agents.structured_output.position import ReplyStatus
from agents.structured_output.samples import ask_structured_samples
from graphs.context import GeolocateContext
from graphs.state import GeolocateState, ModelReply, photo_ids

T = TypeVar("T", bound=BaseModel)

_BEST_FIRST = (ReplyStatus.OK, ReplyStatus.REFUSED, ReplyStatus.UNPARSABLE, ReplyStatus.FAILED)


def ask_model(
    context: GeolocateContext, state: GeolocateState, new: Sequence[AnyMessage], offered: Sequence[Any] = ()
) -> Reply[AIMessage]:
    """Send the conversation so far and new messages, offering tools, within what is left of the time.

    The reply's messages are the new ones and what came back: append them to the conversation.
    """
    reply = ask(context.model, _conversation(context, state, new), offered, seconds=_seconds_left(context, state))
    return reply._replace(messages=[*new, *reply.messages])


def ask_model_structured(
    context: GeolocateContext,
    state: GeolocateState,
    request: HumanMessage,
    schema: type[T],
    model: LoadedModel | None = None,
    offered: Sequence[Any] = (),
) -> Reply[T]:
    """Ask for one value of a schema; the reply's messages start with the request.

    Args:
        context: has the models.
        state: the conversation so far, and what may still be spent.
        request: what is asked.
        schema: of the value.
        model: the model to ask; None: the one that investigates.
        offered: tools that stay in the request though only the schema is to be called: what is sent with every
            request need be read by the server once.
    """
    messages = _conversation(context, state, [request], model)
    seconds = _seconds_left(context, state)
    reply = ask_structured(model or context.model, messages, schema, seconds=seconds, beside=offered)
    return reply._replace(messages=[request, *reply.messages])


def ask_model_samples(
    context: GeolocateContext, state: GeolocateState, request: HumanMessage, schema: type[T], count: int
) -> list[Reply[T]]:
    """Ask for one value of a schema several times over, in one request where the server takes it."""
    messages = _conversation(context, state, [request])
    replies = ask_structured_samples(context.model, messages, schema, count, seconds=_seconds_left(context, state))
    return [reply._replace(messages=[request, *reply.messages]) for reply in replies]


def model_cost(replies: Sequence[Reply[Any]]) -> dict[str, Any]:
    """The update of a state with what replies cost, altogether and by model."""
    by_model: dict[str, Cost] = {}
    for reply in replies:
        by_model = add_cost_by_model(by_model, {reply.model: add_cost(reply.cost, Cost(seconds=reply.seconds))})
    return {"cost": reduce(add_cost, (reply.cost for reply in replies), Cost()), "cost_by_model": by_model}


def reply_statuses(replies: Sequence[Reply[Any]]) -> dict[str, Any]:
    """The update of a state with the outcomes of structured replies."""
    outcomes = [ModelReply(model=reply.model, status=reply.status.value, problem=reply.problem) for reply in replies]
    return {"replies": [outcome.status for outcome in outcomes], "model_replies": outcomes}


def _seconds_left(context: GeolocateContext, state: GeolocateState) -> float:
    return max(0.0, context.budgets.seconds - state["cost"].seconds)


def _conversation(
    context: GeolocateContext, state: GeolocateState, new: Sequence[AnyMessage], model: LoadedModel | None = None
) -> list[BaseMessage]:
    system = SystemMessage(context.strategy.render(context.strategy.system_prompt))
    messages: list[BaseMessage] = [system, *as_sent([*state["messages"], *new])]
    if context.strategy.runs(Step.REVISE):  # what the model made of a picture is in its judgements
        messages = without_earlier_pictures(messages)
    images = {photo_id: context.image(photo_id, model) for photo_id in photo_ids(state)}
    shown = {photo_id: image for photo_id, image in images.items() if image is not None}
    return with_images(messages, shown) if shown else messages


def model_status(replies: Sequence[str]) -> ReplyStatus | None:
    """The best status of a run's replies; None if the model was never asked for a structured reply."""
    return next((status for status in _BEST_FIRST if status.value in replies), None)


def status_without_reply(replies: Sequence[str]) -> AnswerStatus | None:
    """The answer's status where no reply could be used: refused, unparsable or failed; None if one could."""
    status = model_status(replies)
    return None if status is None or status is ReplyStatus.OK else AnswerStatus(status.value)


def reply_sha256(messages: Sequence[AnyMessage]) -> str:
    """Hash of the model's last message among these: its text and tool calls as canonical JSON."""
    last = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
    calls = [{"name": call["name"], "args": call["args"]} for call in last.tool_calls] if last else []
    content = {"text": last.text if last else "", "calls": calls}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
