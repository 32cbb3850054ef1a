"""Work in a daemon thread of its own, so that whoever waits for it can stop waiting at any moment.

The thread has the caller's context variables. Work that is given up goes on until its own limits end it; being a
daemon, its thread does not keep the process alive. When Python ends it ends such threads by unwinding them, and C++
answers that with abort(): a program leaves with `leave_process`, and other programs wait a little at their end.
"""

from __future__ import annotations

import atexit
import contextvars
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")

END_WAITS_S = 5.0
"""How long the end of a program waits for calls that were given up; set by hand."""

_THREADS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class DeadlineExceededError(Exception):
    """A call did not return in time."""


def leave_process(status: int) -> None:
    """End the process at once with this exit status if a call that was given up still works; return otherwise.

    What is to happen at exit happens, without the wait, and both outputs are flushed.
    """
    if _still_working():
        end_process(status)


def end_process(status: int) -> NoReturn:
    """End the process at once with this exit status, whatever its threads do.

    What is to happen at exit happens, without the wait for calls, and both outputs are flushed.
    """
    atexit.unregister(_wait_at_exit)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(status)


def _still_working() -> list[threading.Thread]:
    return [thread for thread in _THREADS if thread.is_alive()]


@atexit.register
def _wait_at_exit() -> None:
    ends_at = time.monotonic() + END_WAITS_S
    for thread in _still_working():
        thread.join(max(0.0, ends_at - time.monotonic()))


def run_within(seconds: float, call: Callable[[], T], thread_name: str) -> T:
    """What a call returns, if it does in time.

    Raises:
        DeadlineExceededError: it did not return in time.
        BaseException: whatever the call raises.
    """
    return BackgroundIterator[T](lambda send: send(call()), thread_name).next_within(seconds)


@dataclass(frozen=True)
class _Ended:
    """The last thing that a thread sends: why it ended."""

    error: BaseException | None


class BackgroundIterator(Generic[T]):
    """The items that `produce` sends, by calling what it is given, from a thread of its own that starts at once."""

    def __init__(self, produce: Callable[[Callable[[T], None]], None], thread_name: str) -> None:
        self._produce = produce
        self._sent: queue.SimpleQueue[T | _Ended] = queue.SimpleQueue()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), name=thread_name, daemon=True)
        self._thread.start()
        _THREADS.add(self._thread)

    def __iter__(self) -> Iterator[T]:
        """Items as they come.

        Raises:
            BaseException: whatever `produce` raises.
        """
        while not isinstance(item := self._sent.get(), _Ended):
            yield item
        if item.error is not None:
            raise item.error

    def next_within(self, seconds: float) -> T:
        """The next item, if it comes in time.

        Raises:
            DeadlineExceededError: it did not.
            StopIteration: there are no more.
            BaseException: whatever `produce` raises.
        """
        try:
            item = self._sent.get(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
        except queue.Empty:
            raise DeadlineExceededError(f"no result within {seconds:.1f} s") from None
        if isinstance(item, _Ended):
            raise item.error or StopIteration
        return item

    def wait(self, seconds: float) -> bool:
        """Wait for the thread to end; whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            self._produce(self._sent.put)
        except BaseException as error:  # noqa: BLE001 - not swallowed: handed to the waiting thread, which raises it
            self._sent.put(_Ended(error))
        else:
            self._sent.put(_Ended(None))
