"""Carry out tool calls: within budgets, in parallel; errors become messages to the model, results records."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.func import task
from pydantic import ValidationError

from agents.schemas import Cost
from core.deadline import DeadlineExceededError, run_within
from core.errors import first_problem
from graphs.context import GeolocateContext
from graphs.state import GeolocateState, ToolRecord
from tools.results import ToolError, ToolResult

MAX_ARGUMENT_CHARACTERS = 4_000
PICTURE_FIELD = "jpeg_base64"

MAX_TOOL_CALLS_AT_ONCE = 64
"""A setting of graphs: LangGraph's own limit goes by the cores, and calls that hang would hold up the others."""

TOOL_CALL_TASK = "tool_call"
"""How a stream of updates calls a tool call inside a step; the step's own update follows."""


class ToolOutcome(NamedTuple):
    """What a call gave: a message for the model and a record, which evidence is made from."""

    message: ToolMessage
    record: ToolRecord


class Limits(NamedTuple):
    """What one batch of calls may spend."""

    calls: int
    seconds: float
    seconds_each: float = math.inf


def run_tool_calls(calls: Sequence[ToolCall], tools: Mapping[str, BaseTool], limits: Limits) -> list[ToolOutcome]:
    """Carry out calls side by side; outcomes in the order of the calls.

    A tool's `ToolError`, unusable arguments, an unknown tool, a spent budget and
    a tool that does not return in time become messages to the model. Anything
    else that a tool raises is a bug and propagates. Works inside a step of a graph only.
    """
    allowed, refused = calls[: limits.calls], calls[limits.calls :]
    patience = min(limits.seconds, limits.seconds_each)
    # All began together, so all end together, however many of them hang.
    deadline = time.monotonic() + patience
    started = [tool_call(call, tools, deadline, patience) for call in allowed]
    outcomes = [ToolOutcome(**kept.result()) for kept in started]
    return outcomes + [_failure(call, "not carried out: the budget of tool calls is spent") for call in refused]


@task
def tool_call(call: ToolCall, tools: Mapping[str, BaseTool], deadline: float, patience: float) -> dict[str, Any]:
    """One call's outcome, as a task: a checkpointer keeps it as soon as it is there.

    A step that is run again after a crash takes the outcomes of the calls that had returned and makes only the others.
    """
    try:
        seconds = deadline - time.monotonic()
        outcome = run_within(seconds, lambda: _carry_out_one(call, tools), f"tool-{call['name']}"[:40])
    except DeadlineExceededError:
        outcome = _failure(call, f"no result within {patience:.0f} s")
    return outcome._asdict()


def _carry_out_one(call: ToolCall, tools: Mapping[str, BaseTool]) -> ToolOutcome:
    problem = _unusable(call, tools)
    if problem:
        return _failure(call, problem)
    tool = tools[call["name"]]
    try:
        message = tool.invoke({**call, "type": "tool_call"})
    except ValidationError as error:
        return _failure(call, f"unusable arguments: {first_problem(error)}")
    except ToolError as error:
        return _failure(call, str(error))
    return _success(call, message)


def _unusable(call: ToolCall, tools: Mapping[str, BaseTool]) -> str | None:
    if call["name"] not in tools:
        return f"no such tool; the tools are {', '.join(sorted(tools))}"
    if len(json.dumps(call["args"], default=str)) > MAX_ARGUMENT_CHARACTERS:
        return f"arguments longer than {MAX_ARGUMENT_CHARACTERS} characters"
    return None


def _success(call: ToolCall, message: ToolMessage) -> ToolOutcome:
    result = message.artifact
    if not isinstance(result, ToolResult):
        raise TypeError(f"tool {call['name']!r} returned {type(result).__name__} for an artifact, not a ToolResult")
    # The model reads the content; the artifact would lose its type in a checkpoint, so the record keeps it as JSON.
    bare = ToolMessage(message.content, tool_call_id=call["id"] or "", name=call["name"], id=_message_id(call))
    return ToolOutcome(bare, _record(call, result.model_dump(mode="json"), result.sha256(), None))


def _failure(call: ToolCall, problem: str) -> ToolOutcome:
    text = f"Error: {problem}"
    message = ToolMessage(text, tool_call_id=call["id"] or "", name=call["name"], status="error", id=_message_id(call))
    return ToolOutcome(message, _record(call, None, None, problem))


def _message_id(call: ToolCall) -> str:
    """Fixed by the call, so that a step run again after a crash replaces its message and adds none."""
    return f"result-{call['id']}"


def _record(call: ToolCall, result: dict[str, Any] | None, sha256: str | None, error: str | None) -> ToolRecord:
    return ToolRecord(
        call_id=call["id"] or "",
        tool=call["name"],
        arguments=call["args"],
        result=_without_pictures(result),
        result_sha256=sha256,
        error=error,
    )


def _without_pictures(value: Any) -> Any:
    """A result without the bytes of its pictures, however deep they lie."""
    if isinstance(value, dict):
        return {key: _without_pictures(inner) for key, inner in value.items() if key != PICTURE_FIELD}
    return [_without_pictures(inner) for inner in value] if isinstance(value, list) else value


def call_tool(
    context: GeolocateContext,
    state: GeolocateState,
    tool: str,
    arguments: dict[str, Any],
    key: str = "",
    tools: Mapping[str, BaseTool] | None = None,
) -> dict[str, Any]:
    """Call a tool once; an update with its record, its cost, and a note if it failed or did part of its work.

    Args:
        context: has the tool.
        state: says what may still be spent.
        tool: its name.
        arguments: as its schema wants them.
        key: distinguishes this call from others of the same tool in the run; empty for the only one.
        tools: where the tool is, by name; None: among those of the context.
    """
    call = ToolCall(name=tool, args=arguments, id=f"own-{tool}{key and '-'}{key}")
    limits = limits_left(context, state)
    record = run_tool_calls([call], context.tools if tools is None else tools, limits)[0].record
    notes = [f"{tool} failed: {record.error}"] if record.error else []
    if record.result is not None and record.result.get("problem"):
        notes.append(f"{tool}: {record.result['problem']}")
    return {"records": [record], "notes": notes, "cost": Cost(tool_calls=min(1, limits.calls))}


def limits_left(context: GeolocateContext, state: GeolocateState) -> Limits:
    """What tool calls may still spend in this run."""
    cost = state["cost"]
    calls = max(0, context.budgets.tool_calls - cost.tool_calls)
    seconds = max(0.0, context.budgets.seconds - cost.seconds)
    return Limits(calls=calls, seconds=seconds, seconds_each=context.budgets.tool_seconds)
