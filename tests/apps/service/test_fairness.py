"""Callers take turns: many runs, or a large job, of one do not hold up another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apps.service.choices import RunChoices
from apps.service.database import StateDatabase
from apps.service.errors import TooManyError, UnavailableError
from apps.service.events import Accepted, RunFailed, ServiceEvent
from apps.service.jobs import ClaimedItem, JobTable
from apps.service.limits import ServiceLimits
from apps.service.runs import RunPool, RunStream
from graphs.events.steps import StepDone

PATIENCE_S = 60


class Gated:
    """Runs that say when they begin and end when they are let go, one by one."""

    def __init__(self, pool: RunPool) -> None:
        self._pool = pool
        self._began = threading.Semaphore(0)
        self._gates: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self.order: list[str] = []

    def start(self, owner: str, name: str) -> RunStream:
        self._gates[name] = threading.Event()

        def produce() -> Generator[ServiceEvent, None, None]:
            with self._lock:
                self.order.append(name)
            self._began.release()
            assert self._gates[name].wait(PATIENCE_S)
            yield StepDone(step="look", text=name)

        return self._pool.start(owner, produce)

    def wait_for_begins(self, count: int) -> None:
        for _ in range(count):
            assert self._began.acquire(timeout=PATIENCE_S)

    def finish(self, name: str) -> None:
        self._gates[name].set()

    def finish_all(self) -> None:
        for gate in self._gates.values():
            gate.set()


def told_ahead(streams: list[RunStream]) -> list[int]:
    """What the readers were told first; they read to the end, for who leaves ends his run."""
    return [event.ahead for stream in streams for event in stream if isinstance(event, Accepted)]


def in_one_place(*starts: tuple[str, str]) -> list[str]:
    """The order in which runs begin where one runs at a time."""
    with RunPool(ServiceLimits(runs_at_once=1)) as pool:
        runs = Gated(pool)
        for owner, name in starts:
            runs.start(owner, name)
        for number in range(len(starts)):
            runs.wait_for_begins(1)
            runs.finish(runs.order[number])
        return runs.order


def test_callers_take_turns_and_runs_of_each_keep_their_order() -> None:
    starts = [("anna", f"a{number}") for number in range(4)] + [("ben", "b0"), ("ben", "b1"), ("cleo", "c0")]
    assert in_one_place(*starts) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_a_caller_who_comes_back_waits_behind_those_served_longer_ago() -> None:
    assert in_one_place(("ben", "b0"), ("anna", "a0"), ("ben", "b1"), ("anna", "a1")) == ["b0", "a0", "b1", "a1"]


def test_the_next_run_is_of_the_caller_with_the_fewest_running() -> None:
    with RunPool(ServiceLimits(runs_at_once=3)) as pool:
        runs = Gated(pool)
        for owner, name in (("anna", "a0"), ("anna", "a1"), ("ben", "b0"), ("ben", "b1"), ("anna", "a2")):
            runs.start(owner, name)
        runs.wait_for_begins(3)
        assert set(runs.order) == {"a0", "a1", "b0"}
        runs.finish("b0")
        runs.wait_for_begins(1)
        assert runs.order[3] == "b1", "anna has two, and was served longer ago"
        runs.finish("a0")
        runs.wait_for_begins(1)
        assert runs.order[4] == "a2"
        runs.finish_all()


def test_a_single_caller_has_all_places_unless_a_limit_says_otherwise() -> None:
    with RunPool(ServiceLimits(runs_at_once=3)) as pool:
        runs = Gated(pool)
        for number in range(3):
            runs.start("anna", f"a{number}")
        runs.wait_for_begins(3)
        runs.finish_all()
    with RunPool(ServiceLimits(runs_at_once=3, runs_at_once_per_key=2)) as pool:
        runs = Gated(pool)
        streams = [runs.start("anna", f"a{number}") for number in range(4)]
        runs.wait_for_begins(2)
        runs.start("ben", "b0")
        runs.wait_for_begins(1)
        assert sorted(runs.order) == ["a0", "a1", "b0"], "the third place was kept for others"
        runs.finish("b0")
        runs.finish("a1")
        runs.wait_for_begins(1)
        assert runs.order[3] == "a2"
        runs.finish_all()
        assert told_ahead(streams) == [0, 0, 1, 2]


def test_a_caller_is_told_how_many_runs_end_before_this_one_begins() -> None:
    with RunPool(ServiceLimits(runs_at_once=1)) as pool:
        runs = Gated(pool)
        streams = [runs.start(name[0], name) for name in ("a0", "a1", "a2", "a3", "b0", "b1")]
        runs.finish_all()
        assert told_ahead(streams) == [0, 1, 2, 3, 2, 4]


def test_a_pool_that_closes_ends_what_waits_and_takes_nothing_more() -> None:
    ended: Counter[str] = Counter()
    begun, gate = threading.Event(), threading.Event()

    def waiting() -> Generator[ServiceEvent, None, None]:
        begun.set()
        assert gate.wait(PATIENCE_S)
        yield StepDone(step="look", text="0")

    def at_end(name: str) -> Callable[[], None]:
        def note() -> None:
            ended[name] += 1
            if name == "0":
                gate.set()

        return note

    pool = RunPool(ServiceLimits(runs_at_once=1))
    running = pool.start("anna", waiting, at_end("running"))
    assert begun.wait(PATIENCE_S)
    streams = [pool.start(owner, waiting, at_end(str(number))) for number, owner in enumerate(("anna", "ben"))]
    pool.close()
    assert ended == Counter(("running", "0", "1"))
    for stream in (running, *streams):
        (last,) = stream
        assert isinstance(last, RunFailed)
        assert "stopping" in last.detail
    assert pool.under_way == 0
    with pytest.raises(UnavailableError, match="stopping"):
        pool.start("anna", waiting)


def test_runs_of_many_threads_all_end_while_the_pool_closes() -> None:
    pool = RunPool(ServiceLimits(runs_at_once=2, runs_waiting=1000, runs_per_key=1000))
    streams: list[RunStream] = []
    some = threading.Semaphore(0)

    def short() -> Generator[ServiceEvent, None, None]:
        yield StepDone(step="look", text="0")

    def ask(owner: str) -> None:
        try:
            for _ in range(200):
                streams.append(pool.start(owner, short))
                some.release()
        except UnavailableError:
            pass

    with ThreadPoolExecutor(3) as callers:
        asked = [callers.submit(ask, owner) for owner in ("anna", "ben", "cleo")]
        for _ in range(20):
            assert some.acquire(timeout=PATIENCE_S)
        pool.close()
        for each in asked:
            each.result(PATIENCE_S)
    assert all(isinstance(list(stream)[-1], RunFailed | StepDone) for stream in streams), "each reader came to an end"
    assert pool.under_way == 0


def test_what_ended_makes_room() -> None:
    with RunPool(ServiceLimits(runs_at_once=1, runs_per_key=1)) as pool:
        runs = Gated(pool)
        stream = runs.start("anna", "a0")
        with pytest.raises(TooManyError):
            runs.start("anna", "a1")
        runs.finish("a0")
        assert isinstance(list(stream)[-1], StepDone)
        runs.finish_all()
        assert pool.under_way == 0


@pytest.fixture
def database(state_url: str, tmp_path: Path) -> Iterator[StateDatabase]:
    with StateDatabase.open(state_url, tmp_path) as opened:
        yield opened


def job(jobs: JobTable, owner: str, count: int) -> None:
    jobs.create(owner, RunChoices(), [(f"{owner}{number}.jpg", b"x") for number in range(count)])


def names(items: Iterator[ClaimedItem | None]) -> list[str]:
    return [item.name.removesuffix(".jpg") for item in items if item is not None]


def test_a_large_job_does_not_hold_up_those_of_others(database: StateDatabase) -> None:
    jobs = JobTable(database, ServiceLimits())
    job(jobs, "anna", 6)
    assert names(jobs.claim() for _ in range(2)) == ["anna0", "anna1"]
    job(jobs, "ben", 2)
    job(jobs, "cleo", 1)
    job(jobs, "ben", 1)
    assert names(jobs.claim() for _ in range(8)) == [
        "ben0", "cleo0", "anna2", "ben1", "anna3", "ben0", "anna4", "anna5"
    ]  # fmt: skip
    assert jobs.claim() is None


def test_workers_of_one_process_take_turns_among_callers_too(database: StateDatabase) -> None:
    jobs = JobTable(database, ServiceLimits())
    job(jobs, "anna", 12)
    job(jobs, "ben", 3)
    with ThreadPoolExecutor(3) as workers:
        taken = names(workers.map(lambda _: jobs.claim(), range(12)))
    assert len(set(taken)) == 12
    assert {"ben0", "ben1", "ben2"} <= set(taken)


def test_an_owner_whose_photos_others_are_taking_does_not_hide_the_rest(database: StateDatabase) -> None:
    jobs = JobTable(database, ServiceLimits())
    job(jobs, "anna", 1)
    job(jobs, "ben", 1)
    assert names(iter((jobs.claim(), JobTable(database, ServiceLimits()).claim()))) == ["anna0", "ben0"]
