"""A server on localhost that answers like the Hugging Face hub, for the files it is given."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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
