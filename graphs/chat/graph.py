"""The conversation about photos: a photo starts the state machine, a follow-up works on the same ledger.

    receive ─┬─► locate ──────────────────────────────► tell
             ├─► discuss ⇄ act ─► recommit ───────────► tell
             └─► tell (nothing to talk about yet, or a photo that cannot be used)

`locate` runs the geolocation as a subgraph: its steps, checkpoints and interrupts are those of the thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.schemas import Answer, Cost
from graphs.chat.nodes import act, discuss, goes_on, recommit
from graphs.chat.photo_archive import PhotoArchive
from graphs.chat.receive import receive, said
from graphs.chat.state import ALL_KEYS, Case, ChatInput, ChatOutput, ChatState
from graphs.context import GeolocateContext
from graphs.events.tracing import STREAMED
from graphs.geolocate import Geolocate
from graphs.nodes.tool_calls import MAX_TOOL_CALLS_AT_ONCE
from graphs.state import PhotoInput, add_cost

Chat = CompiledStateGraph[ChatState, None, ChatInput, ChatOutput]


@dataclass(frozen=True, kw_only=True)
class ChatParts:
    """What a conversation works with.

    Attributes:
        context: model, tools and data.
        geolocate: the state machine, compiled without a checkpointer of its own.
        photos: where photos are found again.
        told: an answer as it may be told: coarsened, if the settings say so.
        coarse: whether it is coarsened; then the model that replies knows only that.
        summary: an answer in a few lines, for the reply to a photo.
        audit: writes a line a turn: the answer (None if there is none) and what was asked.
    """

    context: GeolocateContext
    geolocate: Geolocate
    photos: PhotoArchive
    told: Callable[[Answer], Answer]
    coarse: bool
    summary: Callable[[Answer], str]
    audit: Callable[[Answer | None, str], None]


def build_chat(parts: ChatParts, checkpointer: BaseCheckpointSaver[str] | None = None) -> Chat:
    """Wire the conversation. With a checkpointer a thread is resumed by its name."""
    graph: StateGraph[ChatState, None, ChatInput, ChatOutput] = StateGraph(
        ChatState, input_schema=ChatInput, output_schema=ChatOutput
    )
    graph.add_node("receive", partial(_receive, parts))
    graph.add_node("locate", partial(_locate, parts))
    graph.add_node("discuss", partial(_discuss, parts))
    graph.add_node("act", partial(_act, parts))
    graph.add_node("recommit", partial(_recommit, parts))
    graph.add_node("tell", partial(_tell, parts))
    graph.add_edge(START, "receive")
    graph.add_conditional_edges("receive", after_receive, ["locate", "discuss", "tell"])
    graph.add_edge("locate", "tell")
    graph.add_conditional_edges("discuss", after_discuss, ["act", "recommit", "tell"])
    graph.add_edge("act", "discuss")
    graph.add_edge("recommit", "tell")
    graph.add_edge("tell", END)
    return graph.compile(checkpointer=checkpointer, name="chat").with_config(
        callbacks=[STREAMED], max_concurrency=MAX_TOOL_CALLS_AT_ONCE
    )


def after_receive(state: ChatState) -> Literal["locate", "discuss", "tell"]:
    """A new photo is located; words about a known one are discussed; anything else is told at once."""
    if state["reply"]:
        return "tell"
    return "locate" if state["is_new"] else "discuss"


def after_discuss(state: ChatState) -> Literal["act", "recommit", "tell"]:
    """Tool calls are carried out; then the answer is committed again if the ledger has changed."""
    if goes_on(state):
        return "act"
    return "recommit" if state["changed"] else "tell"


def _receive(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    return receive(parts.photos, state)


def _locate(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    """Run the state machine on the current photo."""
    photo_id = str(state["photo_id"])
    shown = next(photo for photo in state["photos"] if photo.photo_id == photo_id)
    parts.photos.bring(shown)
    given = PhotoInput(
        photo_id=photo_id, photo_sha256=shown.sha256, question=_asked(state), metadata_position=shown.claimed
    )
    # All channels: what a step's update holds beyond these keys would be missing from the stream of its events.
    final = cast(Case, parts.geolocate.invoke(given, output_keys=list(ALL_KEYS)))
    case = {key: value for key, value in final.items() if key != "messages"}
    told = parts.told(case["answer"])
    return {
        "cases": {photo_id: case | {"told": told}},
        "answer": told,
        "reply": parts.summary(told),
        "spent": case["cost"],
    }


def _discuss(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    return _timed(state, lambda: discuss(parts.context, state, _asked(state), parts.coarse))


def _act(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    return _timed(state, lambda: act(parts.context, state))


def _timed(state: ChatState, step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A step's update, with the time that it took."""
    started = time.perf_counter()
    update = step()
    spent: Cost = update.get("spent", state["spent"])
    return {**update, "spent": add_cost(spent, Cost(seconds=time.perf_counter() - started))}


def _recommit(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    return recommit(parts.context, state, parts.told)


def _tell(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    """End the turn: the reply joins the conversation, a line joins the audit log."""
    answer = state.get("answer")
    parts.audit(answer, _asked(state))
    return {
        "messages": [AIMessage(state["reply"])],
        "working": [],
        "answer": answer,
        "photo_id": state.get("photo_id"),
        "total": state["spent"],
    }


def _asked(state: ChatState) -> str:
    """The person's words of this turn."""
    people = [message for message in state.get("messages", []) if message.type == "human"]
    return said(people[-1]) if people else ""
