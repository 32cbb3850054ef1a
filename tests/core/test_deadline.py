"""Work in a thread of its own: given up in time, with the caller's context, and its errors in the caller."""

from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

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


GIVEN_UP = """
import atexit, sys, time
sys.path.insert(0, sys.argv[1])
import torch
from core.deadline import DeadlineExceededError, run_within
atexit.register(print, "at exit")
square = torch.randn(600, 600)
def work():
    ends_at = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < ends_at:
        square @ square
try:
    run_within(0.05, work, "native")
except DeadlineExceededError:
    print("given up")
if sys.argv[3] != "library":
    sys.argv[1:] = sys.argv[3:]
    from geosleuth.__main__ import main
    main()
"""


@pytest.mark.parametrize(
    ("lasts_s", "arguments", "status"),
    [("600", ["--version"], 0), ("600", ["--nonsense"], 2), ("1", ["library"], 0)],
)
def test_a_native_call_that_was_given_up_does_not_abort_the_end(
    lasts_s: str, arguments: list[str], status: int
) -> None:
    """Python ends its thread by unwinding it, which C++ answers with SIGABRT."""
    pytest.importorskip("torch")
    command = [sys.executable, "-c", GIVEN_UP, str(Path(__file__).parents[2]), lasts_s, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stderr
    assert "terminate called" not in done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("given up", "at exit")
