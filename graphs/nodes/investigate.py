"""investigate and tools: the model asks for tool calls, which are then carried out."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import BaseTool

from agents.messages import request
from agents.schemas import Cost
from agents.strategies import Shown, Step
from agents.structured_output.position import ReplyStatus
from graphs.context import GeolocateContext
from graphs.nodes.model_calls import ask_model, model_cost
from graphs.nodes.tool_calls import limits_left, run_tool_calls
from graphs.prompt_data import ledger_data, scene_data
from graphs.state import GeolocateState

FIRST_ROUND_SHOWS = frozenset({Shown.SIGNS, Shown.REGIONS, Shown.COUNTRIES})
"""What was read and retrieved is shown once, after the model's initial prediction."""

TIMED_TOOLS = frozenset({"sun_check", "weather"})
"""Tools that need to know when the photo was taken."""


def investigate(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Show what is known and offer the tools; without hypotheses, the scene only, and only once."""
    prompt = context.strategy.render(
        context.strategy.investigate,
        photo_id=state["photo_id"],
        round=state["round"] + 1,
        max_rounds=context.budgets.rounds,
        tool_calls_left=limits_left(context, state).calls,
    )
    reply = ask_model(context, state, [request(prompt, _data(context, state))], offered_tools(context))
    failed = [] if reply.status is ReplyStatus.OK else [f"the model did not investigate ({reply.problem})"]
    return {
        "messages": reply.messages,
        "round": state["round"] + 1,
        "notes": [*failed, *reply.remarks],
        **model_cost([reply]),
    }


def offered_tools(context: GeolocateContext) -> list[BaseTool]:
    """The tools that the strategy offers."""
    wanted = context.strategy.tools
    return [tool for name, tool in context.tools.items() if wanted is None or name in wanted]


def _data(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    is_first = state["round"] == 0
    if not context.strategy.runs(Step.REVISE):
        return scene_data(context, state) if is_first else {"photo_id": state["photo_id"]}
    return {**(scene_data(context, state, FIRST_ROUND_SHOWS) if is_first else {}), **ledger_data(context, state)}


def use_tools(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Carry out the calls of the model's last message."""
    calls = [_with_time(call, state) for call in pending_calls(state)]
    limits = limits_left(context, state)
    offered = {tool.name: tool for tool in offered_tools(context)}
    outcomes = run_tool_calls(calls, offered, limits)
    return {
        "messages": [outcome.message for outcome in outcomes],
        "records": [outcome.record for outcome in outcomes],
        "cost": Cost(tool_calls=min(len(calls), limits.calls)),
    }


def _with_time(call: ToolCall, state: GeolocateState) -> ToolCall:
    """The time of the sun and the weather is what the user gave, never what the model says."""
    if call["name"] not in TIMED_TOOLS:
        return call
    clues = state.get("clues")
    return {**call, "args": {**call["args"], "taken_at": clues.taken_at if clues else None}}


def pending_calls(state: GeolocateState) -> list[ToolCall]:
    """Tool calls of the last message, if it is the model's."""
    last = state["messages"][-1] if state["messages"] else None
    return list(last.tool_calls) if isinstance(last, AIMessage) else []
