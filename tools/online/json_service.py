"""A service that answers in JSON at the one address that the user configured."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import httpx

from core.json_text import parse_json
from tools.results import ToolError
from tools.services.rate_limited_http import MAX_SECONDS, RateLimitedFetcher

CACHED_ANSWERS = 100
_MAX_BYTES = 4_000_000


class JsonService:
    """Asks one address for JSON, at most once every `min_interval_s`; the same question once only.

    Args:
        name: of the service, for messages.
        url: the address, as `tools.online.addresses.checked_url` gives it.
        client: with a time limit; closed by its owner.
        headers: sent with every question.
    """

    def __init__(
        self,
        name: str,
        url: str,
        client: httpx.Client,
        min_interval_s: float = 1.0,
        headers: Mapping[str, str] | None = None,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self._name = name
        self._url = url
        self._headers = dict(headers or {})
        self._fetcher = RateLimitedFetcher(name, client, "application/json", _MAX_BYTES, min_interval_s, max_seconds)
        self._answer = lru_cache(CACHED_ANSWERS)(self._fetch)

    def get(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object that the service answers a query with.

        Raises:
            ToolError: the service cannot be reached, refuses, or sends something else.
        """
        return self._answer(f"{self._url}?{urlencode(query)}")

    def post(self, body: bytes, kind: str) -> dict[str, Any]:
        """The JSON object that the service answers with when it is sent a body of a media type; else as `get`."""
        return self._parsed(self._fetcher.post(self._url, body, kind))

    def _fetch(self, url: str) -> dict[str, Any]:
        return self._parsed(self._fetcher.get(url, self._headers))

    def _parsed(self, body: bytes | None) -> dict[str, Any]:
        if body is None:
            raise ToolError(f"{self._name} answered 404: the user must check its address")
        try:
            found = parse_json(body)
        except ValueError as error:
            raise ToolError(f"{self._name} sent something that is not JSON") from error
        if not isinstance(found, dict):
            raise ToolError(f"{self._name} sent JSON of another form than it should")
        return found
