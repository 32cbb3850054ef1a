"""Events of runs: nobody waits for a reader, and no reader loses any."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator

import pytest

from apps.service import runs
from apps.service.events import RunFailed, ServiceEvent, joined
from apps.service.limits import ServiceLimits
from apps.service.runs import RunPool, RunStream
from core.errors import UserError
from graphs.chat.events import Token, TurnEnded
from graphs.events.steps import StepDone

Events = Generator[ServiceEvent, None, None]


def step(number: int) -> StepDone:
    return StepDone(step="look", text=str(number))


@pytest.fixture
def pool() -> Generator[RunPool, None, None]:
    with RunPool(ServiceLimits(runs_at_once=1, unread_events=50)) as opened:
        yield opened


def texts(stream: RunStream) -> list[str]:
    return [event.text for event in stream if isinstance(event, StepDone | Token)]


def test_a_run_ends_though_nobody_reads_it_and_nothing_is_lost(pool: RunPool) -> None:
    unread = pool.start("anna", lambda: (step(number) for number in range(40)))
    assert texts(pool.start("anna", lambda: (step(number) for number in range(3)))) == ["0", "1", "2"]
    assert texts(unread) == [str(number) for number in range(40)]


def test_pieces_of_text_are_joined_for_a_slow_reader(pool: RunPool) -> None:
    def written() -> Events:
        for number in range(500):
            yield Token(text=f"{number} ", step="discuss")
        yield step(0)
        yield Token(text="end", step="discuss")

    stream = pool.start("anna", written)
    assert texts(pool.start("anna", lambda: iter((step(7),)))) == ["7"]  # type: ignore[arg-type,return-value]
    assert texts(stream) == ["".join(f"{number} " for number in range(500)), "0", "end"]


def test_a_reader_who_leaves_ends_the_run_at_its_next_event(pool: RunPool) -> None:
    made, closed = threading.Semaphore(0), threading.Event()

    def endless() -> Events:
        try:
            while True:
                made.release()
                yield step(1)
        finally:
            closed.set()

    for event in pool.start("anna", endless):
        if isinstance(event, StepDone):
            break
    assert closed.wait(30)


def test_a_reader_too_far_behind_is_cut_off(pool: RunPool) -> None:
    endless = pool.start("anna", lambda: (step(number) for number in iter(int, 1)))
    assert texts(pool.start("anna", lambda: iter((step(7),)))) == ["7"]  # type: ignore[arg-type,return-value]
    assert endless.is_left
    (last,) = endless
    assert isinstance(last, RunFailed)
    assert (last.status, "not read in time" in last.detail) == (503, True)
    endless.put(step(0))
    assert texts(endless) == []


def test_a_server_that_stops_tells_readers_so_and_ends_their_runs() -> None:
    begun = threading.Event()

    def endless() -> Events:
        while True:
            begun.set()
            yield step(1)

    with RunPool(ServiceLimits(runs_at_once=1, unread_events=10_000_000)) as pool:
        running, waiting = pool.start("anna", endless), pool.start("anna", endless)
        assert begun.wait(30)
    for stream in (running, waiting):
        (last,) = stream
        assert isinstance(last, RunFailed)
        assert (last.status, "stopping" in last.detail) == (503, True)


def test_an_answer_that_is_there_is_not_replaced_when_the_server_stops() -> None:
    stream = RunStream(1)
    for event in (step(0), TurnEnded(text="Portugal", answer=None)):
        stream.put(event)
    stream.stop()
    stream.end()
    assert [type(event) for event in stream] == [StepDone, TurnEnded]


def test_readers_of_one_event_loop_do_not_hold_up_each_other() -> None:
    async def read(stream: RunStream, pause_s: float) -> list[ServiceEvent]:
        events = []
        async for event in stream:
            events.append(event)
            await asyncio.sleep(pause_s)
        return events

    async def both(pool: RunPool) -> tuple[list[ServiceEvent], list[ServiceEvent]]:
        streams = [pool.start("anna", lambda: (step(number) for number in range(20))) for _ in range(2)]
        return await asyncio.gather(read(streams[0], 0.02), read(streams[1], 0.0))

    with RunPool(ServiceLimits(runs_at_once=2)) as pool:
        slow, quick = asyncio.run(both(pool))
    assert [event.text for event in slow[1:] if isinstance(event, StepDone)] == [str(number) for number in range(20)]
    assert slow[1:] == quick[1:]


def test_an_error_is_the_last_event(pool: RunPool) -> None:
    def failing() -> Events:
        yield step(1)
        raise UserError("the model is not there; start it")

    *_, last = pool.start("anna", failing)
    assert isinstance(last, RunFailed)
    assert (last.status, last.detail) == (422, "the model is not there; start it")
    assert pool.under_way == 0


def test_a_run_whose_end_fails_is_let_go_of(pool: RunPool) -> None:
    def fail() -> None:
        raise RuntimeError("the database is away")

    stream = pool.start("anna", lambda: iter((step(1),)), fail)  # type: ignore[arg-type,return-value]
    assert texts(stream) == ["1"]
    assert pool.under_way == 0


def test_an_event_is_not_taken_while_another_is_joined_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    joining, may_join = threading.Event(), threading.Event()

    def slow(earlier: ServiceEvent, later: ServiceEvent) -> ServiceEvent | None:
        joining.set()
        may_join.wait(0.5)
        return joined(earlier, later)

    stream = RunStream(50)
    for event in (step(0), Token(text="a", step="discuss")):
        stream.put(event)
    monkeypatch.setattr(runs, "joined", slow)

    failed: list[BaseException] = []

    def write() -> None:
        try:
            stream.put(Token(text="b", step="discuss"))
        except IndexError as error:
            failed.append(error)
        finally:
            stream.end()

    writer = threading.Thread(target=write)

    async def read() -> list[ServiceEvent]:
        events: list[ServiceEvent] = []
        async for event in stream:
            if not events:
                writer.start()
                await asyncio.to_thread(joining.wait, 30)
            events.append(event)
        return events

    assert asyncio.run(read()) == [step(0), Token(text="ab", step="discuss")]
    writer.join()
    assert failed == []
