"""`geosleuth mcp`: the application core as tools for MCP clients, over standard input and output, or HTTP."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.commands.opening import events_recorded
from apps.commands.serve import run_server
from apps.console import STANDARD_OUTPUT, progress_bar
from apps.options import RunOptions, SystemOptions, chosen_settings, expand_options
from core.errors import INTERRUPTED, UserError

if TYPE_CHECKING:
    from apps.mcp.photos import PhotoFolders
    from apps.service.access import ApiKeys
    from apps.service.service import GeolocationService

_GRACE_S = 10


@expand_options
def mcp(
    *,
    root: Annotated[
        list[Path] | None,
        typer.Option(help="Folder whose photos clients may name by path; may be given several times.", metavar="DIR"),
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP instead of standard input and output.")] = False,
    host: Annotated[
        str, typer.Option(help="Address to listen at with --http; beyond this machine only with API keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at with --http; 0: any free one.")] = 8090,
    api_keys: Annotated[
        Path | None,
        typer.Option(help="File of API keys for --http, NAME:KEY a line; else GEOSLEUTH_API_KEY.", metavar="FILE"),
    ] = None,
    system: SystemOptions,
    run: RunOptions,
) -> int:
    """Offer the machine and its tools to MCP clients. Limits come from the environment, as those of `serve`."""
    try:
        from apps.mcp.photos import PhotoFolders
        from apps.service.access import ApiKeys, check_host
        from apps.service.limits import make_limits
        from apps.service.service import GeolocationService
    except ImportError as error:
        raise UserError("the MCP server needs more packages: pip install 'geosleuth[web]'") from error
    if run.events == STANDARD_OUTPUT and not http:
        raise UserError("--events - and the protocol both want standard output: give --events a file")
    keys = ApiKeys.read(api_keys, os.environ)
    if http:
        check_host(host, keys)
    folders = PhotoFolders.of(root or ())
    # The jobs that `serve` accepted are its own to work on.
    limits = make_limits(job_workers=0)
    settings = chosen_settings(system, run)
    with events_recorded(run.events, as_json=False):
        with redirect_stdout(sys.stderr), progress_bar("Building the atlas of the world (once)", "places") as report:
            service = GeolocationService.open(settings, limits, report)
        with service:
            if http:
                _serve_http(service, folders, keys, host, port)
            else:
                _serve_stdio(service, folders)
    return 0


def _serve_stdio(service: GeolocationService, folders: PhotoFolders) -> None:
    """Serve until the client closes standard input, or a signal."""
    import anyio

    from apps.mcp.server import create_server, run_stdio
    from apps.mcp.tools import McpTools

    def end(*_: object) -> None:
        # A thread waits for the client's next line, which nothing interrupts.
        service.close()
        os._exit(INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    anyio.run(run_stdio, create_server(McpTools(service, folders)))


def _serve_http(service: GeolocationService, folders: PhotoFolders, keys: ApiKeys, host: str, port: int) -> None:
    import uvicorn

    from apps.mcp.http import PATH, create_http_app
    from apps.mcp.server import create_server
    from apps.mcp.tools import McpTools

    config = uvicorn.Config(
        create_http_app(create_server(McpTools(service, folders)), service, keys),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    run_server(uvicorn.Server(config), host, port, PATH)
