"""Real server processes for tests: started on a free port, awaited, ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

START_S = 300.0
"""A test must not fail on a slow machine: alone, `transformers serve` needs 14 s."""


class RealServer(NamedTuple):
    """`transformers serve` and the folders of its models."""

    port: int
    random: Path
    reciter: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def spec(self, model: str, url: str | None = None) -> str:
        """How to ask for one of its models, there or behind a proxy."""
        return f"openai_compatible:{getattr(self, model)}@{url or self.url}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: Sequence[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that answers /health on the port; killed at the end."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **offline, "HF_HOME": str(log.parent / "hub")}
    with log.open("wb") as stream:
        running = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        try:
            _await_health(running, port, log)
            yield running
        finally:
            running.kill()
            running.wait()


def _await_health(running: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    with httpx.Client(trust_env=False, timeout=2.0) as client:
        while running.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(f"http://127.0.0.1:{port}/health").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
    raise AssertionError(f"{running.args!r} did not come up:\n{log.read_text(errors='replace')[-2000:]}")


def transformers_serve(port: int) -> list[str]:
    """The command of the real server; it loads whatever model folder a request names."""
    program = Path(sys.executable).with_name("transformers")
    return [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
