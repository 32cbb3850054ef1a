"""Tiles over HTTP: a cache on disk with conditional requests, a few requests at a time, and further attempts.

Three layers, outermost first: `hishel` keeps what the server's headers allow (RFC 9111) and asks again with
`If-None-Match` or `If-Modified-Since`; `_Origin` turns a tile's number into the server's address, which may hold the
user's key, so that the cache never sees it; `RateLimitedFetcher` asks, and leaves the host alone in the log.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
from hishel import CacheOptions, SqliteStorage
from hishel.httpx import CacheTransport

from core.errors import UserError
from core.files import make_private_database, make_private_folder
from geo.tiles import Tile
from retrieval.crossview.tiles import MAX_TILE_BYTES, decode_tile
from retrieval.photos.photo import PhotoError
from tools.results import ToolError
from tools.services.imagery import Rgb
from tools.services.rate_limited_http import RateLimitedFetcher, ServiceReply
from tools.services.tile_server import TileServer

CACHE_FILE = "tiles.sqlite"
MAX_CACHE_BYTES = 500_000_000
"""By hand."""
KEPT_S = 7 * 24 * 3600
"""A tile whose server names no lifetime is asked for again after a week, the least that OpenStreetMap's policy asks."""
EMPTY_KEPT_S = 3600
"""That there is no tile is believed for an hour, where the server does not say how long. By hand."""
IN_USE_S = 2.0
"""A tile that was written or read so lately is not thrown out of a full cache. By hand."""
CONCURRENT = 4
ATTEMPTS = 3
MIN_INTERVAL_S = 0.05
TIMEOUT_S = 10.0
"""Limits on what one server is asked, all four by hand."""
_DAMAGED = (sqlite3.DatabaseError, ValueError, RuntimeError)
"""What damaged rows of the cache raise, found by fuzzing."""
_CONDITIONS = ("if-none-match", "if-modified-since")
_KEPT_HEADERS = ("age", "cache-control", "content-type", "date", "etag", "expires", "last-modified", "vary")


_said: set[str] = set()


def _one_line(record: logging.LogRecord) -> bool:
    """A cache that cannot be read or written is said once, without a traceback; the tile itself is there."""
    record.msg, record.args, record.exc_info = f"the cache of tiles: {record.getMessage()}", None, None
    is_new = record.msg not in _said
    _said.add(record.msg)
    return is_new


logging.getLogger("hishel._core._storages._sync_sqlite").addFilter(_one_line)


class UnusableTileError(ToolError, PhotoError):
    """A tile that is no usable picture: the model goes on without it, and so does the build of an atlas."""


class TileClient:
    """The tiles of one server; a `TileReader`. Safe between threads and processes.

    Args:
        server: the only hosts that are asked are its allowed ones.
        cache_folder: tiles of all servers lie in one file in it, under numbers in place of addresses.
        client: for requests; it decides on proxies and time limits, and is closed by its owner. None: one of its own.
        max_cache_bytes: of that file; what was not used for longest goes first.
        min_interval_s: between the starts of two requests.
        concurrent: requests under way at once.
        attempts: where the server is down, too busy or breaks off.

    Raises:
        UserError: the cache cannot be written.
    """

    def __init__(
        self,
        server: TileServer,
        cache_folder: Path,
        client: httpx.Client | None = None,
        *,
        max_cache_bytes: int = MAX_CACHE_BYTES,
        min_interval_s: float = MIN_INTERVAL_S,
        concurrent: int = CONCURRENT,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.server = server
        self._concurrent = concurrent
        asking, kind = client or httpx.Client(timeout=TIMEOUT_S), "image/"
        fetcher = RateLimitedFetcher(
            server.name, asking, kind, MAX_TILE_BYTES, min_interval_s, concurrent=concurrent, attempts=attempts
        )
        origin = _Origin(server, fetcher, owned=None if client else asking)
        self._cache = _private_file(cache_folder)
        storage = SqliteStorage(database_path=self._cache, max_size=max_cache_bytes, soft_delete_ttl=IN_USE_S)
        self._cached = httpx.Client(transport=CacheTransport(origin, storage, CacheOptions(shared=False)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the cache, and the connection unless it is its owner's."""
        self._cached.close()

    def picture(self, tile: Tile) -> Rgb | None:
        """A tile as uint8 (256, 256, 3); None where the server has none.

        Raises:
            ToolError: the cache is damaged; the server is down, too busy, or sent something that is no tile;
                `ServiceDownError` for those that may pass.
        """
        try:
            reply = self._cached.get(f"http://{self.server.fingerprint}.invalid/{tile.zoom}/{tile.x}/{tile.y}")
        except _DAMAGED as error:
            raise ToolError(
                f"the cache of tiles {self._cache} is damaged ({type(error).__name__}): delete it"
            ) from error
        return decode_tile(reply.content) if reply.content else None

    def pictures(self, tiles: Iterable[Tile]) -> Iterator[Rgb | None]:
        """See `TileReader`: several requests are under way, and no more tiles in memory than those.

        Raises:
            ToolError: see `picture`; what was asked for and has not begun is not asked any more.
        """
        pool = ThreadPoolExecutor(self._concurrent, thread_name_prefix="tile")
        ahead: deque[Future[Rgb | None]] = deque()
        try:
            for tile in tiles:
                ahead.append(pool.submit(self.picture, tile))
                if len(ahead) > self._concurrent:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _private_file(folder: Path) -> Path:
    """The file of the cache, its owner's only: it tells which places were looked at."""
    file = folder / CACHE_FILE
    try:
        make_private_folder(folder)
        make_private_database(file)
    except OSError as error:
        raise UserError(
            f"the cache of tiles {file} cannot be written ({error.strerror}): choose another home"
        ) from error
    return file


class _Origin(httpx.BaseTransport):
    """The server itself, under the numbers of its tiles; what is no picture never reaches the cache."""

    def __init__(self, server: TileServer, fetcher: RateLimitedFetcher, owned: httpx.Client | None) -> None:
        self._server, self._fetcher, self._owned = server, fetcher, owned

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of the cache, conditional or not."""
        zoom, x, y = map(int, request.url.path.split("/")[1:])
        reply = self._fetcher.reply_to(self._address(Tile(zoom, x, y)), _chosen(request.headers, _CONDITIONS))
        if reply.status == httpx.codes.OK:
            self._check(reply)
        headers = _chosen(reply.headers, _KEPT_HEADERS)
        if not {"cache-control", "expires"} & set(headers):
            headers["cache-control"] = f"max-age={EMPTY_KEPT_S if reply.is_empty else KEPT_S}"
        return httpx.Response(reply.status, headers=headers, content=reply.body)

    def close(self) -> None:
        """Close the connection, unless it is its owner's."""
        if self._owned:
            self._owned.close()

    def _address(self, tile: Tile) -> str:
        address = self._server.url(tile)
        if urlsplit(address).netloc not in self._server.allowed_hosts:
            raise ToolError(f"{self._server.name} may not be asked at another host than its own")
        return address

    def _check(self, reply: ServiceReply) -> None:
        try:
            decode_tile(reply.body)
        except PhotoError as error:
            raise UnusableTileError(f"{self._server.name} sent a tile that is no usable picture") from error


def _chosen(headers: httpx.Headers, names: Iterable[str]) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}
