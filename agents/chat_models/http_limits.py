"""Limits on the answers of a model's server: bytes, after decompression, and seconds, from the first to the last byte.

They are hooks of an HTTP client of httpx or of httpx2, its fork, whichever a provider's library takes.
"""

from __future__ import annotations

import importlib
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from types import MappingProxyType
from typing import Any

MAX_ANSWER_BYTES = 16_000_000
"""Limit of one answer: 32,000 tokens in a stream of JSON events are some 8 MB."""

_DECODERS: MappingProxyType[str, Callable[[], zlib._Decompress]] = MappingProxyType(
    {"gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), "deflate": zlib.decompressobj}
)
ACCEPTED_ENCODINGS = {"Accept-Encoding": ", ".join(_DECODERS)}


def limited(seconds: float) -> dict[str, Any]:
    """Arguments of a client of either library, by which the answers that it reads are limited."""
    return {"headers": ACCEPTED_ENCODINGS, "event_hooks": limited_hooks(seconds)}


def limited_hooks(seconds: float) -> dict[str, list[Callable[..., Any]]]:
    """Event hooks of a client that put the limits on each answer's body."""

    def limit(response: Any) -> None:
        library = importlib.import_module(type(response).__module__.partition(".")[0])
        if isinstance(response.stream, library.SyncByteStream):
            encoding = response.headers.pop("content-encoding", "").strip().casefold().replace("identity", "")
            if encoding and encoding not in _DECODERS:
                raise library.DecodingError(f"the answer is compressed as {encoding[:20]!r}", request=response.request)
            until = time.monotonic() + seconds
            response.stream = _limited_stream(library)(response.stream, encoding, until, response.request)

    return {"response": [limit]}


@cache
def _limited_stream(library: Any) -> type[_LimitedBody]:
    """The body as a stream of a library, which accepts no other."""
    return type("_LimitedStream", (_LimitedBody, library.SyncByteStream), {"library": library})


class _LimitedBody:
    """A body, decompressed, that raises once it takes too long or grows too large.

    Attributes:
        library: whose errors it raises.
    """

    library: Any

    def __init__(self, body: Any, encoding: str, deadline: float, request: Any) -> None:
        self._body, self._deadline, self._request = body, deadline, request
        self._decoder = _DECODERS[encoding]() if encoding else None

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._body:
            plain = self._decompressed(piece, MAX_ANSWER_BYTES + 1 - size)
            size += len(plain)
            if size > MAX_ANSWER_BYTES:
                problem = f"the answer is larger than {MAX_ANSWER_BYTES:,} bytes"
                raise self.library.ReadError(problem, request=self._request)
            if time.monotonic() > self._deadline:
                raise self.library.ReadTimeout("the answer takes too long", request=self._request)
            yield plain
        if self._decoder and not self._decoder.eof:
            raise self.library.ReadError("the compressed answer is cut off", request=self._request)

    def _decompressed(self, piece: bytes, limit: int) -> bytes:
        """At most `limit` bytes of a piece, whatever it would grow to."""
        if self._decoder is None:
            return piece
        try:
            return self._decoder.decompress(piece, limit)
        except zlib.error as error:
            raise self.library.DecodingError("the compressed answer is damaged", request=self._request) from error

    def close(self) -> None:
        """Close the body behind it."""
        self._body.close()
