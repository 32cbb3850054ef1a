"""Attempts at a request: a time limit for each, growing pauses between them, and the server's `Retry-After`."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from agents.chat_models.failures import ModelFailure
from agents.chat_models.spec import ModelOptions
from core.deadline import DeadlineExceededError, run_within

V = TypeVar("V")

MAX_PAUSE_S = 60.0
"""Between two attempts; if a server asks for more, the request fails."""

NOTICEABLE_S = 10.0
"""A wait that long is logged, and again after each doubling."""
WAITING = logging.getLogger("geosleuth.waiting")


@contextmanager
def _logged_while_waiting(model: str, is_limited: bool) -> Iterator[None]:
    """Log, while the body runs, that it is waiting for a model's reply; a wait without limit is for a person."""
    if not is_limited:
        yield
        return
    is_over = threading.Event()

    def log() -> None:
        waited_s = NOTICEABLE_S
        while not is_over.wait(waited_s / 2.0 if waited_s > NOTICEABLE_S else waited_s):
            WAITING.info("waiting for a reply of %s (%.0f s)", model, waited_s)
            waited_s *= 2.0

    threading.Thread(target=log, daemon=True, name="log-waiting").start()
    try:
        yield
    finally:
        is_over.set()


class Attempts:
    """Callable that makes a request, with as many attempts as the options and a deadline allow.

    A wait that a person would notice is a line of the log `WAITING`.

    Args:
        options: time of an attempt, number of attempts, first pause.
        deadline: on the monotonic clock, for everything; None: none beyond that of the attempts.
        model: its name, for the log.
    """

    def __init__(self, options: ModelOptions, deadline: float | None, model: str = "the model") -> None:
        self._options = options
        self._model = model
        self._deadline = deadline
        self.made = 0

    def __call__(self, call: Callable[[], V]) -> V:
        """Make the call, again after each failure that is retryable; returns its value.

        Raises:
            ModelFailure: the last one, when no further attempt may be made.
        """
        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, ModelFailure) and error.is_retryable),
            wait=self._pause_s,
            stop=self._is_enough,
            before_sleep=self._log_pause,
            reraise=True,
        )
        value: V = retrying(self._once, call)
        return value

    def _once(self, call: Callable[[], V]) -> V:
        self.made += 1
        seconds = min(self._options.timeout_s, self._left_s())
        if seconds <= 0.0:
            raise ModelFailure("no time is left to ask the model", is_retryable=False)
        try:
            with _logged_while_waiting(self._model, is_limited=math.isfinite(seconds)):
                return run_within(seconds, call, "model-request")
        except DeadlineExceededError as error:
            raise ModelFailure(f"no reply within {seconds:.1f} s", is_retryable=True) from error

    def _log_pause(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        WAITING.info("%s: %s; asked again in %.0f s", self._model, error, state.upcoming_sleep)

    def _left_s(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def _pause_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, ModelFailure) else None
        first = self._options.backoff_s
        return max(asked or 0.0, wait_exponential_jitter(initial=first, max=MAX_PAUSE_S, jitter=first)(state))

    def _is_enough(self, state: RetryCallState) -> bool:
        pause_s = state.upcoming_sleep
        is_too_long = pause_s >= self._left_s() or pause_s > MAX_PAUSE_S + self._options.backoff_s
        return is_too_long or stop_after_attempt(self._options.max_retries + 1)(state)
