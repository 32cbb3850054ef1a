"""The words of a long conversation: all are told, few are in the state, and what is taken back is nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphs.chat.nodes import ChatParts
from graphs.chat.session import Conversation
from graphs.chat.transcript import STATE_TURNS, ChatTranscript
from graphs.checkpoints import UNDONE_TURNS, open_checkpoints
from tests.fakes.conversations import ended, shot, talk
from tests.fakes.machine import context


def asked(chat: Conversation) -> list[str]:
    """The person's words, in order."""
    return [message.text for message in chat.messages if message.type == "human"]


def in_state(chat: Conversation) -> int:
    """Messages that every checkpoint holds."""
    return len(chat.graph.get_state({"configurable": {"thread_id": "t"}}).values["messages"])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many turns stay in the state."""
    return lambda turns: monkeypatch.setattr("graphs.chat.transcript.STATE_TURNS", turns)


def test_a_long_conversation_loses_no_word_and_holds_each_once(
    tmp_path: Path, few: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert STATE_TURNS > UNDONE_TURNS
    few(turns := 4)
    monkeypatch.setattr("graphs.chat.session.UNDONE_TURNS", undone := 3)
    saver = open_checkpoints(tmp_path / "checkpoints.sqlite")
    chat = talk(saver=saver)
    ended(chat.show(shot(), "where?"))
    said, held = ["where?"], []
    for turn in range(3 * turns + undone):
        said.append(f"why? {turn}")
        ended(chat.ask(said[-1]))
        held.append(in_state(chat))
    assert asked(chat) == said
    assert [message.type for message in chat.messages] == ["human", "ai"] * len(said)
    assert max(held) < 4 * turns < len(chat.messages)
    saved = ChatTranscript(saver, "t").before(10**6)
    assert [*saved, *chat.graph.get_state({"configurable": {"thread_id": "t"}}).values["messages"]] == chat.messages
    assert len(chat.runs) <= 2
    for _ in range(undone):
        assert chat.undo() == said.pop()
        assert asked(chat) == said
    assert 0 < sum(message.type == "human" for message in saved) <= len(said)
    ended(chat.ask("and now?"))
    assert asked(chat) == [*said, "and now?"]
    saver.conn.close()


def test_a_thread_that_holds_all_its_words_goes_on_and_moves_them(few: Callable[[int], None]) -> None:
    saver, work = open_checkpoints(None), context(("Lisbon",))
    few(10**6)
    earlier = talk(work, saver=saver)
    ended(earlier.show(shot()))
    for turn in range(7):
        ended(earlier.ask(f"why? {turn}"))
    before = [message.text for message in earlier.messages]
    few(2)
    chat = talk(work, saver=saver)
    assert [message.text for message in chat.messages] == before
    ended(chat.ask("compare with Osaka"))
    assert in_state(chat) == 4
    assert [message.text for message in chat.messages][:-2] == before
    assert chat.undo() == "compare with Osaka"
    assert [message.text for message in chat.messages] == before


def test_calls_of_later_turns_are_told_from_those_of_earlier_ones(few: Callable[[int], None]) -> None:
    few(1)
    chat = talk(context(("Lisbon",)))
    ended(chat.show(shot()))
    for place in ("Osaka", "Kyoto", "Nairobi", "Lima", "Oslo"):
        ended(chat.ask(f"compare with {place}"))
    [case] = chat.cases.values()
    turns = {record.call_id.split("-")[0] for record in case["records"] if record.call_id.startswith("turn")}
    assert turns == {f"turn{number}" for number in range(2, 7)}


def test_an_application_without_a_transcript_keeps_every_word_in_the_state(
    few: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    few(1)
    monkeypatch.setattr("tests.fakes.conversations.ChatTranscript", lambda *_: None)
    assert ChatParts.transcript is None
    chat = talk(context(("Lisbon",)))
    ended(chat.show(shot()))
    for turn in range(4):
        ended(chat.ask(f"why? {turn}"))
    assert in_state(chat) == 10
