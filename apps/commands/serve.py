"""`geosleuth serve`: the application core with page and HTTP API, in one process."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.commands.opening import events_recorded
from apps.console import messages, progress_bar
from apps.options import RunOptions, SystemOptions, chosen_settings, expand_options
from core.errors import UserError

if TYPE_CHECKING:
    from uvicorn import Server

_GRACE_S = 10
_BACKLOG = 512


@expand_options
def serve(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen at; beyond this machine only with API keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any that is free.")] = 8080,
    api_keys: Annotated[
        Path | None,
        typer.Option(help="File of API keys, NAME:KEY a line. Without it: GEOSLEUTH_API_KEY.", metavar="FILE"),
    ] = None,
    offer_model: Annotated[
        list[str] | None, typer.Option(help="A chat model that callers may choose; may be given several times.")
    ] = None,
    offer_atlas: Annotated[
        list[str] | None, typer.Option(help="An atlas that callers may choose; may be given several times.")
    ] = None,
    system: SystemOptions,
    run: RunOptions,
) -> int:
    """Serve a page with a chat beside a map, and the HTTP API.

    Limits come from the environment: GEOSLEUTH_SERVE_RUNS_AT_ONCE and so on.
    """
    try:
        import uvicorn

        from apps.api.app import create_app
        from apps.page.static import prepare_page
        from apps.service.access import ApiKeys, check_host
        from apps.service.limits import make_limits
        from apps.service.service import GeolocationService
    except ModuleNotFoundError as error:
        raise UserError(f"the server needs {error.name}, which is missing: pip install 'geosleuth[web]'") from error
    keys = ApiKeys.read(api_keys, os.environ)
    check_host(host, keys)
    limits = make_limits(models=tuple(offer_model or ()) or None, atlases=tuple(offer_atlas or ()) or None)
    settings = chosen_settings(system, run)
    with events_recorded(run.events, as_json=False):
        with progress_bar("Building the atlas of the world (once)", "places") as report:
            service = GeolocationService.open(settings, limits, report)
        with service:
            threading.Thread(target=prepare_page, daemon=True).start()
            config = uvicorn.Config(
                create_app(service, keys),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
            run_server(uvicorn.Server(config), host, port)
    return 0


def run_server(server: Server, host: str, port: int, path: str = "") -> None:
    """Serve until a signal; the address is printed when it is known, as the port may be the system's choice."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UserError(f"cannot listen at {host} port {port}: {error.strerror}; choose another --port") from error
    with listening:
        shown = f"[{host}]" if ":" in host else host
        messages().print(f"serving at http://{shown}:{listening.getsockname()[1]}{path} (Ctrl-C ends)")
        # When it has ended, uvicorn raises the signal that ended it once more: the service is closed all the same.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
