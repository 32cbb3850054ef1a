"""Settings and data shared by all tests. The network is blocked (see pyproject.toml) but for loopback."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

from tests.fakes.tool_calls import Answering, Server

# Machines differ in speed: a test must never fail for being slow.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A job in the background of a shell ignores Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real development data beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data beside the checkout: real photos, tiles and nets are not part of the project")
    return SHARED_DATA


@pytest.fixture
def serve() -> Iterator[Callable[[Answering], Server]]:
    """Start a real HTTP server on localhost that answers as a function of the path."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answering) -> Server:
        asked: list[str] = []
        agents: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                agents.append(self.headers["User-Agent"])
                reply = answer(self.path)
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return Server(f"127.0.0.1:{server.server_port}", asked, agents)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """An HTTP client that ignores any proxy of this machine."""
    with httpx.Client(timeout=5.0, trust_env=False) as direct:
        yield direct
