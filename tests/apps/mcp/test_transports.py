"""The server as clients meet it: a real process at the other end of pipes, and real HTTP servers."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ImageContent

from apps.cli import USER_ERROR, run
from apps.mcp.http import create_http_app
from apps.mcp.server import create_server
from apps.mcp.tools import McpTools
from apps.service.access import ApiKeys
from core.errors import INTERRUPTED
from tests.apps.conftest import ROOT, command, environment
from tests.apps.mcp.conftest import Steps
from tests.fakes.services import listening

KEY = "a-key-for-anna-of-24-char"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def use(client: Client, outside: Path) -> None:
    """Locate a photo, look at the place from above, and be refused a path."""
    steps = Steps()
    located = await client.call_tool("locate_photo", {"photo": {"path": "beach.jpg"}}, progress_callback=steps.note)
    assert not located.is_error
    assert steps.messages[0] == "begun"
    assert any(step.startswith("hypothesise: ") for step in steps.messages)
    point = located.structured_content["point"]
    view = await client.call_tool("satellite_view", {**point, "zoom": 4})
    assert isinstance(view.content[1], ImageContent)
    refused = await client.call_tool("locate_photo", {"photo": {"path": str(outside)}})
    assert refused.is_error
    assert "no such photo" in refused.content[0].text  # type: ignore[union-attr]


def test_a_client_works_over_pipes_with_a_real_process(home: Path, holiday: Path, tmp_path: Path) -> None:
    arguments = command("mcp", "--root", holiday, "--no-signs")
    log = (tmp_path / "log").open("w+")
    server = StdioServerParameters(command=arguments[0], args=arguments[1:], env=environment(home), cwd=ROOT)

    async def talk() -> None:
        async with Client(stdio_client(server, errlog=log), mode="legacy") as client:
            await use(client, holiday.parent / "private.jpg")

    anyio.run(talk)
    log.seek(0)
    assert "Traceback" not in log.read()


def test_nothing_but_the_protocol_is_printed_whatever_comes_in(home: Path, holiday: Path) -> None:
    hostile = [
        "not json",
        "{}",
        "[]",
        '{"jsonrpc": "2.0"}',
        "\x00\xff",
        '{"jsonrpc":"2.0","id":9,"method":"x"}',
        "9" * 99_999,
    ]
    arguments = command("mcp", "--root", holiday, "--no-signs")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(arguments, env=environment(home), cwd=ROOT, text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join([*hostile, json.dumps(INITIALIZE)]) + "\n")
        process.stdin.flush()
        replies: list[dict[str, Any]] = []
        while not replies or replies[-1].get("id") != 1:
            replies.append(json.loads(process.stdout.readline()))
        # The client is still there: a signal ends the server all the same.
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == INTERRUPTED
        assert process.stdout.read() == ""
    assert all(reply["jsonrpc"] == "2.0" for reply in replies)
    assert replies[-1]["result"]["serverInfo"]["name"] == "geosleuth"


@contextmanager
def served(tools: McpTools, *keys: str) -> Iterator[str]:
    known = ApiKeys.of(keys)
    with listening(create_http_app(create_server(tools), tools.service, known)) as url:  # type: ignore[arg-type]
        yield f"{url}/mcp"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_works_over_http_with_its_key(mode: str, tools: McpTools, holiday: Path) -> None:
    async def talk(url: str) -> None:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            await use(client, holiday.parent / "private.jpg")

    with served(tools, f"anna:{KEY}") as url:
        anyio.run(talk, url)


def test_without_its_key_nobody_is_answered(tools: McpTools) -> None:
    with served(tools, f"anna:{KEY}") as url:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}):
            assert httpx.post(url, json=INITIALIZE, headers={**ACCEPT, **headers}, trust_env=False).status_code == 401
        allowed = {**ACCEPT, "X-API-Key": KEY}
        assert httpx.post(url, json=INITIALIZE, headers=allowed, trust_env=False).is_success
        metrics = url.replace("/mcp", "/metrics")
        assert httpx.get(metrics, trust_env=False).status_code == 401
        counted = httpx.get(metrics, headers=allowed, trust_env=False).text
        assert 'geosleuth_requests_total{method="POST",route="/mcp",status="200"} 1.0' in counted


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.168.0.7:80"},
    ],
)
def test_without_keys_pages_of_other_sites_are_refused(tools: McpTools, headers: dict[str, str]) -> None:
    with served(tools) as url:
        assert httpx.post(url, json=INITIALIZE, headers=ACCEPT, trust_env=False).is_success
        assert httpx.post(url, json=INITIALIZE, headers={**ACCEPT, **headers}, trust_env=False).status_code == 403


def test_hostile_requests_are_refused_and_the_server_goes_on(tools: McpTools) -> None:
    with served(tools) as url, httpx.Client(trust_env=False, headers=ACCEPT) as client:
        json_type = {"Content-Type": "application/json"}
        assert client.post(url, content=b"x" * 2_000_000, headers=json_type).status_code == 413
        bodies: list[Any] = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 10_000, b'{"jsonrpc":"2.0","id":1}']
        for body in bodies:
            assert client.post(url, content=body, headers=json_type).status_code == 400
        assert client.post(url, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 400
        assert client.get(url, headers={"Mcp-Session-Id": "x" * 5_000}).status_code in (400, 404)
        assert client.post(url, json=INITIALIZE).is_success


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--http", "--host", "0.0.0.0"], "set API keys with GEOSLEUTH_API_KEY or --api-keys FILE"),  # noqa: S104
        (["--events", "-"], "both want standard output: give --events a file"),
        (["--root", "/nowhere"], "no such folder; give one that holds photos"),
        (["--api-keys", "/nowhere"], "API keys /nowhere: cannot be read"),
    ],
)
def test_mistakes_of_the_command_line_are_told_at_once_and_not_on_standard_output(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mcp", *arguments]) == USER_ERROR
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err
