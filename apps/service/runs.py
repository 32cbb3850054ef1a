"""Runs in threads of a pool, and their events: a run never waits for its reader, nor a reader for another."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field

from apps.service.errors import TooManyError, UnavailableError
from apps.service.events import FINAL_EVENTS, Accepted, ServiceEvent, failure, joined
from apps.service.fairness import FairQueue
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


@dataclass(frozen=True, eq=False)
class _Run:
    """A run that is under way or waits; `context` is that of the request."""

    owner: str
    stream: RunStream
    produce: Produce
    at_end: Callable[[], None]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class RunPool(Closing):
    """Carries out a few runs at once; a bounded number wait, and more are refused.

    Callers take turns (`FairQueue`): many runs of one do not hold up another's.
    """

    def __init__(self, limits: ServiceLimits) -> None:
        self._limits = limits
        self._executor = ThreadPoolExecutor(limits.runs_at_once, thread_name_prefix="run")
        self._lock = threading.Lock()
        self._queue = FairQueue[_Run](limits.runs_at_once, limits.runs_at_once_per_key)
        self._live: set[RunStream] = set()
        self._closed = False

    @property
    def under_way(self) -> int:
        """Runs that run or wait."""
        with self._lock:
            return self._queue.under_way

    def start(self, owner: str, produce: Produce, at_end: Callable[[], None] = lambda: None) -> RunStream:
        """Start a run, or let it wait for its turn.

        Args:
            owner: who it is for.
            produce: makes the events, in a thread of the pool.
            at_end: called when it has ended, however it did, also if it never began.

        Raises:
            TooManyError: the pool, or the owner's part of it, is full.
            UnavailableError: the pool is closed.
        """
        run = _Run(owner, RunStream(self._limits.unread_events), produce, at_end)
        with self._lock:
            self._check_room(owner)
            run.stream.put(Accepted(ahead=self._queue.ahead_of_next(owner)))
            self._live.add(run.stream)
            self._queue.add(owner, run)
            self._begin_waiting()
        return run.stream

    def close(self) -> None:
        """End all runs at their next event, tell their readers, and wait for them."""
        with self._lock:
            self._closed = True
            live, waiting = tuple(self._live), self._queue.drain()
        for stream in live:
            stream.stop()
        for run in waiting:
            run.context.run(self._end, run)
        self._executor.shutdown(wait=True)

    def _check_room(self, owner: str) -> None:
        if self._closed:
            raise UnavailableError(f"the server is stopping; {_AGAIN} when it is back")
        if self._queue.under_way_of(owner) >= self._limits.runs_per_key:
            raise TooManyError(
                f"{self._limits.runs_per_key} photos and turns of yours are under way; wait for one", _RETRY_AFTER_S
            )
        under_way = self._queue.under_way
        if under_way >= self._limits.runs_at_once + self._limits.runs_waiting:
            raise TooManyError(f"{under_way} photos and turns are waiting already; try again soon", _RETRY_AFTER_S)

    def _begin_waiting(self) -> None:
        """Begin what may begin; the lock is held, so the executor is open unless the pool is closed."""
        while not self._closed and (run := self._queue.begin()) is not None:
            self._executor.submit(run.context.run, self._carry_out, run)

    def _carry_out(self, run: _Run) -> None:
        try:
            if not run.stream.is_left:
                _pass_on(run.produce, run.stream)
        except Exception as error:  # whatever it is, the reader is told, and a bug is logged
            told = failure(error)
            if told.status >= 500:
                logging.getLogger("geosleuth.service").exception("a run failed")
            run.stream.put(told)
        finally:
            self._end(run, has_begun=True)

    def _end(self, run: _Run, has_begun: bool = False) -> None:
        """Let go of a run, also where what is to be done at its end fails."""
        try:
            run.at_end()
        except Exception:  # the run's place must be given back all the same
            logging.getLogger("geosleuth.service").exception("the end of a run failed")
        finally:
            with self._lock:
                self._live.discard(run.stream)
                if has_begun:
                    self._queue.end(run.owner)
                    self._begin_waiting()
            run.stream.end()


def _set_in(loop: asyncio.AbstractEventLoop, arrived: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody reads any more
        loop.call_soon_threadsafe(arrived.set)


def _pass_on(produce: Produce, stream: RunStream) -> None:
    with closing(produce()) as events:
        for event in events:
            stream.put(event)
            if stream.is_left:
                return
