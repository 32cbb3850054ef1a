"""One interface for searching the web by words or by a picture, and a provider of each.

Addresses in what is found are shown and never opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from geo.point import Point
from tools.online.json_service import JsonService
from tools.online.results import SearchHit
from tools.results import ToolError

KEPT_HITS = 20
_MAX_TEXT, _MAX_URL = 1000, 500

Query = TypeVar("Query", contravariant=True)


class SearchService(Protocol[Query]):
    """A provider of searches: by words (`str`) or by a picture (`bytes` of a JPEG)."""

    provider: str
    """Name of the provider, for the result."""

    def search(self, query: Query) -> Sequence[SearchHit]:
        """What was found, the best first; a service that cannot be reached or finds nothing raises `ToolError`."""
        ...


class SearxNG:
    """Searches by words through a SearXNG instance that allows `format=json`.

    The protocol is at https://docs.searxng.org/dev/search_api.html: `GET /search`, hits in `results`, engines that
    did not answer in `unresponsive_engines`. An instance that does not allow JSON answers 403.
    """

    provider = "SearXNG"

    def __init__(self, service: JsonService) -> None:
        self._service = service

    def search(self, query: str) -> Sequence[SearchHit]:
        """See `SearchService`."""
        answer = self._service.get({"q": query, "format": "json"})
        hits = _hits(answer, "content")
        if not hits and answer.get("unresponsive_engines"):
            raise ToolError("the search engines behind SearXNG do not answer now; go on without")
        if not hits:
            raise ToolError("nothing was found; try fewer or other words")
        return hits


class ImageSearchHook:
    """Searches by a picture through the user's own HTTP service.

    It is sent `POST` with a JPEG as the body (`Content-Type: image/jpeg`), and answers
    `{"results": [{"title": …, "url": …, "text": …, "lat": …, "lon": …}]}`; `text`, `lat` and `lon` may be missing.
    """

    provider = "the user's image search"

    def __init__(self, service: JsonService) -> None:
        self._service = service

    def search(self, query: bytes) -> Sequence[SearchHit]:
        """See `SearchService`."""
        hits = _hits(self._service.post(query, "image/jpeg"), "text")
        if not hits:
            raise ToolError("no page with a picture like it was found; try a part of the photo")
        return hits


def _hits(answer: dict[str, Any], text_key: str) -> list[SearchHit]:
    """The first rows of an answer that have a title and an address."""
    rows = answer.get("results")
    if not isinstance(rows, list):
        raise ToolError("the search sent JSON of another form than it should")
    hits = [_hit(row, text_key) for row in rows[:KEPT_HITS] if isinstance(row, dict)]
    return [hit for hit in hits if hit.title and hit.url]


def _hit(row: dict[str, Any], text_key: str) -> SearchHit:
    return SearchHit(
        title=str(row.get("title") or "")[:_MAX_TEXT],
        url=str(row.get("url") or "")[:_MAX_URL],
        text=str(row.get(text_key) or "")[:_MAX_TEXT],
        point=_point(row),
    )


def _point(row: dict[str, Any]) -> Point | None:
    try:
        return Point(lat=row["lat"], lon=row["lon"])
    except (KeyError, ValueError):
        return None
