"""HTTP for tools: one request at a time, with a user agent, no redirects and limits on size and time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from importlib.metadata import version

import httpx

from tools.results import ToolError

MAX_SECONDS = 30.0
"""One request may take so long in all, however steadily its answer drips."""

_HINTS = {
    401: ": the user must check the key",
    403: ": the user must check what this service allows",
    429: ": it is asked too often now; go on without it",
    502: ": it is down",
    503: ": it is down or too busy",
    504: ": it is too busy, or was asked for too much",
}


class RateLimitedFetcher:
    """Gets small bodies of one kind from one service, at most one request every `min_interval_s`.

    What a service sends is untrusted: redirects are refused, so are compressed bodies (which could be bombs),
    other kinds and larger bodies.
    """

    def __init__(
        self,
        service: str,
        client: httpx.Client,
        kind: str,
        max_bytes: int,
        min_interval_s: float,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self._service = service
        self._client = client
        self._kind = kind
        self._max_bytes = max_bytes
        self._min_interval_s = min_interval_s
        self._max_seconds = max_seconds
        self._requested_at = -min_interval_s
        self._lock = threading.Lock()

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes | None:
        """The body; None where the service says there is none (404).

        Raises:
            ToolError: the service cannot be reached, or sent something else.
        """
        return self._in_turn("GET", url, headers or {}, None)

    def post(self, url: str, body: bytes, kind: str) -> bytes | None:
        """The body that a service answers with when it is sent one of a media type; else as `get`."""
        return self._in_turn("POST", url, {"Content-Type": kind}, body)

    def _in_turn(self, method: str, url: str, headers: Mapping[str, str], sent: bytes | None) -> bytes | None:
        with self._lock:
            time.sleep(max(0.0, self._requested_at + self._min_interval_s - time.monotonic()))
            self._requested_at = time.monotonic()
            try:
                return self._body(method, url, headers, sent)
            except httpx.HTTPError as error:
                raise ToolError(f"{self._service} cannot be reached ({type(error).__name__})") from error

    def _body(self, method: str, url: str, headers: Mapping[str, str], sent: bytes | None) -> bytes | None:
        always = {"User-Agent": f"GeoSleuth/{version('geosleuth')}", "Accept-Encoding": "identity"}
        request = {"headers": {**always, **headers}, "content": sent, "follow_redirects": False}
        with self._client.stream(method, url, **request) as response:  # type: ignore[arg-type]  # a dict of several types
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            self._check(response)
            data = bytearray()
            for chunk in response.iter_raw():
                data += chunk
                self._check_limits(len(data))
        return bytes(data)

    def _check_limits(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise ToolError(f"{self._service} sent more than {self._max_bytes / 1e6:g} MB")
        if time.monotonic() - self._requested_at > self._max_seconds:
            raise ToolError(f"{self._service} did not finish its answer within {self._max_seconds:g} s")

    def _check(self, response: httpx.Response) -> None:
        if response.status_code != httpx.codes.OK:
            raise ToolError(f"{self._service} answered {response.status_code}{_HINTS.get(response.status_code, '')}")
        sent = response.headers.get("content-type", "none")
        if not sent.startswith(self._kind):
            raise ToolError(f"{self._service} sent {sent[:40]!r} instead of {self._kind}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ToolError(f"{self._service} sent a compressed body, which is refused")
