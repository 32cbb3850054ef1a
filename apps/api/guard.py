"""What is decided before a body is read: whose key it is, whether too many come, and how much may follow."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.api.metrics import ServerMetrics
from apps.api.problems import problem, service_problem
from apps.service.access import ApiKeys, RateLimiter, host_name, is_own_address
from apps.service.errors import ServiceError, TooManyError
from apps.service.limits import ServiceLimits

_GUARDED = ("/v1/", "/mcp", "/metrics")
_CHUNK_S = 30.0
"""The longest that a body may pause."""
_DRAINED_BYTES = 64_000_000
_DRAINED_S = 5.0
_FORM_BYTES = 1_000_000
"""Parts of a form beside its photos."""


class RequestGuard:
    """ASGI middleware: keys, rates, sizes, and where a request comes from.

    Where there are no keys, whatever reaches the machine's own port is let in, so a page of another site must not: its
    requests carry its own Origin, or a Host that only looks like this machine.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys, limits: ServiceLimits, metrics: ServerMetrics) -> None:
        self._app, self._keys, self._limits, self._metrics = app, keys, limits, metrics
        self._rates = RateLimiter(limits.requests_per_minute)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is refused, pass on any other."""
        if scope["type"] in ("http", "websocket") and (foreign := self._foreign(scope)):
            await _refuse(foreign, scope, receive, send)
            return
        if scope["type"] != "http" or not scope["path"].startswith(_GUARDED):
            await self._app(scope, receive, send)
            return
        with self._metrics.request(scope) as seen:
            body = _CountedBody(receive, most_bytes(scope["path"], self._limits))
            refused = self._refusal(scope, body)
            if refused is not None:
                seen(refused.status_code)
                await body.drain()
                await refused(scope, receive, send)
                return
            self._under_way += 1
            try:
                await self._app(scope, body.receive, _Answer(scope, body, send, seen).send)
            finally:
                self._under_way -= 1

    def _refusal(self, scope: Scope, body: _CountedBody) -> Response | None:
        headers = Headers(scope=scope)
        owner = self._keys.owner(_key(headers))
        if owner is None:
            wanted = {"WWW-Authenticate": "Bearer"}
            return problem(401, "No valid API key", "send the header Authorization: Bearer KEY", wanted)
        scope.setdefault("state", {})["owner"] = owner
        try:
            self._rates.check(owner if self._keys.owners else str((scope.get("client") or ("",))[0]))
            if self._under_way >= self._limits.requests_at_once:
                raise TooManyError(f"{self._under_way} requests are under way; try again soon", 1.0)
        except ServiceError as error:
            return service_problem(error)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > body.most_bytes:
            return body.too_large()
        return None

    def _foreign(self, scope: Scope) -> str | None:
        return None if self._keys.owners else _foreign(Headers(scope=scope))


def most_bytes(path: str, limits: ServiceLimits) -> int:
    """Bytes that the body of a request to a path may have; over MCP photos come as base64, a third longer."""
    several = max(limits.photo_bytes, limits.place_bytes)
    if path.startswith("/mcp"):
        return several * 4 // 3 + _FORM_BYTES
    if path.startswith("/v1/jobs"):
        return limits.job_bytes + _FORM_BYTES
    return (several if path == "/v1/locate" or path.endswith("/messages") else limits.photo_bytes) + _FORM_BYTES


async def _refuse(foreign: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "not from here"})
    else:
        await problem(403, "Not from here", foreign)(scope, receive, send)


def _key(headers: Headers) -> str | None:
    kind, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else headers.get("x-api-key")


def _foreign(headers: Headers) -> str | None:
    """Why a request that needs no key is not from this machine's own programs and pages; None: it is."""
    if not is_own_address(host_name(headers.get("host", ""))):
        return "this server has no API keys, so it answers only to the names of the machine itself, such as 127.0.0.1"
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return "this server has no API keys, so it answers pages of its own address only"
    return None


class _CountedBody:
    """A request's body: no larger than allowed, and no slower."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.refused: Response | None = None
        self._receive, self._seen, self._is_whole = receive, 0, False

    async def receive(self) -> Message:
        """The next part; where it is too much or too late, as if the client had left, and `refused` says why."""
        if self._is_whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), _CHUNK_S)
        except TimeoutError:
            self.refused = problem(408, "Too slow", f"the body paused for {_CHUNK_S:g} s")
            return {"type": "http.disconnect"}
        self._seen += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._seen > self.most_bytes:
            self.refused = self.too_large()
            await self.drain()
            return {"type": "http.disconnect"}
        return message

    def too_large(self) -> Response:
        """The answer to a body that is too large."""
        most = math.floor(self.most_bytes / 1e6)
        return problem(413, "Too large", f"the body is larger than {most} MB", {"Connection": "close"})

    async def drain(self) -> None:
        """Read what follows, up to a limit, so that the client is through with sending and sees the answer."""

        async def read() -> None:
            left = _DRAINED_BYTES
            while not self._is_whole and left > 0:
                message = await self._receive()
                left -= len(message.get("body", b""))
                self._is_whole = not message.get("more_body", False)

        try:
            await asyncio.wait_for(read(), _DRAINED_S)
        except TimeoutError:
            return


class _Answer:
    """Sends what the application answers, or why the body was refused."""

    def __init__(self, scope: Scope, body: _CountedBody, send: Send, seen: Callable[[int], None]) -> None:
        self._scope, self._body, self._send, self._seen = scope, body, send, seen
        self._is_replaced = False

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the body was refused."""
        if self._is_replaced:
            return
        if message["type"] == "http.response.start":
            if self._body.refused is not None:
                self._is_replaced = True
                self._seen(self._body.refused.status_code)
                await self._body.refused(self._scope, _nothing, self._send)
                return
            self._seen(message["status"])
        await self._send(message)


async def _nothing() -> Any:
    return {"type": "http.disconnect"}
