"""Waiting that is no work: for a person, or a program elsewhere, to write a reply when it suits them.

Clocks of work stand still meanwhile, and a pause ends at once where its run is cancelled. Both are context variables,
so they hold in threads that take the context along.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class WorkClock:
    """Counts seconds from its making on, without those in which one of its threads or several waited."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._lock = threading.Lock()
        self._waiting, self._waiting_since, self._waited = 0, 0.0, 0.0

    @property
    def seconds(self) -> float:
        """Seconds of work so far."""
        with self._lock:
            now = time.perf_counter()
            return now - self._started - self._waited - (now - self._waiting_since if self._waiting else 0.0)

    def begin_to_wait(self) -> None:
        """One more thread waits."""
        with self._lock:
            if not self._waiting:
                self._waiting_since = time.perf_counter()
            self._waiting += 1

    def end_to_wait(self) -> None:
        """One thread less waits."""
        with self._lock:
            self._waiting -= 1
            if not self._waiting:
                self._waited += time.perf_counter() - self._waiting_since


_clocks: ContextVar[tuple[WorkClock, ...]] = ContextVar("work_clocks", default=())
_check: ContextVar[Callable[[], None] | None] = ContextVar("raises_if_cancelled", default=None)


@contextmanager
def work_clock() -> Iterator[WorkClock]:
    """A clock of the work done within."""
    clock = WorkClock()
    token = _clocks.set((*_clocks.get(), clock))
    try:
        yield clock
    finally:
        _clocks.reset(token)


@contextmanager
def waiting() -> Iterator[None]:
    """Within, the clocks of this context stand still."""
    clocks = _clocks.get()
    for clock in clocks:
        clock.begin_to_wait()
    try:
        yield
    finally:
        for clock in clocks:
            clock.end_to_wait()


@contextmanager
def cancelled_by(check: Callable[[], None]) -> Iterator[None]:
    """Within, pauses call `check`, which raises once the run is cancelled."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def pause(seconds: float) -> None:
    """Sleep.

    Raises:
        BaseException: what the run's check raises where it is cancelled.
    """
    raise_if_cancelled()
    time.sleep(seconds)
    raise_if_cancelled()


def raise_if_cancelled() -> None:
    """Raise what the run's check raises where it is cancelled."""
    check = _check.get()
    if check is not None:
        check()
