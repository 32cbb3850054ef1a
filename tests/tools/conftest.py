"""Real HTTP servers for the tests of the tools."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.tools.calling import Answering, Server


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
