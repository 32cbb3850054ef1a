"""Running: many photos at once, a record as each finishes, stopping cleanly for money, errors and people."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from enum import StrEnum
from typing import NamedTuple, Protocol

from evals.runs.cost import MoneySpentError
from evals.runs.folder import RunFolder
from evals.runs.recording import EvalQuery
from evals.runs.records import EvalRecord, RecordStatus

NOTE_SPENDING_EVERY = 20


class Ended(StrEnum):
    """How a sitting ended."""

    COMPLETE = "complete"
    MONEY = "the money limit"
    ERRORS = "too many errors"
    INTERRUPTED = "interrupted"


class RunSession(NamedTuple):
    """What a sitting came to."""

    ended: Ended
    last_error: str | None = None


class Watcher(Protocol):
    """Told of every record."""

    def saw(self, record: EvalRecord) -> None:
        """A photo is done."""
        ...


class RunPlan(NamedTuple):
    """How photos are done.

    Attributes:
        locate: a query's record; whatever it raises becomes a record of status error.
        broken: the record of a query that raised.
        spent_usd: so far.
    """

    locate: Callable[[EvalQuery], EvalRecord]
    broken: Callable[[EvalQuery, BaseException], EvalRecord]
    spent_usd: Callable[[], float]


def run_queries(
    queries: Iterable[EvalQuery],
    work: RunPlan,
    folder: RunFolder,
    watcher: Watcher,
    *,
    concurrency: int,
    max_errors: int,
) -> RunSession:
    """Do what is not done yet.

    Args:
        queries: of the whole run; those with a record are skipped.
        work: how each is done.
        folder: where records go.
        watcher: told of each.
        concurrency: queries under way at once.
        max_errors: more records of status error than this end the sitting.

    Raises:
        RecordError: a record cannot be written.
    """
    open_queries = (query for query in queries if query.key not in folder.scores)
    errors = sum(score.status is RecordStatus.ERROR for score in folder.scores.values())
    with ThreadPoolExecutor(concurrency, thread_name_prefix="photo") as pool:
        sitting = _Sitting(work, folder, watcher, max_errors, errors)
        try:
            for query in open_queries:
                while sitting.under_way >= concurrency:
                    sitting.take()
                if sitting.ended:
                    break
                sitting.start(pool, query)
        except KeyboardInterrupt:
            sitting.ended = Ended.INTERRUPTED
        sitting.finish()
    return RunSession(sitting.ended or Ended.COMPLETE, sitting.last_error)


class _Sitting:
    """The state of a sitting, kept by the main thread alone."""

    def __init__(self, work: RunPlan, folder: RunFolder, watcher: Watcher, max_errors: int, errors: int) -> None:
        self._work, self._folder, self._watcher = work, folder, watcher
        self._max_errors, self._errors, self._done = max_errors, errors, 0
        self._query_of: dict[Future[EvalRecord], EvalQuery] = {}
        self.ended: Ended | None = None
        self.last_error: str | None = None

    @property
    def under_way(self) -> int:
        """Queries that were begun and have no record."""
        return len(self._query_of)

    def start(self, pool: ThreadPoolExecutor, query: EvalQuery) -> None:
        """Begin a query."""
        self._query_of[pool.submit(self._work.locate, query)] = query

    def take(self) -> None:
        """Wait for at least one query, and record what is done."""
        done, _ = wait(self._query_of, return_when=FIRST_COMPLETED)
        for future in done:
            self._record(self._query_of.pop(future), future)

    def finish(self) -> None:
        """Let what is under way end; whoever interrupts a second time leaves at once, and loses only that."""
        try:
            while self._query_of:
                self.take()
        except KeyboardInterrupt:
            self._folder.note_spending(self._work.spent_usd())
            os._exit(130)
        self._folder.note_spending(self._work.spent_usd())

    def _record(self, query: EvalQuery, future: Future[EvalRecord]) -> None:
        error = future.exception()
        if isinstance(error, MoneySpentError):
            self.ended = self.ended or Ended.MONEY
            return
        if error is not None and not isinstance(error, Exception):
            raise error
        record = future.result() if error is None else self._work.broken(query, error)
        self._folder.append(record)
        self._watcher.saw(record)
        self._done += 1
        if self._done % NOTE_SPENDING_EVERY == 0:
            self._folder.note_spending(self._work.spent_usd())
        if record.status is RecordStatus.ERROR:
            self._errors, self.last_error = self._errors + 1, f"{record.photo}: {record.error}"
            if self._errors > self._max_errors:
                self.ended = self.ended or Ended.ERRORS


def photo_by_photo(strategies: Iterable[str], make: Callable[[str], list[EvalQuery]]) -> Iterator[EvalQuery]:
    """Queries with all strategies of a photo one after the other, so that it is decoded and embedded once."""
    for row in zip(*(make(strategy) for strategy in strategies), strict=True):
        yield from row
