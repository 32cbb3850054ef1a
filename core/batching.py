"""Dynamic batching: items of several threads in one call of a function that takes many as fast as one."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate, takewhile
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class _Request(Generic[Item, Result]):
    """The items of one call, and what becomes of them: a result each, or an error."""

    items: Sequence[Item]
    outcome: Future[Sequence[Result]] = field(default_factory=Future)


class Batching(Generic[Item, Result]):
    """Calls a function for one thread at a time, each time with the items of all threads that wait by then.

    There is no thread of its own and no timed wait: whoever finds the function idle calls it at once. Requests that
    come meanwhile wait in their order; when it is idle again, the thread of the first of them calls it with its own
    items and those of the requests behind it, as long as they fit.

    Where a batch fails, each of its requests is done alone, so that an error reaches nobody else. Where the thread
    that calls is interrupted, the other requests of its batch come first again.

    Args:
        function: gives a result for each item, in order, and the same one in any batch.
        limit: at most so many items in a batch of several requests; 1: each request alone.
    """

    def __init__(self, function: Callable[[Sequence[Item]], Sequence[Result]], limit: int) -> None:
        self._function, self._limit = function, limit
        self._waiting: deque[_Request[Item, Result]] = deque()
        self._batch: tuple[_Request[Item, Result], ...] = ()
        """Under way; the thread of the first calls the function."""
        self._changed = threading.Condition()
        self._sizes: Counter[int] = Counter()

    @property
    def sizes(self) -> Mapping[int, int]:
        """How many calls there were of each number of items."""
        with self._changed:
            return dict(self._sizes)

    def __call__(self, items: Sequence[Item]) -> Sequence[Result]:
        """The result of each item; raises what the function raises on these items."""
        request = _Request[Item, Result](items)
        try:
            if batch := self._wait(request):
                self._carry_out(batch)
        finally:
            self._leave(request)
        return request.outcome.result()

    def _wait(self, request: _Request[Item, Result]) -> tuple[_Request[Item, Result], ...]:
        """The batch that the request's own thread is to carry out; empty: another thread has done so."""
        with self._changed:
            self._waiting.append(request)
            self._changed.wait_for(lambda: request.outcome.done() or (not self._batch and self._waiting[0] is request))
            if request.outcome.done():
                return ()
            items = accumulate(len(waiting.items) for waiting in self._waiting)
            fitting = sum(1 for _ in takewhile(lambda count: count <= self._limit, items))
            self._batch = tuple(self._waiting.popleft() for _ in range(max(1, fitting)))
            return self._batch

    def _leave(self, request: _Request[Item, Result]) -> None:
        """Withdraw a request that was not answered, and let the next thread go on if it was this one's turn."""
        with self._changed:
            if self._batch and self._batch[0] is request:
                self._waiting.extendleft(one for one in self._batch[:0:-1] if not one.outcome.done())
                self._batch = ()
            elif request in self._waiting:
                self._waiting.remove(request)
            self._changed.notify_all()

    def _carry_out(self, batch: Sequence[_Request[Item, Result]]) -> None:
        items = [item for request in batch for item in request.items]
        with self._changed:
            self._sizes[len(items)] += 1
        try:
            results = self._function(items)
        except Exception as error:  # noqa: BLE001 - not swallowed: raised in the thread of its request
            if len(batch) == 1:
                batch[0].outcome.set_exception(error)
            else:
                for request in batch:
                    self._carry_out([request])
            return
        ends = accumulate(len(request.items) for request in batch)
        for request, end in zip(batch, ends, strict=True):
            request.outcome.set_result(results[end - len(request.items) : end])
