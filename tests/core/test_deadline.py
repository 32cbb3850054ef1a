"""Work in a thread of its own: given up in time, with the caller's context, and its errors in the caller."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

import pytest

from core.deadline import BackgroundIterator, DeadlineExceededError, run_within

HOUR_S = 3600.0
SETTING = contextvars.ContextVar("SETTING", default="unset")


def test_what_the_call_returns_comes_from_another_thread_with_the_callers_context() -> None:
    SETTING.set("set by the caller")
    name, setting = run_within(HOUR_S, lambda: (threading.current_thread().name, SETTING.get()), "worker")
    assert (name, setting) == ("worker", "set by the caller")


def test_a_call_that_does_not_return_is_given_up() -> None:
    free = threading.Event()
    with pytest.raises(DeadlineExceededError, match="no result within"):
        run_within(-1.0, free.wait, "worker")
    free.set()


def test_time_without_end_is_no_overflow() -> None:
    assert run_within(float("inf"), lambda: 3, "worker") == 3


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, TimeoutError, StopIteration])
def test_what_the_call_raises_is_raised_to_the_caller(kind: type[BaseException]) -> None:
    def fail() -> None:
        raise kind("from the thread")

    with pytest.raises(kind, match="from the thread"):
        run_within(HOUR_S, fail, "worker")


def test_items_come_one_by_one_and_then_what_was_raised() -> None:
    go_on = threading.Event()

    def produce(send: Callable[[int], None]) -> None:
        send(1)
        go_on.wait()
        send(2)
        raise ValueError("over")

    items = BackgroundIterator(produce, "worker")
    received = iter(items)
    assert next(received) == 1
    assert not items.wait(0.0)
    go_on.set()
    assert next(received) == 2
    with pytest.raises(ValueError, match="over"):
        next(received)
    assert items.wait(HOUR_S)
