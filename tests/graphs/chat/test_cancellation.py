"""What stopping a turn leaves behind: Ctrl-C at any moment, in the middle of a tool's call, before an undo."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from langchain_core.tools import StructuredTool

from graphs.chat import session
from graphs.chat.cancellation import CancellationCallback, RunCancelled
from graphs.events.steps import StepDone
from tests.fakes.conversations import answering, ended, shot, talk
from tests.fakes.machine import context


class Counting(CancellationCallback):
    """Stops a run at a callback of a given number."""

    calls = 0
    stop_at = 0

    def check(self, *_: Any, **__: Any) -> None:
        Counting.calls += 1
        if Counting.calls == Counting.stop_at:
            self.stop()
        super().check()

    on_tool_start = check
    on_chat_model_start = check
    on_llm_new_token = check


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Counting]]:
    monkeypatch.setattr(session, "CancellationCallback", Counting)
    yield Counting
    Counting.calls = Counting.stop_at = 0


def counted_searches(work: Any) -> list[Any]:
    """The searches that will be made, as they are made."""
    searches: list[Any] = []
    search = work.tools["search_photos"]
    original = search.func

    def counted(**given: Any) -> Any:
        searches.append(given)
        return original(**given)

    search.func = counted
    return searches


def test_a_location_stopped_at_any_moment_goes_on_to_the_same_answer(counting: type[Counting]) -> None:
    whole = ended(talk().show(shot())).answer
    assert whole is not None
    moments = counting.calls
    assert moments > 50
    for moment in range(2, moments):  # before the first nothing has begun, after the last all is done
        work = context(("Lisbon",))
        searches = counted_searches(work)
        chat = talk(work)
        counting.calls, counting.stop_at = 0, moment
        with pytest.raises(RunCancelled):
            list(chat.show(shot()))
        counting.stop_at = 0
        assert chat.is_unfinished, moment
        answer = ended(chat.go_on()).answer
        assert answer is not None, moment
        assert (answer.point, len(searches)) == (whole.point, 1), moment


def test_a_stopped_step_is_not_waited_for_and_can_be_taken_back(caplog: pytest.LogCaptureFixture) -> None:
    release = Event()
    hung: list[str] = []

    def find_place(name: str) -> str:
        """Hang once."""
        if not hung:
            hung.append(name)
            release.wait(60)
        raise AssertionError("nothing comes of a call that was given up")

    work = context(model=answering(lambda *_: ("", [("find_place", {"name": "Osaka"})])))
    hanging = StructuredTool.from_function(find_place)
    chat = talk(context(model=work.model.chat, tools={**work.tools, "find_place": hanging}))
    ended(chat.show(shot()))
    began = time.monotonic()
    for event in chat.ask("compare with Osaka"):
        if isinstance(event, StepDone) and event.step == "discuss":
            break  # as Ctrl-C does
    assert time.monotonic() - began < 30  # not the tool's 60 seconds
    assert chat.is_unfinished
    assert chat.undo() == "compare with Osaka"
    assert not chat.is_unfinished
    release.set()
    assert chat.finish(60)
    assert not caplog.records  # cancelling is no error
    assert not chat.is_unfinished  # and what came of the call in the end has changed nothing
    assert not any(record.tool == "find_place" for record in chat.cases[chat.photo_id or ""]["records"])
