"""Running queries: many photos at once, a record as each finishes, stopping cleanly for money, errors and people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from enum import StrEnum
from typing import NamedTuple

from evals.runs.cost import MoneySpentError
from evals.runs.folder import RunFolder
from evals.runs.recording import EvalQuery
from evals.runs.records import EvalRecord, RecordStatus

NOTE_SPENDING_EVERY = 20
UNREACHABLE_IN_A_ROW = 5
"""Set by hand: answers in a row, retries included, for which no model could be reached."""


class Ended(StrEnum):
    """How a session ended."""

    COMPLETE = "complete"
    MONEY = "the money limit"
    ERRORS = "too many errors"
    MODEL = "the model cannot be reached"
    INTERRUPTED = "interrupted"


class RunSession(NamedTuple):
    """What one session of a run came to: a run that stops is resumed in another session.

    Attributes:
        last_error: of a photo on which the system raised one, or for which no model could be reached.
        has_abandoned_queries: whether it was interrupted twice: threads still work on queries whose records are lost.
    """

    ended: Ended
    last_error: str | None = None
    has_abandoned_queries: bool = False


class RunPlan(NamedTuple):
    """How queries are answered.

    Attributes:
        locate: a query's record; whatever it raises becomes a record of status error.
    """

    locate: Callable[[EvalQuery], EvalRecord]
    error_record: Callable[[EvalQuery, BaseException], EvalRecord]
    spent_usd: Callable[[], float]


def run_queries(
    queries: Iterable[EvalQuery],
    plan: RunPlan,
    folder: RunFolder,
    on_record: Callable[[EvalRecord], None],
    *,
    concurrency: int,
    max_errors: int,
) -> RunSession:
    """Answer the queries that have no record yet.

    A first interrupt lets the queries under way end; a second one abandons them. More than `max_errors` records of
    status error end the session, and so do a few in a row for which no model could be reached.

    Raises:
        RecordError: a record cannot be written.
    """
    session = _Session(plan, folder, on_record, max_errors)
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="photo")
    try:
        try:
            session.work_off((query for query in queries if query.key not in folder.scores), pool, concurrency)
        except KeyboardInterrupt:
            session.ended = Ended.INTERRUPTED
        session.finish()
    except KeyboardInterrupt:
        session.has_abandoned_queries = True
    finally:
        pool.shutdown(wait=not session.has_abandoned_queries, cancel_futures=session.has_abandoned_queries)
    folder.note_spending(plan.spent_usd())
    return RunSession(session.ended or Ended.COMPLETE, session.last_error, session.has_abandoned_queries)


class _Session:
    """The state of a session, changed by the main thread alone."""

    def __init__(
        self, plan: RunPlan, folder: RunFolder, on_record: Callable[[EvalRecord], None], max_errors: int
    ) -> None:
        self._plan, self._folder, self._on_record, self._max_errors = plan, folder, on_record, max_errors
        self._errors = sum(score.status is RecordStatus.ERROR for score in folder.scores.values())
        self._done = self._unreachable = 0
        self._query_of: dict[Future[EvalRecord], EvalQuery] = {}
        self.ended: Ended | None = None
        self.last_error: str | None = None
        self.has_abandoned_queries = False

    def work_off(self, queries: Iterable[EvalQuery], pool: ThreadPoolExecutor, concurrency: int) -> None:
        """Start queries, `concurrency` at once, until all are started or the session has to end."""
        for query in queries:
            while len(self._query_of) >= concurrency:
                self._wait()
            if self.ended:
                break
            self._query_of[pool.submit(self._plan.locate, query)] = query

    def finish(self) -> None:
        """Wait for everything under way."""
        while self._query_of:
            self._wait()

    def _wait(self) -> None:
        """Wait for at least one query, and record what is done."""
        done, _ = wait(self._query_of, return_when=FIRST_COMPLETED)
        for future in done:
            self._record(self._query_of.pop(future), future)

    def _record(self, query: EvalQuery, future: Future[EvalRecord]) -> None:
        error = future.exception()
        if isinstance(error, MoneySpentError):
            self.ended = self.ended or Ended.MONEY
            return
        if error is not None and not isinstance(error, Exception):
            raise error
        record = future.result() if error is None else self._plan.error_record(query, error)
        self._folder.append(record)
        self._on_record(record)
        self._done += 1
        if self._done % NOTE_SPENDING_EVERY == 0:
            self._folder.note_spending(self._plan.spent_usd())
        self._watch_model(record)
        if record.status is RecordStatus.ERROR:
            self._errors, self.last_error = self._errors + 1, f"{record.photo}: {record.error}"
            if self._errors > self._max_errors:
                self.ended = self.ended or Ended.ERRORS

    def _watch_model(self, record: EvalRecord) -> None:
        """End the session where the model is dead; strategies that ask none say nothing of it."""
        if record.model_status is None:
            return
        self._unreachable = self._unreachable + 1 if record.is_model_unreachable else 0
        if self._unreachable >= UNREACHABLE_IN_A_ROW:
            self.ended, self.last_error = self.ended or Ended.MODEL, record.error
