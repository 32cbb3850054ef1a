"""The MCP server over streamable HTTP: the API's guard before the SDK's transport."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
from mcp.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from apps.api.guard import RequestGuard, most_bytes
from apps.api.metrics import ServerMetrics
from apps.service.access import ApiKeys
from apps.service.service import GeolocationService

PATH = "/mcp"
_MAX_SESSIONS = 1_000
_IDLE_S = 900.0
_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")


def create_http_app(server: Server[dict[str, Any]], service: GeolocationService, keys: ApiKeys) -> ASGIApp:
    """The server at /mcp, metrics at /metrics. Without keys it answers this machine's own programs and pages only."""
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=most_bytes(PATH, service.limits),
        max_sessions=_MAX_SESSIONS,
        session_idle_timeout=_IDLE_S,
        transport_security=_own_names_only(with_keys=bool(keys.owners)),
    )
    metrics = ServerMetrics(service)

    async def prometheus_metrics(_: Request) -> Response:
        return Response(await anyio.to_thread.run_sync(metrics.text), media_type=CONTENT_TYPE_LATEST)

    app.add_route("/metrics", prometheus_metrics, methods=["GET"])
    return RequestGuard(app, keys, service.limits, metrics)


def _own_names_only(*, with_keys: bool) -> TransportSecuritySettings:
    """The SDK's checks of Host and Origin. A page of another site has no key, so keys make them superfluous."""
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=not with_keys,
        allowed_hosts=[f"{name}{port}" for name in _OWN_NAMES for port in ("", ":*")],
        allowed_origins=[f"http://{name}{port}" for name in _OWN_NAMES for port in ("", ":*")],
    )
