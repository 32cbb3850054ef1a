"""Events of a turn of a conversation, as whoever shows it gets them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessageChunk

from agents.schemas import Answer, CredibleArea, Frozen
from graphs.events.steps import StepDone, step_event
from graphs.events.tracing import Phase, TraceEvent, What
from graphs.nodes.ask_person import UNKNOWN
from graphs.nodes.tool_calls import TOOL_CALL_TASK

_SILENT_STEPS = frozenset({"initialise", "receive", "locate", "tell", "commit", TOOL_CALL_TASK})
"""Steps without an event of their own: the reply that follows says what they did."""
_FINER_QUESTION = (
    f"A question waits from when finer answers were allowed, and may not be shown now. Answer “{UNKNOWN}” to go on"
    " without it, or take the turn back"
)


class ToolCalled(Frozen):
    """A tool was called, or has returned."""

    event: TraceEvent


class Token(Frozen):
    """A piece of what the model writes, as it writes it."""

    text: str
    step: str


class BeliefChanged(Frozen):
    """The belief as it stands in the middle of a turn; only for those who asked for it, as it takes time to draw."""

    areas: tuple[CredibleArea, ...]
    """As in `Answer.areas`, of half and of nine tenths."""


class PersonAsked(Frozen):
    """A question to the person; the turn goes on when it is answered."""

    question: str
    answers: tuple[str, ...] = ()


class TurnEnded(Frozen):
    """The turn is over."""

    text: str
    answer: Answer | None
    streamed: bool = False
    """Whether all of the text came in tokens of the step `discuss` before."""
    rest: str = ""
    """What of the text did not: all of it, or what was added to the model's words."""


ChatEvent = StepDone | ToolCalled | Token | BeliefChanged | PersonAsked | TurnEnded


def events_of(mode: str, part: Any, written: str, is_coarse: bool) -> Iterator[ChatEvent]:
    """The events of one part of the stream of a turn.

    Args:
        mode: of LangGraph's stream: `messages`, `custom` or `updates`.
        part: what was streamed.
        written: the text that the model has streamed since its last tool calls.
        is_coarse: whether they hold no more of a step than its name.
    """
    if mode == "messages":
        message, about = part
        yield from _tokens(message, about, is_coarse)
    elif mode == "custom":
        yield from _tool_events(part, is_coarse)
    else:
        for step, update in part.items():
            yield from _step_events(step, update or {}, written, is_coarse)


def written_so_far(written: str, event: ChatEvent) -> str:
    """The text that the model has streamed since its last tool calls, after one more event."""
    if isinstance(event, Token):
        return written + event.text
    return "" if isinstance(event, StepDone) and event.step == "act" else written


def person_asked(value: Any, is_coarse: bool) -> PersonAsked:
    """The question of an interrupt; where answers are coarsened it is of a finer run, and may name places."""
    if is_coarse:
        return PersonAsked(question=_FINER_QUESTION, answers=(UNKNOWN,))
    return PersonAsked(question=str(value["question"]), answers=tuple(value.get("answers", ())))


def _step_events(step: str, update: Any, written: str, is_coarse: bool) -> Iterator[ChatEvent]:
    if step == "__interrupt__":
        yield from (person_asked(interrupt.value, is_coarse) for interrupt in update)
    elif step == "tell":
        text, shown = update["messages"][-1].text, written.strip()
        rest = text[len(shown) :].strip("\n") if text.startswith(shown) else text
        yield TurnEnded(text=text, answer=update.get("answer"), streamed=bool(shown) and not rest, rest=rest)
    elif step not in _SILENT_STEPS:
        yield StepDone(step=step, text=step) if is_coarse else step_event(step, update)


def _tokens(message: Any, about: Mapping[str, Any], is_coarse: bool) -> Iterator[Token]:
    """Pieces of text of a model that streams; if coarse, of the one that knows the coarsened answer alone."""
    step = str(about.get("langgraph_node", ""))
    if isinstance(message, AIMessageChunk) and message.text and (step == "discuss" or not is_coarse):
        yield Token(text=message.text, step=step)


def _tool_events(part: Mapping[str, Any], is_coarse: bool) -> Iterator[ToolCalled]:
    if "event" in part:
        event = TraceEvent.model_validate(part["event"])
        if is_coarse:  # a short result can be guessed from its hash
            event = event.model_copy(update={"arguments_sha256": None, "result_sha256": None, "error": None})
        if event.what is What.TOOL and event.phase is Phase.END:
            yield ToolCalled(event=event)
