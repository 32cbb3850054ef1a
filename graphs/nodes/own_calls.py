"""Tool calls that the machine makes itself."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import ToolCall

from agents.schemas import Cost
from graphs.context import Workbench
from graphs.nodes.tool_calls import Limits, carry_out
from graphs.state import GeolocateState


def call_tool(
    bench: Workbench, state: GeolocateState, tool: str, arguments: dict[str, Any], key: str = ""
) -> dict[str, Any]:
    """Call a tool once; an update with its record, its cost, and a note if it failed.

    Args:
        bench: has the tool.
        state: says what may still be spent.
        tool: its name.
        arguments: as its schema wants them.
        key: tells this call from others of the same tool in the run; empty for the only one.
    """
    call = ToolCall(name=tool, args=arguments, id=f"own-{tool}{key and '-'}{key}")
    limits = limits_left(bench, state)
    record = carry_out([call], bench.tools, limits)[0].record
    notes = [f"{tool} failed: {record.error}"] if record.error else []
    return {"records": [record], "notes": notes, "cost": Cost(tool_calls=min(1, limits.calls))}


def limits_left(bench: Workbench, state: GeolocateState) -> Limits:
    """What tool calls may still spend in this run."""
    cost = state["cost"]
    calls = max(0, bench.budgets.tool_calls - cost.tool_calls)
    seconds = max(0.0, bench.budgets.seconds - cost.seconds)
    return Limits(calls=calls, seconds=seconds, seconds_each=bench.budgets.tool_seconds)
