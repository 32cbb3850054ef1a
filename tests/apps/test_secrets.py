"""A run with credentials everywhere: none of them is printed, and none is in any file that it leaves."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.apps.conftest import command, environment
from tests.fakes.photo_files import jpeg

SECRET = "Zq7-made-up_9x"  # noqa: S105 - made up


@pytest.fixture
def echo() -> Iterator[str]:
    """A model server that refuses every request and repeats the key that it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = f'{{"error": {{"message": "no such key: {self.headers["Authorization"]}"}}}}'.encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def test_no_credential_is_printed_or_stored(echo: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    secrets = {
        "GEOSLEUTH_MODEL_KEY": SECRET,
        "GEOSLEUTH_SATELLITE_SOURCE": f"http://anna:{SECRET}@127.0.0.1:9/{{z}}/{{x}}/{{y}}.png?apikey={SECRET}",
        "GEOSLEUTH_GEOCODER": f"http://anna:{SECRET}@127.0.0.1:9",
        "GEOSLEUTH_READ_SIGNS": "false",
    }
    photo = jpeg(tmp_path / "photo.jpg")

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[Any]:
        env = environment(home) | secrets | more
        return subprocess.run(
            command(*arguments), env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )

    refused = run("--debug", "locate", photo, GEOSLEUTH_MODEL=f"openai_compatible:m@{echo}")
    assert "the key is not accepted" in refused.stderr
    runs = [
        refused,
        run("--debug", "locate", tmp_path, "--jsonl", tmp_path / "run.jsonl", "--map", tmp_path / "map.html"),
        run("locate", photo, "--thread", "saved", "--events", tmp_path / "events.jsonl"),
        run("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://anna:{SECRET}@127.0.0.1:9"),
        run("--debug", "locate", photo, GEOSLEUTH_SATELLITE_SOURCE=f"ftp://anna:{SECRET}@127.0.0.1/"),
        run("locate", photo, GEOSLEUTH_GEOCODER=f"ftp://anna:{SECRET}@127.0.0.1/"),
    ]
    for done in runs:
        assert SECRET not in done.stdout + done.stderr
    assert "127.0.0.1:9" in (home / "audit.jsonl").read_text()
    files = [Path(folder) / name for folder, _, names in os.walk(tmp_path) for name in names]
    assert {"audit.jsonl", "thread.json", "run.jsonl", "events.jsonl"} <= {file.name for file in files}
    assert [file.name for file in files if SECRET.encode() in file.read_bytes()] == []
