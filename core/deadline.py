"""Work in a daemon thread of its own, so that whoever waits for it can stop waiting at any moment.

The thread has the caller's context variables. Work that is given up goes on until its own limits end it; being a
daemon, its thread does not keep the process alive.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class DeadlineExceededError(Exception):
    """A call did not return in time."""


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
