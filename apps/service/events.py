"""Events of a run as every interface shows them: a name and a JSON value each."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agents.schemas import Frozen
from apps.service.errors import service_error
from graphs.chat.events import BeliefChanged, ChatEvent, PersonAsked, Token, ToolCalled, TurnEnded
from graphs.events.steps import Answered, Event, StepDone


class Accepted(Frozen):
    """The run is accepted: the first event of each."""

    ahead: int = Field(description="runs that end before this one begins, if no others come; 0: it begins now")


class RunFailed(Frozen):
    """The run ended without an answer: the last event then."""

    status: int = Field(description="HTTP status that would have said so")
    title: str
    detail: str = Field(description="what is wrong and what to do about it")


ServiceEvent = Event | ChatEvent | Accepted | RunFailed

EVENT_NAMES: dict[type, str] = {
    Accepted: "accepted",
    StepDone: "step",
    ToolCalled: "tool",
    Token: "token",
    BeliefChanged: "belief",
    PersonAsked: "question",
    TurnEnded: "reply",
    Answered: "answer",
    RunFailed: "error",
}
"""What each event is called in a stream."""
FINAL_EVENTS = (Answered, TurnEnded, PersonAsked, RunFailed)
"""Each run ends with one of these, and with nothing after it."""


def event_name(event: ServiceEvent) -> str:
    """The name of an event in a stream."""
    return EVENT_NAMES[type(event)]


def event_json(event: ServiceEvent) -> dict[str, Any]:
    """An event as JSON values."""
    return event.model_dump(mode="json")


def failure(error: Exception) -> RunFailed:
    """The last event of a run that failed."""
    known = service_error(error)
    if known is None:
        return RunFailed(status=500, title="A fault in the program", detail="the run failed; the server's log says why")
    return RunFailed(status=known.status, title=known.title, detail=str(known))


def joined(earlier: ServiceEvent, later: ServiceEvent) -> ServiceEvent | None:
    """Two pieces of what a model writes as one; None for events that cannot be joined."""
    if isinstance(earlier, Token) and isinstance(later, Token) and earlier.step == later.step:
        return Token(text=earlier.text + later.text, step=later.step)
    return None
