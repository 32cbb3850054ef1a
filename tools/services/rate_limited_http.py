"""HTTP for tools: one request at a time, with a user agent, no redirects and a limit on size."""

from __future__ import annotations

import threading
import time
from importlib.metadata import version

import httpx

from tools.results import ToolError


class RateLimitedFetcher:
    """Gets small bodies of one kind from one service, at most one request every `min_interval_s`.

    What a service sends is untrusted: redirects are refused, so are compressed bodies (which could be bombs),
    other kinds and larger bodies.
    """

    def __init__(self, service: str, client: httpx.Client, kind: str, max_bytes: int, min_interval_s: float) -> None:
        self._service = service
        self._client = client
        self._kind = kind
        self._max_bytes = max_bytes
        self._min_interval_s = min_interval_s
        self._requested_at = -min_interval_s
        self._lock = threading.Lock()

    def get(self, url: str) -> bytes | None:
        """The body; None where the service says there is none (404).

        Raises:
            ToolError: the service cannot be reached, or sent something else.
        """
        with self._lock:
            time.sleep(max(0.0, self._requested_at + self._min_interval_s - time.monotonic()))
            self._requested_at = time.monotonic()
            try:
                return self._body(url)
            except httpx.HTTPError as error:
                raise ToolError(f"{self._service} cannot be reached ({type(error).__name__})") from error

    def _body(self, url: str) -> bytes | None:
        headers = {"User-Agent": f"GeoSleuth/{version('geosleuth')}", "Accept-Encoding": "identity"}
        with self._client.stream("GET", url, headers=headers, follow_redirects=False) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            self._check(response)
            data = bytearray()
            for chunk in response.iter_raw():
                data += chunk
                if len(data) > self._max_bytes:
                    raise ToolError(f"{self._service} sent more than {self._max_bytes / 1e6:g} MB")
        return bytes(data)

    def _check(self, response: httpx.Response) -> None:
        if response.status_code != httpx.codes.OK:
            raise ToolError(f"{self._service} answered {response.status_code}")
        sent = response.headers.get("content-type", "none")
        if not sent.startswith(self._kind):
            raise ToolError(f"{self._service} sent {sent[:40]!r} instead of {self._kind}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ToolError(f"{self._service} sent a compressed body, which is refused")
