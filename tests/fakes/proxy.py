"""A proxy that misbehaves as asked, between a client and a real model server.

As a process of its own: python -m tests.fakes.proxy PORT UPSTREAM_URL FAULT
"""

from __future__ import annotations

import gzip
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import httpx

TEN_MB = 10_000_000


class Closable(ThreadingHTTPServer):
    """A server on a free port of the loopback, or a given one, whose answers under way end when it is closed.

    Attributes:
        closing: set once it is being closed.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no news."""


ClosableServer = TypeVar("ClosableServer", bound=Closable)


@contextmanager
def served(server: ClosableServer) -> Iterator[ClosableServer]:
    """Serve in this process while the block lasts."""
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


class Misbehaving(Closable):
    """Serves one fault after the other, then passes requests on; counts what it was asked."""

    def __init__(self, upstream: str, faults: list[str], port: int = 0) -> None:
        super().__init__(_Handler, port)
        self.upstream = upstream
        self.faults = list(faults)
        self.asked = 0
        self.others: list[Misbehaving] = []
        self.under_way = 0
        self.most_at_once = 0
        self.lock = threading.Lock()

    def next_fault(self) -> str:
        with self.lock:
            self.asked += 1
            if self.faults and self.faults[0].endswith("*"):
                return self.faults[0].removesuffix("*")  # for ever
            return self.faults.pop(0) if self.faults else "pass"


class _Handler(BaseHTTPRequestHandler):
    server: Misbehaving
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(200, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.under_way += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.under_way)
        try:
            FAULTS[self.server.next_fault()](self, body)
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def _send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _ask_upstream(self, body: bytes) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=120.0) as client:
            url = f"{self.server.upstream}{self.path.removeprefix('/v1')}"
            return client.post(url, content=body, headers={"Content-Type": "application/json"})

    def _pass(self, body: bytes) -> None:
        answer = self._ask_upstream(body)
        self._send(answer.status_code, answer.content, answer.headers["Content-Type"])

    def _slow(self, body: bytes) -> None:
        """Passes on, but only after a moment, so that requests overlap."""
        time.sleep(0.2)
        self._pass(body)

    def _propose_last(self, body: bytes) -> None:
        """Proposes once every other server has been asked, which never happens if one is asked after the other."""
        for _ in range(3_000):
            if all(other.asked for other in self.server.others):
                break
            self.server.closing.wait(0.01)
        FAULTS["proposes" if all(other.asked for other in self.server.others) else "rejected"](self, body)

    def _hang(self, _: bytes) -> None:
        self.server.closing.wait(60.0)

    def _drip(self, _: bytes) -> None:
        """One byte at a time: each read succeeds and the answer never ends."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "100000")
        self.end_headers()
        while not self.server.closing.wait(0.05):
            self.wfile.write(b" ")
            self.wfile.flush()

    def _reset(self, _: bytes) -> None:
        """The connection breaks as if the machine had lost power."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _die(self, body: bytes) -> None:
        """Half of the real answer, then the connection breaks."""
        answer = self._ask_upstream(body)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content[: len(answer.content) // 2])
        self.wfile.flush()
        self._reset(b"")

    def _bomb(self, _: bytes) -> None:
        """Forty kilobytes that become forty megabytes."""
        self._send(200, gzip.compress(b" " * 40_000_000), Content_Encoding="gzip")

    def _malformed_events(self, _: bytes) -> None:
        piece = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "It is"}}]}
        self._send(200, f'data: {json.dumps(piece)}\n\ndata: {{"choices": [{{\n\n'.encode(), "text/event-stream")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def _fixed(status: int, body: str, kind: str = "application/json", **headers: str) -> Callable[[_Handler, bytes], None]:
    return lambda handler, _: handler._send(status, body.encode(), kind, **headers)


def _said(content: Any, usage: Any = None, **message: Any) -> str:
    choices = [{"index": 0, "message": {"role": "assistant", "content": content, **message}}]
    return json.dumps({"choices": choices} | ({"usage": usage} if usage else {}))


def _proposed(*places: dict[str, Any]) -> str:
    """A call that proposes places, of 1,000 tokens in and 100 out."""
    function = {"name": "ProposeHypotheses", "arguments": json.dumps({"hypotheses": places})}
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    return _said("", usage, tool_calls=[{"id": "call-1", "type": "function", "function": function}])


FAULTS: dict[str, Callable[[_Handler, bytes], None]] = {
    "pass": _Handler._pass,
    "slow": _Handler._slow,
    "hang": _Handler._hang,
    "drip": _Handler._drip,
    "reset": _Handler._reset,
    "die": _Handler._die,
    "bomb": _Handler._bomb,
    "malformed_events": _Handler._malformed_events,
    "limited": _fixed(429, '{"error": {"message": "slow down"}}', Retry_After="1"),
    "limited_for_an_hour": _fixed(429, '{"error": {"message": "slow down"}}', Retry_After="3600"),
    "overloaded": _fixed(503, '{"error": {"message": "overloaded"}}'),
    "proposes": _fixed(
        200,
        _proposed(
            {"name": "Lisbon", "lat": 38.72, "lon": -9.13, "radius_km": 5.0, "confidence": 0.7, "why": "tiles"},
            {"name": "Madrid", "lat": 40.42, "lon": -3.7, "radius_km": 25.0, "confidence": 0.2},
        ),
    ),
    "proposes_last": _Handler._propose_last,
    "broken": _fixed(500, '{"error": {"message": "internal"}}'),
    "rejected": _fixed(400, '{"error": {"message": "bad request"}}'),
    "no_key": _fixed(401, '{"error": {"message": "Incorrect API key provided: sk-abcdefghijklmnop"}}'),
    "redirect": _fixed(307, "", Location="http://203.0.113.7/v1/chat/completions"),
    "html": _fixed(200, "<html>Please log in to this network</html>", "text/html"),
    "cut_json": _fixed(200, '{"choices": [{"message": {"role": "assi'),
    "null_choices": _fixed(200, '{"choices": null}'),
    "no_choices": _fixed(200, "{}"),
    "empty_choices": _fixed(200, '{"choices": []}'),
    "wrong_types": _fixed(200, _said(12, tool_calls="none")),
    "empty_body": _fixed(200, ""),
    "ten_mb": lambda handler, _: handler._send(200, _said("x" * TEN_MB).encode()),
    "twenty_mb": lambda handler, _: handler._send(200, _said("x" * 2 * TEN_MB).encode()),
    "says_nothing": _fixed(200, _said("")),
    "refuses": _fixed(200, _said("I'm sorry, but I can't help with that.")),
}


def misbehaving(upstream: str, *faults: str) -> AbstractContextManager[Misbehaving]:
    """A proxy in this process."""
    return served(Misbehaving(upstream, list(faults)))


if __name__ == "__main__":
    Misbehaving(sys.argv[2], sys.argv[3:], int(sys.argv[1])).serve_forever()
