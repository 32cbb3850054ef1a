"""Prints a conversation: steps dim on standard error, replies on standard output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from agents.schemas import Answer, Cost, HypothesisStatus, add_cost
from apps.output.formatting import (
    LocatedPhoto,
    chance_bars,
    confidence_heading,
    heading,
    model_costs,
    percent,
    printable,
)
from apps.output.terminal import print_answer

if TYPE_CHECKING:
    from graphs.chat.events import ChatEvent, PersonAsked, Token, ToolCalled, TurnEnded
    from graphs.events.steps import StepDone

_STEP_WIDTH = 12
_TEXT_LIMIT = 160
_REPLY_STEPS = ("discuss",)
"""Steps whose model output is the reply to the person; the output of others goes to standard error, dim."""


class ChatView:
    """Prints events as they come."""

    def __init__(self, out: Console, err: Console) -> None:
        self._out, self._err = out, err
        self._streaming = False

    def follow(self, events: Iterable[ChatEvent], located: str | None = None, print_reply: bool = True) -> bool:
        """Print a turn as it happens.

        Args:
            events: the events of the turn.
            located: the name of the photo that the turn locates: its whole answer is printed.
            print_reply: whether to print the reply.

        Returns:
            Whether a question to the person was printed.
        """
        has_asked = False
        from graphs.chat.events import PersonAsked, Token, ToolCalled, TurnEnded
        from graphs.events.steps import StepDone

        for event in events:
            if isinstance(event, Token):
                self._token(event)
                continue
            self._end_of_stream()
            if isinstance(event, ToolCalled):
                self._tool(event)
            elif isinstance(event, PersonAsked):
                self.question(event)
                has_asked = True
            elif isinstance(event, TurnEnded):
                if print_reply:
                    self._reply(event, located)
            elif isinstance(event, StepDone):
                self._step(event)
        self._end_of_stream()
        return has_asked

    def show(self, text: str) -> None:
        """Print text to standard output."""
        self._out.print(Text(text))

    def table(self, answer: Answer) -> None:
        """Print the places with their probabilities, and how much each piece of evidence raised or lowered them."""
        self._out.print(evidence_table(answer))

    def note(self, text: str, style: str = "dim") -> None:
        """Print a line about the conversation, to standard error."""
        self._err.print(Text(text, style=style))

    def question(self, asked: PersonAsked) -> None:
        """Print a question to the person."""
        choices = f" ({', '.join(asked.answers)})" if asked.answers else ""
        self._out.print(Text(f"? {printable(asked.question)}{choices}", style="bold cyan"))

    def _token(self, token: Token) -> None:
        shown = _clean(token.text)
        console = self._out if token.step in _REPLY_STEPS else self._err
        console.out(shown, end="", highlight=False, style=None if token.step in _REPLY_STEPS else "dim")
        self._streaming = True

    def _end_of_stream(self) -> None:
        if self._streaming:
            self._out.out("")
            self._streaming = False

    def _step(self, event: StepDone) -> None:
        self._err.print(Text(f"  {event.step.ljust(_STEP_WIDTH)} {printable(event.text, _TEXT_LIMIT)}", style="dim"))

    def _tool(self, called: ToolCalled) -> None:
        event = called.event
        outcome = printable(event.error, _TEXT_LIMIT) if event.error else f"{event.seconds or 0.0:.2f} s"
        self._err.print(Text(f"    {event.name}  {outcome}", style="red" if event.error else "dim"))

    def _reply(self, reply: TurnEnded, located: str | None) -> None:
        if located is not None and reply.answer is not None:
            print_answer(self._out, LocatedPhoto(located, reply.answer))
        elif reply.rest:
            self._out.print(Text("\n".join(_clean(line) for line in reply.rest.splitlines())))


def evidence_table(answer: Answer) -> Table:
    """Open hypotheses × evidence, in nats; evidence that moved none of them is left out."""
    places = [h for h in answer.hypotheses if h.status is HypothesisStatus.OPEN]
    moved = [e for e in answer.evidence if any(abs(e.log_likelihood_ratio.get(h.id, 0.0)) >= 0.05 for h in places)]
    table = Table("place", Column("share", justify="right"), *(Column(e.id, justify="right") for e in moved))
    for place in places:
        nats = (f"{e.log_likelihood_ratio.get(place.id, 0.0):+.1f}" for e in moved)
        table.add_row(Text(printable(place.name, 40)), percent(place.probability), *nats)
    table.caption = Text("\n".join(f"{e.id}: {printable(e.claim, 100)}" for e in moved), justify="left")
    return table


def photo_line(number: int, name: str, answer: Answer | None, is_current: bool) -> str:
    """A photo of the conversation, on one line."""
    mark = "*" if is_current else " "
    where = heading(answer) if answer else "not located"
    sure = ""
    if answer and answer.point and answer.chance_within_km:
        sure = f"  {chance_bars(answer)} {percent(answer.confidence)} {confidence_heading(answer)}"
    return f"{mark} {number}  {printable(name, 40)}  {where}{sure}"


def cost_lines(total: Cost, answers: Iterable[Answer]) -> str:
    """The cost of a conversation so far; of juries, what each model used to locate the photos."""
    dollars = f"${total.usd:.4f}" if total.usd else "no money"
    calls = f"{total.model_calls} model calls, {total.tool_calls} tool calls"
    summary = f"{calls}, {total.tokens:,} tokens, {dollars}, {total.seconds:.1f} s of work"
    by_model: dict[str, Cost] = {}
    for model, cost in (item for answer in answers for item in answer.cost_by_model.items()):
        by_model[model] = add_cost(by_model.get(model, Cost()), cost)
    return "\n".join([summary, *(f"  {line}" for line in model_costs(by_model))])


def _clean(text: str) -> str:
    """Untrusted text without control characters; spaces stay, as they are part of a stream."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
