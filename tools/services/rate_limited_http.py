"""HTTP for tools: few requests at a time, with a user agent, no redirects and limits on size and time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import NamedTuple

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from core.redaction import log_hosts_only
from tools.results import ToolError

log_hosts_only("httpx")  # it logs the address of every request, which may hold the user's key

MAX_SECONDS = 30.0
"""One request may take so long in all, however steadily its answer drips."""
MAX_PAUSE_S = 5.0
"""Between two attempts; if a service asks for more, the request fails. By hand: somebody waits for the answer."""

_HINTS = {
    401: ": the user must check the key",
    403: ": the user must check what this service allows",
    429: ": it is asked too often now; go on without it",
    502: ": it is down",
    503: ": it is down or too busy",
    504: ": it is too busy, or was asked for too much",
}
_PASSING = (429, 500, 502, 503, 504)
"""Statuses that another attempt may not meet again."""
_EMPTY = (httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND, httpx.codes.GONE)
_backoff = wait_exponential_jitter(initial=0.25, max=2.0, jitter=0.25)


class ServiceDownError(ToolError):
    """A service that cannot be reached, is too busy, or broke off its answer: it may do better another time."""

    def __init__(self, problem: str, retry_after_s: float = 0.0) -> None:
        super().__init__(problem)
        self.retry_after_s = retry_after_s


class ServiceReply(NamedTuple):
    """What a service answered: 200 with a body of the right kind, 304, or 204, 404 or 410 where there is nothing."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_empty(self) -> bool:
        """Whether the service says that there is nothing."""
        return self.status in _EMPTY


class RateLimitedFetcher:
    """Gets small bodies of one kind from one service, at most one request every `min_interval_s`.

    What a service sends is untrusted: redirects are refused, so are compressed bodies (which could be bombs),
    other kinds and larger bodies.

    Args:
        concurrent: requests under way at once.
        attempts: in all, where the service is down, too busy (429) or breaks off; its `Retry-After` is kept to.
    """

    def __init__(
        self,
        service: str,
        client: httpx.Client,
        kind: str,
        max_bytes: int,
        min_interval_s: float,
        max_seconds: float = MAX_SECONDS,
        *,
        concurrent: int = 1,
        attempts: int = 1,
    ) -> None:
        self._service = service
        self._client = client
        self._kind = kind
        self._max_bytes = max_bytes
        self._min_interval_s = min_interval_s
        self._max_seconds = max_seconds
        self._attempts = attempts
        self._next_at = 0.0
        self._lock = threading.Lock()
        self._under_way = threading.BoundedSemaphore(concurrent)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes | None:
        """The body; None where the service says there is none (404).

        Raises:
            ToolError: the service cannot be reached, or sent something else.
        """
        return _body_of(self.reply_to(url, headers))

    def post(self, url: str, body: bytes, kind: str) -> bytes | None:
        """The body that a service answers with when it is sent one of a media type; else as `get`."""
        return _body_of(self._attempted("POST", url, {"Content-Type": kind}, body))

    def reply_to(self, url: str, headers: Mapping[str, str] | None = None) -> ServiceReply:
        """The whole reply, for a caller with conditional headers; else as `get`."""
        return self._attempted("GET", url, headers or {}, None)

    def _attempted(self, method: str, url: str, headers: Mapping[str, str], sent: bytes | None) -> ServiceReply:
        retrying = Retrying(
            retry=retry_if_exception_type(ServiceDownError),
            wait=_pause_s,
            stop=lambda state: stop_after_attempt(self._attempts)(state) or _pause_s(state) > MAX_PAUSE_S,
            reraise=True,
        )
        return retrying(self._in_turn, method, url, headers, sent)

    def _in_turn(self, method: str, url: str, headers: Mapping[str, str], sent: bytes | None) -> ServiceReply:
        with self._under_way:
            self._wait_for_turn()
            try:
                return self._reply(method, url, headers, sent)
            except httpx.TimeoutException as error:
                raise ServiceDownError(f"{self._service} did not answer in time ({type(error).__name__})") from error
            except httpx.RemoteProtocolError as error:
                raise ServiceDownError(f"{self._service} broke off its answer") from error
            except httpx.HTTPError as error:
                raise ServiceDownError(f"{self._service} cannot be reached ({type(error).__name__})") from error

    def _wait_for_turn(self) -> None:
        with self._lock:
            turn = max(time.monotonic(), self._next_at)
            self._next_at = turn + self._min_interval_s
        time.sleep(max(0.0, turn - time.monotonic()))

    def _reply(self, method: str, url: str, headers: Mapping[str, str], sent: bytes | None) -> ServiceReply:
        always = {"User-Agent": f"GeoSleuth/{version('geosleuth')}", "Accept-Encoding": "identity"}
        request = {"headers": {**always, **headers}, "content": sent, "follow_redirects": False}
        started = time.monotonic()
        with self._client.stream(method, url, **request) as response:  # type: ignore[arg-type]  # a dict of several types
            if response.status_code in (*_EMPTY, httpx.codes.NOT_MODIFIED):
                return ServiceReply(response.status_code, response.headers, b"")
            self._check(response)
            data = bytearray()
            for chunk in response.iter_raw():
                data += chunk
                self._check_limits(len(data), started)
        return ServiceReply(response.status_code, response.headers, bytes(data))

    def _check_limits(self, size_bytes: int, started: float) -> None:
        if size_bytes > self._max_bytes:
            raise ToolError(f"{self._service} sent more than {self._max_bytes / 1e6:g} MB")
        if time.monotonic() - started > self._max_seconds:
            raise ToolError(f"{self._service} did not finish its answer within {self._max_seconds:g} s")

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status != httpx.codes.OK:
            hint = ", a redirect, which is refused" if response.is_redirect else _HINTS.get(status, "")
            problem = f"{self._service} answered {status}{hint}"
            raise ServiceDownError(problem, _asked_pause_s(response)) if status in _PASSING else ToolError(problem)
        sent = response.headers.get("content-type", "none")
        if not sent.startswith(self._kind):
            raise ToolError(f"{self._service} sent {sent[:40]!r} instead of {self._kind}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ToolError(f"{self._service} sent a compressed body, which is refused")


def _body_of(reply: ServiceReply) -> bytes | None:
    return None if reply.is_empty else reply.body


def _pause_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, ServiceDownError) else 0.0
    return max(asked_s, float(_backoff(state)))


def _asked_pause_s(response: httpx.Response) -> float:
    """Seconds of the `Retry-After` header; a date in it counts as none."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0.0
