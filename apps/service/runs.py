"""Runs in threads of a pool, and their events: a run never waits for its reader, nor a reader for another."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

from apps.service.errors import TooManyError, UnavailableError
from apps.service.events import FINAL_EVENTS, Accepted, ServiceEvent, failure, joined
from apps.service.limits import ServiceLimits
from core.closing import Closing

Produce = Callable[[], Generator[ServiceEvent, None, None]]
_RETRY_AFTER_S = 2.0
_AGAIN = "send the photo again, or resume the turn"


class RunStream:
    """The events of one run, for one reader: read it with `for` in a thread, or with `async for`.

    What a slow reader has not read is kept, up to a limit: pieces of text are joined, and nothing is lost. For a reader
    beyond the limit one `RunFailed` (503) replaces what is unread, and the run ends at its next event, as it does when
    the reader leaves. So a reader that stays always gets one of `FINAL_EVENTS` last.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unread: deque[ServiceEvent] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._left = False
        self._wake: Callable[[], None] = lambda: None

    @property
    def is_left(self) -> bool:
        """Whether nothing more is taken: the reader has left, is too slow, or the server is stopping."""
        return self._left

    def put(self, event: ServiceEvent) -> None:
        """Add an event, from the run's thread; it is dropped once the stream is left."""
        with self._changed:
            if self._left:
                return
            merged = joined(self._unread[-1], event) if self._unread else None
            if merged is not None:
                self._unread[-1] = merged
            else:
                self._unread.append(event)
            if len(self._unread) > self._limit and not isinstance(event, FINAL_EVENTS):
                self._fail(f"{self._limit} events were not read in time; {_AGAIN}, and read faster")
            self._notify()

    def stop(self) -> None:
        """End the run at its next event, and tell its reader that the server is stopping."""
        with self._changed:
            is_whole = bool(self._unread) and isinstance(self._unread[-1], FINAL_EVENTS)
            if not (self._ended or self._left or is_whole):
                self._fail(f"the server is stopping; {_AGAIN} when it is back")
            self._notify()

    def end(self) -> None:
        """Say that no event will follow."""
        with self._changed:
            self._ended = True
            self._notify()

    def leave(self) -> None:
        """Stop reading: the run ends at its next event."""
        with self._changed:
            self._left = True
            self._unread.clear()
            self._notify()

    def __iter__(self) -> Iterator[ServiceEvent]:
        """Events as they come; leaving the loop early leaves the run."""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._unread or self._is_over)
                    if not self._unread:
                        return
                    event = self._unread.popleft()
                yield event
        finally:
            self.leave()

    async def __aiter__(self) -> AsyncIterator[ServiceEvent]:
        """Events as they come, without blocking the event loop; leaving the loop early leaves the run."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        with self._changed:
            self._wake = lambda: _set_in(loop, arrived)
        try:
            while True:
                arrived.clear()
                with self._changed:  # `put` looks at the last event before it replaces it
                    event = self._unread.popleft() if self._unread else None
                    is_over = self._is_over
                if event is not None:
                    yield event
                elif is_over:
                    return
                else:
                    await arrived.wait()
        finally:
            self._wake = lambda: None
            self.leave()

    def _fail(self, detail: str) -> None:
        """Replace what is unread by an error, the last event."""
        self._unread.clear()
        self._unread.append(failure(UnavailableError(detail)))
        self._left = True

    @property
    def _is_over(self) -> bool:
        return (self._ended or self._left) and not self._unread

    def _notify(self) -> None:
        self._changed.notify_all()
        self._wake()


class RunPool(Closing):
    """Carries out a few runs at once; a bounded number wait, and more are refused."""

    def __init__(self, limits: ServiceLimits) -> None:
        self._limits = limits
        self._executor = ThreadPoolExecutor(limits.runs_at_once, thread_name_prefix="run")
        self._lock = threading.Lock()
        self._by_owner: Counter[str] = Counter()
        self._live: set[RunStream] = set()

    @property
    def under_way(self) -> int:
        """Runs that run or wait."""
        return sum(self._by_owner.values())

    def start(self, owner: str, produce: Produce, at_end: Callable[[], None] = lambda: None) -> RunStream:
        """Start a run, or let it wait for its turn.

        Args:
            owner: who it is for.
            produce: makes the events, in a thread of the pool.
            at_end: called when it has ended, however it did, also if it never began.

        Raises:
            TooManyError: the pool, or the owner's part of it, is full.
        """
        with self._lock:
            ahead = self._admit(owner)
            stream = RunStream(self._limits.unread_events)
            self._live.add(stream)
        stream.put(Accepted(ahead=ahead))
        context = contextvars.copy_context()
        self._executor.submit(context.run, self._carry_out, owner, stream, produce, at_end)
        return stream

    def close(self) -> None:
        """End all runs at their next event, tell their readers, and wait for them."""
        with self._lock:
            live = tuple(self._live)
        for stream in live:
            stream.stop()
        self._executor.shutdown(wait=True)

    def _admit(self, owner: str) -> int:
        if self._by_owner[owner] >= self._limits.runs_per_key:
            raise TooManyError(
                f"{self._limits.runs_per_key} photos and turns of yours are under way; wait for one", _RETRY_AFTER_S
            )
        under_way = self.under_way
        if under_way >= self._limits.runs_at_once + self._limits.runs_waiting:
            raise TooManyError(f"{under_way} photos and turns are waiting already; try again soon", _RETRY_AFTER_S)
        self._by_owner[owner] += 1
        return max(0, under_way + 1 - self._limits.runs_at_once)

    def _carry_out(self, owner: str, stream: RunStream, produce: Produce, at_end: Callable[[], None]) -> None:
        try:
            if not stream.is_left:
                _pass_on(produce, stream)
        except Exception as error:  # whatever it is, the reader is told, and a bug is logged
            told = failure(error)
            if told.status >= 500:
                logging.getLogger("geosleuth.service").exception("a run failed")
            stream.put(told)
        finally:
            self._end(owner, stream, at_end)

    def _end(self, owner: str, stream: RunStream, at_end: Callable[[], None]) -> None:
        """Let go of a run, also where what is to be done at its end fails."""
        try:
            at_end()
        except Exception:  # the run's slot must be given back all the same
            logging.getLogger("geosleuth.service").exception("the end of a run failed")
        finally:
            with self._lock:
                self._live.discard(stream)
                self._by_owner -= Counter((owner,))
            stream.end()


def _set_in(loop: asyncio.AbstractEventLoop, arrived: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody reads any more
        loop.call_soon_threadsafe(arrived.set)


def _pass_on(produce: Produce, stream: RunStream) -> None:
    with closing(produce()) as events:
        for event in events:
            stream.put(event)
            if stream.is_left:
                return
