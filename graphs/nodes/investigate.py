"""investigate and tools: the model asks for tool calls, which are then carried out."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from langchain_core.tools import BaseTool

from agents.messages import passing_request, request
from agents.reply_schemas import ReviseHypotheses
from agents.schemas import Cost
from agents.strategies import Shown, Step
from agents.structured_output.position import ReplyStatus
from graphs.context import GeolocateContext
from graphs.nodes.model_calls import ask_model, model_cost
from graphs.nodes.tool_calls import limits_left, run_tool_calls
from graphs.prompt_data import photo_data, photo_title, scene_data, table_data
from graphs.state import GeolocateState

TIMED_TOOLS = frozenset({"sun_check", "weather"})
"""Tools that need to know when the photo was taken."""

FIRST_ROUND_KEEPS = frozenset({Shown.SIGNS})
"""What was read in the photo is said after the model's initial prediction, and stays."""
FIRST_ROUND_SHOWS = frozenset({Shown.REGIONS, Shown.COUNTRIES})
"""Where the look-alikes lie is shown once: it comes back as hypotheses where the evidence speaks for it."""


def investigate(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Show what is known and offer the tools; without hypotheses, the scene only, and only once."""
    prompt = context.strategy.render(
        context.strategy.investigate,
        photo_id=photo_title(state),
        round=state["round"] + 1,
        max_rounds=context.budgets.rounds,
        tool_calls_left=limits_left(context, state).calls,
        revise_name=ReviseHypotheses.__name__,
    )
    reply = ask_model(context, state, [_request(context, state, prompt)], all_tools(context, state))
    failed = [] if reply.status is ReplyStatus.OK else [f"the model did not investigate ({reply.problem})"]
    return {
        "messages": reply.messages,
        "round": state["round"] + 1,
        "notes": [*failed, *reply.remarks],
        **model_cost([reply]),
    }


def offered_tools(context: GeolocateContext, state: GeolocateState) -> list[BaseTool]:
    """The tools that the strategy offers; sun and weather only where the time of the photo is known."""
    return [tool for name, tool in usable_tools(context, state).items() if context.strategy.offers(name)]


def usable_tools(context: GeolocateContext, state: GeolocateState) -> dict[str, BaseTool]:
    """All tools but those that what is known does not suffice for."""
    clues = state.get("clues")
    knows_time = bool(clues and clues.taken_at)
    return {name: tool for name, tool in context.tools.items() if knows_time or name not in TIMED_TOOLS}


def all_tools(context: GeolocateContext, state: GeolocateState) -> list[Any]:
    """What every request of the loop has in its list of tools: those on offer, and the schema of the revision."""
    revises = context.strategy.runs(Step.REVISE)
    return [*offered_tools(context, state), *([ReviseHypotheses] if revises else [])]


def _request(context: GeolocateContext, state: GeolocateState, prompt: str) -> HumanMessage:
    is_first = state["round"] == 0
    if not context.strategy.runs(Step.REVISE):
        return request(prompt, scene_data(context, state) if is_first else photo_data(state))
    title = f"Round {state['round'] + 1}."
    if not is_first:
        return passing_request(title, prompt, table_data(context, state))
    kept = request(title, scene_data(context, state, FIRST_ROUND_KEEPS))
    shown = scene_data(context, state, FIRST_ROUND_SHOWS)
    return passing_request(kept, prompt, {**shown, **table_data(context, state)})


def use_tools(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Carry out the calls of the model's last message."""
    calls = [with_time(call, state) for call in pending_calls(state)]
    limits = limits_left(context, state)
    offered = {tool.name: tool for tool in offered_tools(context, state)}
    outcomes = run_tool_calls(calls, offered, limits)
    return {
        "messages": [outcome.message for outcome in outcomes],
        "records": [outcome.record for outcome in outcomes],
        "cost": Cost(tool_calls=min(len(calls), limits.calls)),
    }


def with_time(call: ToolCall, state: GeolocateState) -> ToolCall:
    """The time of the sun and the weather is what the user gave, never what the model says."""
    if call["name"] not in TIMED_TOOLS:
        return call
    clues = state.get("clues")
    return {**call, "args": {**call["args"], "taken_at": clues.taken_at if clues else None}}


def pending_calls(state: GeolocateState) -> list[ToolCall]:
    """Tool calls of the last message, if it is the model's."""
    last = state["messages"][-1] if state["messages"] else None
    return list(last.tool_calls) if isinstance(last, AIMessage) else []
