"""The chat under `langgraph dev`, with the LangGraph SDK as its client: threads, streaming, interrupt and resume."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from graphs.checkpoints import STATE_TYPES
from tests.fakes.photo_files import noise, torn_between_prague_and_warsaw
from tests.fakes.tiny_encoder import write_tiny_encoder

ROOT = Path(__file__).parents[3]


def test_the_server_brings_to_life_what_our_checkpoints_do() -> None:
    serde = json.loads((ROOT / "langgraph.json").read_text())["checkpointer"]["serde"]
    assert serde["pickle_fallback"] is False
    assert serde["allowed_msgpack_modules"] == [[kind.__module__, kind.__name__] for kind in STATE_TYPES]


def png_base64(seed: int) -> str:
    buffer = io.BytesIO()
    noise(seed).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data home with an atlas in which one photo lies in Prague and its twin in Warsaw, and a langgraph.json.

    The model is a recorded one that names both.
    """
    pytest.importorskip(
        "langgraph_api", reason="langgraph dev is a development extra: pip install 'langgraph-cli[inmem]'"
    )
    pytest.importorskip("langgraph_sdk", reason="the client of langgraph dev: pip install langgraph-sdk")
    folder = tmp_path_factory.mktemp("served")
    for name in ("prague", "warsaw"):
        noise(7).save(folder / f"{name}.png")
    (folder / "t.csv").write_text("IMG_ID,LAT,LON\nprague.png,50.08,14.43\nwarsaw.png,52.23,21.01\n")
    torn_between_prague_and_warsaw(folder / "said.jsonl", folder / "prague.png")
    encoder = write_tiny_encoder(folder / "tiny")
    build = [
        sys.executable,
        "-m",
        "apps.cli",
        "atlas",
        "build",
        "close",
        "--photos",
        folder,
        "--table",
        folder / "t.csv",
    ]
    subprocess.run([*map(str, build), "--encoder", str(encoder)], env=environment(folder), check=True, cwd=ROOT)
    config = json.loads((ROOT / "langgraph.json").read_text())
    config["graphs"] = {"chat": f"{ROOT}/graphs/langgraph_app.py:chat"}
    (folder / "langgraph.json").write_text(json.dumps(config))
    return folder


def environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GEOSLEUTH_", "LANG", "PYTEST_"))}
    ours = {"HOME": folder / "home", "ENCODER": folder / "tiny", "ATLASES": '["close"]', "READ_SIGNS": "false"}
    ours["MODEL"] = f"recorded:{folder / 'said.jsonl'}"
    settings = {f"GEOSLEUTH_{key}": str(value) for key, value in ours.items()}
    quiet = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "PYTHONPATH": str(ROOT)}
    return kept | settings | quiet


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Any]:
    from langgraph_sdk import get_sync_client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = shutil.which("langgraph", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("no langgraph command beside this Python: pip install 'langgraph-cli[inmem]'")
    command = [script, "dev", "--no-browser", "--no-reload", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/ok", server, folder / "server.log")
        yield get_sync_client(url=f"http://127.0.0.1:{port}", timeout=300)
    finally:
        server.terminate()
        server.wait(60)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(url, trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-3000:]}")


def message(text: str, picture: str | None = None) -> dict[str, Any]:
    block = [{"type": "image", "base64": picture, "mime_type": "image/png"}] if picture else []
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": text}, *block]}]}


def turn(client: Any, thread: str, **given: Any) -> list[Any]:
    modes = ["updates", "custom", "messages-tuple"]
    return list(client.runs.stream(thread, "chat", stream_mode=modes, stream_subgraphs=True, **given))


def test_a_conversation_over_the_wire(client: Any, folder: Path) -> None:
    thread = client.threads.create()["thread_id"]
    picture = png_base64(7)
    parts = turn(client, thread, input=message("where is this?", picture))
    steps = {step for part in parts if part.event.startswith("updates") for step in part.data}
    assert {"receive", "recall", "hypothesise", "__interrupt__"} <= steps
    events = [part.data["event"] for part in parts if part.event.startswith("custom")]
    named = {(event["name"], event["phase"]) for event in events}
    assert named >= {("search_photos", "start"), ("search_photos", "end")}
    waiting = client.threads.get_state(thread)
    question = waiting["interrupts"][0]["value"]
    assert question["answers"] == ["yes", "no", "don't know"]
    assert any("Prague" in name for name in question["about"])

    turn(client, thread, command={"resume": "I was in Poland"})
    state = client.threads.get_state(thread)["values"]
    assert state["answer"]["place"]["country_code"] == "PL"
    assert [item["kind"] for item in state["answer"]["evidence"]].count("person") == 2

    turn(client, thread, input=message("why?"))
    state = client.threads.get_state(thread)["values"]
    assert "for it, " in state["messages"][-1]["content"]
    assert len(state["messages"]) == 4
    assert picture not in json.dumps(client.threads.get_state(thread))
    kept = list((folder / "home" / "served_photos").iterdir())
    assert len(kept) == 1
    assert kept[0].stat().st_mode & 0o077 == 0
    audit = [json.loads(line) for line in (folder / "home" / "audit.jsonl").read_text().splitlines()]
    assert [line["question"] for line in audit] == ["where is this?", "why?"]


def test_a_photo_that_cannot_be_used_and_threads_apart(client: Any) -> None:
    first, second = (client.threads.create()["thread_id"] for _ in range(2))
    turn(client, first, input=message("where?", base64.b64encode(b"no photo").decode()))
    said = client.threads.get_state(first)["values"]["messages"][-1]["content"]
    assert "is not a JPEG" in said
    turn(client, second, input=message("why?"))
    assert "Show a photo first" in client.threads.get_state(second)["values"]["messages"][-1]["content"]
