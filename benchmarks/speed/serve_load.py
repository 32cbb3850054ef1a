"""How `geosleuth serve` holds under load: users at once, errors, lost events, seconds, memory.

Run on demand, on a quiet machine:

    python -m benchmarks.speed.serve_load --users 32 --seconds 120 [--photos FOLDER] [--state postgresql://…]

A real server process is asked over loopback. Each user sends one request after another without a pause: two photos to
locate with their steps streamed, then a thread (a photo, a question, deleted). Beside them slow clients take in 2 KB/s.
A stream is whole if its events are numbered without a gap and the last is an answer or a reply.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from apps.output.formatting import printable
from retrieval.photos.photo import photo_paths
from tests.fakes.photo_files import noise

MADE = 16
STREAMED = {"accept": "text/event-stream"}
SLOW_BYTES = 200
SLOW_S = 0.1
START_S = 60.0


@dataclass
class Seen:
    """What all users saw: seconds to the first event, the first step and the end of each stream."""

    first_s: list[float] = field(default_factory=list)
    step_s: list[float] = field(default_factory=list)
    end_s: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    torn: int = 0
    slow: int = 0
    memory_mb: list[float] = field(default_factory=list)


def main() -> None:
    """Start a server, load it, print what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=32)
    parser.add_argument("--slow", type=int, default=2, help="slow clients beside the users")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--photos", type=Path, help="folder of photos; without it, made ones of 1024 x 768")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="write each stream's seconds, for simulation.queueing"
    )
    parser.add_argument("--state", help="GEOSLEUTH_STATE_URL; without it, a SQLite file")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), chosen.state) as (url, _):
        seen = asyncio.run(_load(url, chosen, made_photos(Path(folder), chosen.photos)))
    if chosen.keep:
        chosen.keep.write_text(json.dumps({"stream_s": [round(seconds, 4) for seconds in seen.end_s]}))
    print(json.dumps(_summary(seen, chosen.seconds), indent=1))


@contextmanager
def server(home: Path, state: str | None, lease_s: float = 30.0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The URL of a server process with a data home of its own, and the process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEOSLEUTH_")}
    own = {"GEOSLEUTH_HOME": str(home / "home"), "GEOSLEUTH_SERVE_REQUESTS_PER_MINUTE": "1000000"}
    own |= {"GEOSLEUTH_SERVE_LEASE_S": str(lease_s)} | ({"GEOSLEUTH_STATE_URL": state} if state else {})
    command = [sys.executable, "-m", "geosleuth", "serve", "--port", "0", "--no-signs"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=kept | own, stderr=log)  # noqa: S603 - our own
    try:
        yield _address(process, home / "log"), process
    finally:
        process.terminate()
        process.wait(30)
        sys.stderr.write(printable((home / "log").read_text(errors="replace"), 2000) + "\n")


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        if found := re.search(r"http://\S+", log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise SystemExit(f"the server did not start: {log.read_text()}")


def made_photos(folder: Path, given: Path | None) -> list[bytes]:
    if given is not None:
        return [path.read_bytes() for path in photo_paths([given])[:200]]
    for number in range(MADE):
        noise(number).resize((1024, 768), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    return [(folder / f"{number}.jpg").read_bytes() for number in range(MADE)]


async def _load(url: str, chosen: argparse.Namespace, photos: list[bytes]) -> Seen:
    seen, until = Seen(), time.monotonic() + chosen.seconds
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=f"{url}/v1", trust_env=False, timeout=120.0, limits=limits) as client:
        users = [_user(client, number, photos, seen, until) for number in range(chosen.users)]
        slow = [_slow_client(url, photos[0], seen, until) for _ in range(chosen.slow)]
        await asyncio.gather(*users, *slow, _watch_memory(url, seen, until))
    return seen


async def _user(client: httpx.AsyncClient, number: int, photos: list[bytes], seen: Seen, until: float) -> None:
    turn = number
    while time.monotonic() < until:
        turn += 1
        files = {"photo": ("a.jpg", photos[turn % len(photos)])}
        if turn % 3:
            await _stream(client, "/locate", {"files": files}, seen)
            continue
        begun = await client.post("/threads", json={})
        seen.statuses[str(begun.status_code)] += 1
        path = f"/threads/{begun.json()['id']}"
        await _stream(client, f"{path}/messages", {"files": files, "data": {"text": "where is it?"}}, seen)
        await _stream(client, f"{path}/messages", {"data": {"text": "why?"}}, seen)
        seen.statuses[str((await client.delete(path)).status_code)] += 1


async def _stream(client: httpx.AsyncClient, path: str, sent: dict[str, Any], seen: Seen) -> None:
    """Read one stream to its end."""
    begun_s, numbers, name = time.perf_counter(), [], ""
    try:
        async with client.stream("POST", path, headers=STREAMED, **sent) as response:
            seen.statuses[str(response.status_code)] += 1
            async for line in response.aiter_lines():
                if line.startswith("id: "):
                    numbers.append(int(line[4:]))
                elif line.startswith("event: "):
                    name = line[7:]
                    if len(numbers) <= 2:
                        (seen.first_s if len(numbers) == 1 else seen.step_s).append(time.perf_counter() - begun_s)
    except httpx.HTTPError as error:
        seen.statuses[type(error).__name__] += 1
    seen.torn += numbers != list(range(1, len(numbers) + 1)) or name not in ("answer", "reply")
    seen.end_s.append(time.perf_counter() - begun_s)


async def _slow_client(url: str, photo: bytes, seen: Seen, until: float) -> None:
    """Ask for streams and take them in slowly, through a small window."""
    at = urlsplit(url)
    form = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n' + photo + b"\r\n--x--\r\n"
    head = (
        f"POST /v1/locate HTTP/1.1\r\nHost: {at.netloc}\r\nAccept: text/event-stream\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(form)}\r\n\r\n"
    )
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=2 * SLOW_BYTES)
        writer.write(head.encode() + form)
        text = b""
        while part := await reader.read(SLOW_BYTES):
            text += part
            await asyncio.sleep(SLOW_S)
        seen.torn += b"event: answer" not in text
        seen.slow += 1
        writer.close()


async def _watch_memory(url: str, seen: Seen, until: float) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60.0) as client:
        while time.monotonic() < until:
            text = (await client.get(f"{url}/metrics")).text
            found = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
            seen.memory_mb.append(float(found[1]) / 1e6 if found else float("nan"))
            await asyncio.sleep(2.0)


def _summary(seen: Seen, seconds: float) -> dict[str, Any]:
    return {
        "streams": len(seen.end_s),
        "streams_a_second": round(len(seen.end_s) / seconds, 2),
        "statuses": dict(seen.statuses),
        "torn_streams": seen.torn,
        "slow_streams": seen.slow,
        "first_event_s": _quantiles(seen.first_s),
        "first_step_s": _quantiles(seen.step_s),
        "end_s": _quantiles(seen.end_s),
        "memory_mb": {
            "by_eighth_of_the_time": [round(float(np.median(part))) for part in np.array_split(seen.memory_mb, 8)],
            "most": round(max(seen.memory_mb)),
        },
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 3) for share in (50, 95, 100)} if values else {}


if __name__ == "__main__":
    main()
