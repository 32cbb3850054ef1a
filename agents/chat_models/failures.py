"""One exception for every failed request to a model, whatever its provider's library raises."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import httpx
from langchain_core.exceptions import ModelError, ModelTimeoutError

from core.redaction import redacted
from tools.untrusted_text import untrusted

UNREACHABLE_STATUS = frozenset({401, 403, 404})
RETRYABLE_STATUS = frozenset({408, 409, 425, 429, *range(500, 600)})
MAX_SAID_CHARACTERS = 4_000


class ModelFailure(Exception):
    """A request brought no reply; `str()` says why in one line, without keys.

    Attributes:
        is_retryable: whether the same request may succeed later.
        retry_after_s: how long the server asks to wait; None: no wish.
        is_unreachable: whether any other request would fail alike: no connection, no permission, no such model.
        status: of HTTP; None: the server did not answer.
        said: the server's error, of at most `MAX_SAID_CHARACTERS`; only to be searched for words.
    """

    def __init__(
        self,
        problem: str,
        *,
        is_retryable: bool,
        retry_after_s: float | None = None,
        is_unreachable: bool = False,
        status: int | None = None,
        said: str = "",
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.said = said[:MAX_SAID_CHARACTERS]
        self.is_retryable = is_retryable
        self.retry_after_s = retry_after_s
        self.is_unreachable = is_unreachable


def as_failure(error: BaseException) -> ModelFailure:
    """The failure for an exception of a provider's library."""
    status = _status(error)
    if isinstance(error, (ModelTimeoutError, httpx.TimeoutException)) or "Timeout" in type(error).__name__:
        return ModelFailure("the model took too long", is_retryable=True)
    if isinstance(error, ModelError):
        is_retryable = error.is_retryable
    else:
        is_retryable = status in RETRYABLE_STATUS if status else _is_connection_trouble(error)
    is_unreachable = status in UNREACHABLE_STATUS if status else _is_connection_trouble(error)
    return ModelFailure(
        _problem(error, status),
        is_retryable=is_retryable,
        retry_after_s=retry_after_s(error),
        is_unreachable=is_unreachable,
        status=status,
        said=str(error),
    )


def malformed(error: BaseException) -> ModelFailure:
    """The failure for a reply that breaks the protocol; another attempt may bring a whole one."""
    return ModelFailure(f"the server's reply is malformed ({_line(error)})", is_retryable=True)


def _status(error: BaseException) -> int | None:
    """HTTP status of an error; libraries keep it in different places."""
    for holder in (error, error.__cause__, getattr(error, "response", None)):
        for name in ("status_code", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 100 <= value < 600:
                return value
    return None


def _is_connection_trouble(error: BaseException) -> bool:
    return isinstance(error, (httpx.TransportError, ConnectionError)) or type(error).__name__ in (
        "APIConnectionError",
        "RemoteProtocolError",
        "ReadError",
        "APIError",  # OpenAI's for an error event amid a stream: the server broke off
    )


def _problem(error: BaseException, status: int | None) -> str:
    kind = {401: "the key is not accepted", 403: "not permitted", 404: "no such model or address", 429: "rate-limited"}
    said = kind.get(status or 0) or (f"the server answers {status}" if status else "no reply")
    return f"{said} ({_line(error if status else _first_cause(error))})"


def _first_cause(error: BaseException) -> BaseException:
    """What an error comes from: OpenAI's library says "Connection error." and keeps what it was as the cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    """An error in one line of at most 200 characters, without anything that looks like a key."""
    return untrusted(redacted(str(error).strip() or type(error).__name__))


def retry_after_s(error: BaseException) -> float | None:
    """Seconds that a server asks to wait: `Retry-After` as seconds or date, or Google's `retryDelay`."""
    # Ollama's library raises an error of its own; the one with the headers is its context.
    for holder in (error, error.__cause__, error.__context__):
        headers = getattr(getattr(holder, "response", None), "headers", None)
        if headers is not None:
            asked = _header_s(headers)
            if asked is not None:
                return asked
        delay = re.search(r"['\"]retryDelay['\"]:\s*['\"](\d+(?:\.\d+)?)s", str(getattr(holder, "details", "")))
        if delay:
            return float(delay[1])
    return None


def _header_s(headers: Mapping[str, Any]) -> float | None:
    milliseconds, text = headers.get("retry-after-ms"), str(headers.get("retry-after") or "").strip()
    if milliseconds and re.fullmatch(r"\d+(\.\d+)?", str(milliseconds)):
        return float(milliseconds) / 1000.0
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parsed = email.utils.parsedate_tz(text) if text else None
    return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed else None
