"""Asking the model: one conversation, the photo put in at each call, everything it costs counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, ValidationError

from agents.messages import with_image
from agents.prompts import render
from agents.schemas import Cost
from graphs.state import GeolocateState, add_cost
from graphs.workbench import Workbench

T = TypeVar("T", bound=BaseModel)


class Said(NamedTuple, Generic[T]):
    """What a structured question gave: the value (None if it could not be used), the messages, the cost."""

    value: T | None
    messages: list[AnyMessage]
    cost: Cost


def ask(
    bench: Workbench, state: GeolocateState, new: Sequence[AnyMessage], offered: Sequence[Any]
) -> tuple[AIMessage, Cost]:
    """Send the conversation so far and new messages, offering tools; the answer and its cost."""
    conversation = [SystemMessage(render("system")), *state["messages"], *new]
    shown = with_image(conversation, bench.image(state["photo_id"]))
    model = bench.model.bind_tools(offered) if offered else bench.model
    answer = model.invoke(shown)
    tokens = answer.usage_metadata["total_tokens"] if answer.usage_metadata else 0
    return answer, Cost(model_calls=1, tokens=tokens, usd=bench.price(answer))


def ask_for(bench: Workbench, state: GeolocateState, request: HumanMessage, schema: type[T]) -> Said[T]:
    """Ask for one tool call with the schema's arguments; one repair at most, then no value."""
    messages: list[AnyMessage] = [request]
    cost = Cost()
    for _ in range(2):
        answer, spent = ask(bench, state, messages, [schema])
        cost = add_cost(cost, spent)
        value, problem = _parse(answer, schema)
        messages += [answer, *_acknowledged(answer, problem)]
        if value is not None:
            return Said(value, messages, cost)
        messages.append(HumanMessage(render("repair", problem=problem, tool_name=schema.__name__)))
    return Said(None, messages[:-1], cost)


def _parse(answer: AIMessage, schema: type[T]) -> tuple[T | None, str]:
    calls = [call for call in answer.tool_calls if call["name"] == schema.__name__]
    if len(calls) != 1:
        return None, f"it held {len(calls)} calls of {schema.__name__}, not one"
    try:
        return schema.model_validate(calls[0]["args"]), ""
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return None, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def _acknowledged(answer: AIMessage, problem: str) -> list[ToolMessage]:
    """Chat models want an answer to each of their calls."""
    text = f"Error: {problem}" if problem else "Noted."
    return [ToolMessage(text, tool_call_id=call["id"] or "", name=call["name"]) for call in answer.tool_calls]
