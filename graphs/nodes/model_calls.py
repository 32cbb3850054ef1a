"""Asking the model: one conversation, the photo put in at each call; and what came of the replies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from agents.messages import with_image
from agents.schemas import AnswerStatus
from agents.structured_output.ask import Reply, ask, ask_structured
from agents.structured_output.position import ReplyStatus
from graphs.context import GeolocateContext
from graphs.state import GeolocateState

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
    context: GeolocateContext, state: GeolocateState, request: HumanMessage, schema: type[T]
) -> Reply[T]:
    """Ask for one value of a schema; the reply's messages start with the request."""
    messages = _conversation(context, state, [request])
    reply = ask_structured(context.model, messages, schema, seconds=_seconds_left(context, state))
    return reply._replace(messages=[request, *reply.messages])


def _seconds_left(context: GeolocateContext, state: GeolocateState) -> float:
    return max(0.0, context.budgets.seconds - state["cost"].seconds)


def _conversation(context: GeolocateContext, state: GeolocateState, new: Sequence[AnyMessage]) -> list[BaseMessage]:
    system = SystemMessage(context.strategy.render(context.strategy.system))
    return with_image([system, *state["messages"], *new], context.image(state["photo_id"]))


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
