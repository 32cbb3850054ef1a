"""An HTTP client that limits a whole answer in seconds and bytes, also if the server sends it byte by byte."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

MAX_ANSWER_BYTES = 16_000_000
"""Of one answer: 32,000 tokens in a stream of JSON events are some 8 MB."""


class AnswerTooLarge(httpx.TransportError):
    """An answer exceeds `MAX_ANSWER_BYTES`."""


class _Limited(httpx.SyncByteStream):
    """A body that raises once it takes too long or grows too large."""

    def __init__(self, body: httpx.SyncByteStream, deadline: float, request: httpx.Request) -> None:
        self._body, self._deadline, self._request = body, deadline, request

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._body:
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise AnswerTooLarge(f"the answer is larger than {MAX_ANSWER_BYTES:,} bytes", request=self._request)
            if time.monotonic() > self._deadline:
                raise httpx.ReadTimeout("the answer takes too long", request=self._request)
            yield piece

    def close(self) -> None:
        self._body.close()


def limited_hooks(seconds: float) -> dict[str, list[Callable[..., Any]]]:
    """Event hooks of an `httpx.Client` that put the limits on each answer's body."""

    def limit(response: httpx.Response) -> None:
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Limited(response.stream, time.monotonic() + seconds, response.request)

    return {"response": [limit]}


class LimitedClient(httpx.Client):
    """An HTTP client with limits on a whole answer; it follows no redirects.

    Args:
        seconds: for connecting, for each read, and for the whole body of an answer.
        trust_env: whether proxies of the environment are used.
    """

    def __init__(self, seconds: float, trust_env: bool) -> None:
        super().__init__(
            timeout=seconds, trust_env=trust_env, follow_redirects=False, event_hooks=limited_hooks(seconds)
        )
