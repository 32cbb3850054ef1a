"""Events of a turn of a conversation, as whoever shows it gets them."""

from __future__ import annotations

from agents.schemas import Answer, CredibleArea, Frozen
from graphs.events.steps import StepDone
from graphs.events.tracing import TraceEvent


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
