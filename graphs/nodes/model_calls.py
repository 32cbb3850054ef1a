"""Asking the model: one conversation, the photo put in at each call, everything it costs counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from agents.messages import with_image
from agents.structured_output.ask import Reply, ask, ask_structured
from graphs.context import GeolocateContext
from graphs.state import GeolocateState

T = TypeVar("T", bound=BaseModel)


def ask_model(
    context: GeolocateContext, state: GeolocateState, new: Sequence[AnyMessage], offered: Sequence[Any] = ()
) -> Reply[AIMessage]:
    """Send the conversation so far and new messages, offering tools, within what is left of the time.

    The reply's messages are the new ones and what came back: append them to the conversation.
    """
    reply = ask(context.model, _shown(context, state, new), offered, seconds=_seconds_left(context, state))
    return reply._replace(messages=[*new, *reply.messages])


def ask_model_structured(
    context: GeolocateContext, state: GeolocateState, request: HumanMessage, schema: type[T]
) -> Reply[T]:
    """Ask for one value of a schema; the reply's messages start with the request."""
    shown = _shown(context, state, [request])
    reply = ask_structured(context.model, shown, schema, seconds=_seconds_left(context, state))
    return reply._replace(messages=[request, *reply.messages])


def _seconds_left(context: GeolocateContext, state: GeolocateState) -> float:
    return max(0.0, context.budgets.seconds - state["cost"].seconds)


def _shown(context: GeolocateContext, state: GeolocateState, new: Sequence[AnyMessage]) -> list[BaseMessage]:
    conversation = [SystemMessage(context.strategy.render(context.strategy.system)), *state["messages"], *new]
    return with_image(conversation, context.image(state["photo_id"]))
