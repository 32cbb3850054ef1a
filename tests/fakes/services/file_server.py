"""A real HTTP server on localhost for downloads."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves files with ranges and validators; can break off, change a file, or refuse."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.break_after: list[int] = []
        self.refuse: list[int] = []
        self.pause_s = 0.0
        self.kind = "application/octet-stream"
        self.asked: list[tuple[str, str | None]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        body = self.files.get(request.path)
        if body is None or self.refuse:
            request.send_error(self.refuse.pop(0) if self.refuse else 404)
            return
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        start = 0
        if wanted and request.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(body) and start:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(body)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        request.send_header("ETag", tag)
        request.send_header("Content-Type", self.kind)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        self._send(request, body[start:])

    def _send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        limit = self.break_after.pop(0) if self.break_after else len(body)
        try:
            for at in range(0, min(limit, len(body)), 1 << 16):
                request.wfile.write(body[at : min(at + (1 << 16), limit)])
                time.sleep(self.pause_s)
        except OSError:
            return  # the client was killed
        if limit < len(body):
            request.close_connection = True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def hub_of(files: Mapping[str, bytes], commit: str, *, gated: bool = False) -> Iterator[str]:
    """The address of a hub that has these files, by their path, at one commit."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            body = files.get(self.path)
            self.send_response(403 if gated else 404 if body is None else 200)
            self.send_header("X-Repo-Commit", commit)
            if gated or body is None:
                self.send_header("X-Error-Code", "GatedRepo" if gated else "EntryNotFound")
            self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(files.get(self.path, b""))

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
