"""What a finer run left in a thread, wherever a conversation with a limit could tell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langgraph.checkpoint.sqlite import SqliteSaver

from agents.schemas import Answer, Level
from geo.places.gazetteer import Gazetteer
from graphs.chat.events import ChatEvent, Token, events_of
from graphs.chat.session import LEFT_OUT, Conversation
from graphs.checkpoints import open_checkpoints
from graphs.coarsening import Units, coarsen
from tests.fakes.conversations import ended, shot, talk
from tests.fakes.machine import context

SECRETS = ("Lisbon", "Madrid", "Prague", "Kraków", "38.72", "40.42", "50.09", "14.42")
UNITS = Units(Gazetteer())


def limited(saver: SqliteSaver) -> Conversation:
    """The thread, opened with a limit; its photo is here."""
    chat = talk(context(), saver=saver, coarsened=lambda answer: coarsen(answer, Level.COUNTRY, UNITS))
    chat.photos.keep(shot())
    return chat


def told(chat: Conversation, events: Iterable[ChatEvent] = ()) -> str:
    """Everything that an application may print of it."""
    answers = [answer.model_dump_json() for answer in chat.answers.values()]
    question = chat.question.model_dump_json() if chat.question else ""
    replies = [message.text for message in chat.messages if message.type == "ai"]
    return "\n".join([*(event.model_dump_json() for event in events), *answers, question, *replies])


def assert_coarse(text: str) -> None:
    assert not [text[text.index(secret) - 80 :][:200] for secret in SECRETS if secret in text]


class Stopped(list[Any]):
    """An audit log whose disk is full: the turn ends between its reply and the conversation."""

    def append(self, _: Any) -> None:
        raise OSError("full")


def test_replies_of_finer_turns_are_left_out_and_later_ones_told() -> None:
    saver = open_checkpoints(None)
    fine = talk(context(("Lisbon",)), saver=saver)
    ended(fine.show(shot(), "where?"))
    ended(fine.ask("why?"))
    assert "Lisbon" in told(fine)
    chat = limited(saver)
    assert_coarse(told(chat))
    assert [message.text for message in chat.messages] == ["where?", LEFT_OUT, "why?", LEFT_OUT]
    events = list(chat.ask("why not Spain?"))
    assert_coarse(told(chat, events))
    assert "Portugal" in chat.messages[-1].text
    assert "Lisbon" in told(talk(context(("Lisbon",)), saver=saver))


def test_a_question_of_a_finer_run_is_not_shown_and_can_be_left_open() -> None:
    saver = open_checkpoints(None)
    fine = talk(context(), saver=saver, ask=True)
    list(fine.show(shot(), "where?"))
    assert fine.question is not None
    chat = limited(saver)
    assert chat.question is not None
    assert chat.question.answers == ("don't know",)
    assert_coarse(told(chat))
    events = list(chat.answer_question("don't know"))
    assert ended(iter(events)).answer is not None
    assert_coarse(told(chat, events))
    assert not chat.is_unfinished


@pytest.mark.parametrize("question", ["where?", "compare with Osaka"])
def test_a_turn_that_stopped_before_its_reply_tells_no_more_than_is_allowed_now(question: str) -> None:
    saver = open_checkpoints(None)
    begun = talk(context(("Lisbon",)), saver=saver)
    if question != "where?":
        ended(begun.show(shot()))
    fine = talk(context(("Lisbon",)), saver=saver, audit=Stopped())
    fine.photos.keep(shot())
    with pytest.raises(OSError, match="full"):
        list(fine.show(shot(), question) if question == "where?" else fine.ask(question))
    chat = limited(saver)
    assert chat.is_unfinished
    events = list(chat.go_on())
    assert "Portugal" in ended(iter(events)).text
    assert_coarse(told(chat, events))


def test_only_the_model_that_knows_the_coarse_answer_streams() -> None:
    def tokens(step: str, is_coarse: bool) -> list[ChatEvent]:
        return list(events_of("messages", (AIMessageChunk(content="Lisbon"), {"langgraph_node": step}), "", is_coarse))

    assert tokens("hypothesise", is_coarse=True) == []
    assert tokens("hypothesise", is_coarse=False) == [Token(text="Lisbon", step="hypothesise")]
    assert len(tokens("discuss", is_coarse=True)) == 1


def test_an_answer_of_a_thread_is_as_coarse_as_now() -> None:
    saver = open_checkpoints(None)
    fine = ended(talk(context(("Lisbon",)), saver=saver).show(shot())).answer
    [answer] = limited(saver).answers.values()
    assert isinstance(fine, Answer)
    assert fine.candidates
    assert (answer.candidates, answer.areas, answer.level) == ((), (), Level.COUNTRY)
