"""The server for tests: the real one over a small system, in this process or in one of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from langchain_core.messages import AIMessage, BaseMessage

from agents.chat_models.base import Tool
from agents.chat_models.registry import LoadedModel
from agents.offline.reasoner import OfflineReasoner
from apps.service.limits import ServiceLimits
from apps.service.service import GeolocationService
from graphs.settings import make_settings

ROOT = Path(__file__).parents[3]
START_S = 120.0


class GatedReasoner(OfflineReasoner):
    """The offline reasoner, which from one of its calls on waits until a file is there."""

    gate: Path
    free_calls: int = 0
    calls: int = 0

    def reply(self, messages: Sequence[BaseMessage], tools: Sequence[Tool]) -> AIMessage:
        """What the offline reasoner says, when the gate is open."""
        self.calls += 1
        while self.calls > self.free_calls and not self.gate.exists():
            time.sleep(0.02)
        return super().reply(messages, tools)


def gated(gate: Path, free_calls: int = 0) -> LoadedModel:
    return LoadedModel(name="offline", chat=GatedReasoner(gate=gate, free_calls=free_calls))


@contextmanager
def service(
    home: Path, url: str | None = None, model: LoadedModel | None = None, **limits: Any
) -> Iterator[GeolocationService]:
    """An open service without signs and atlases."""
    settings = make_settings(home=home, read_signs=False, state_url=url)
    with GeolocationService.open(settings, ServiceLimits(**limits), model=model) as opened:
        yield opened


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """A real server of an application on a free port of this machine; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_S)


@contextmanager
def server_process(
    arguments: Sequence[object], environment: dict[str, str], log: Path
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server in a process of its own; gives its URL and the process, which is killed at the end."""
    command = [sys.executable, "-m", *map(str, arguments)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
    try:
        yield _url(process, log), process
    finally:
        process.kill()
        process.wait()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if "serving at " in line:
                url = line.split("serving at ")[1].split()[0]
                _await(f"{url}/readyz", deadline)
                return url
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text(errors='replace')[-3000:]}")


def _await(url: str, deadline: float) -> None:
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, trust_env=False, timeout=5.0).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} did not answer")


def events_of(response: httpx.Response) -> Iterator[tuple[int, str, str]]:
    """Number, name and data of each server-sent event, as they come."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "event" in fields:
            yield int(fields["id"]), fields["event"], fields["data"]
            fields = {}
