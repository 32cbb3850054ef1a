"""The conversation: a photo starts the state machine, a follow-up works on the same hypotheses and evidence.

    receive ─┬─► locate ──────────────────────────────► tell
             ├─► discuss ⇄ act ─► recommit ───────────► tell
             └─► tell (nothing to talk about yet, or a photo that cannot be used)

`locate` runs the geolocation as a subgraph: its steps, checkpoints and interrupts are those of the thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.schemas import Cost, add_cost
from core.waiting import work_clock
from graphs.chat.nodes import ChatParts, act, discuss, locate, pending_calls, recommit, tell
from graphs.chat.receive import receive
from graphs.chat.state import ChatInput, ChatOutput, ChatState
from graphs.events.tracing import STREAMED
from graphs.nodes.tool_calls import MAX_TOOL_CALLS_AT_ONCE

Chat = CompiledStateGraph[ChatState, None, ChatInput, ChatOutput]
Node = Callable[[ChatParts, ChatState], dict[str, Any]]


def build_chat(parts: ChatParts, checkpointer: BaseCheckpointSaver[str] | None = None) -> Chat:
    """Wire the conversation. With a checkpointer a thread is resumed by its name."""
    graph: StateGraph[ChatState, None, ChatInput, ChatOutput] = StateGraph(
        ChatState, input_schema=ChatInput, output_schema=ChatOutput
    )
    graph.add_node("receive", partial(receive, parts.photos, parts.coarsen, parts.max_precision))
    graph.add_node("locate", partial(locate, parts))
    graph.add_node("discuss", partial(_timed, discuss, parts))
    graph.add_node("act", partial(_timed, act, parts))
    graph.add_node("recommit", partial(recommit, parts))
    graph.add_node("tell", partial(tell, parts))

    graph.add_edge(START, "receive")
    graph.add_conditional_edges("receive", route_after_receive, ["locate", "discuss", "tell"])
    graph.add_edge("locate", "tell")
    graph.add_conditional_edges("discuss", route_after_discuss, ["act", "recommit", "tell"])
    graph.add_edge("act", "discuss")
    graph.add_edge("recommit", "tell")
    graph.add_edge("tell", END)
    return graph.compile(checkpointer=checkpointer, name="chat").with_config(
        callbacks=[STREAMED], max_concurrency=MAX_TOOL_CALLS_AT_ONCE
    )


def route_after_receive(state: ChatState) -> Literal["locate", "discuss", "tell"]:
    """Locate a new photo; discuss one that is located; end the turn if there is a reply already."""
    if state["reply"]:
        return "tell"
    return "locate" if state["is_new"] else "discuss"


def route_after_discuss(state: ChatState) -> Literal["act", "recommit", "tell"]:
    """Carry out tool calls; without any, commit again if this turn has changed what is known."""
    if pending_calls(state):
        return "act"
    return "recommit" if state["changed"] else "tell"


def _timed(run: Node, parts: ChatParts, state: ChatState) -> dict[str, Any]:
    """The update of a node, with the seconds it took added to what this turn has spent."""
    with work_clock() as clock:
        update = run(parts, state)
        spent: Cost = update.get("spent", state["spent"])
        return {**update, "spent": add_cost(spent, Cost(seconds=clock.seconds))}
