"""Files of a data home that are neither atlases nor threads: the audit log, allowed servers, tiles, jobs."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import cast

import httpx
import numpy as np
from PIL import Image

from agents.schemas import Answer
from apps.output.results_file import PhotoResult
from apps.service.choices import RunChoices
from apps.service.database import StateDatabase
from apps.service.jobs import JobTable
from apps.service.limits import ServiceLimits
from core.errors import UserError
from geo.tiles import Tile
from graphs.audit import audit_entry, write_audit_line
from retrieval.atlas.servers import ALLOWED_FILE, remember_server, remembered_servers
from tests.fuzz.cases import Files, Target
from tools.results import ToolError
from tools.services.tile_client import CACHE_FILE, TileClient
from tools.services.tile_server import TileServer

_LINE = audit_entry(cast(Answer | None, None), "where?", ["tiles.example"])
_TILE = Tile(2, 1, 1)


def _audit() -> Files:
    return {"audit.jsonl": f"{_LINE}\n{_LINE}\n".encode()}


def _append(folder: Path) -> object:
    """A line is whole, on a line of its own, and all that was there is still there."""
    file = folder / "audit.jsonl"
    before = file.read_bytes() if file.is_file() else b""
    write_audit_line(file, _LINE)
    after = file.read_bytes()
    assert after.startswith(before)
    assert after.splitlines()[-1].decode() == _LINE
    return len(after.split(b"\n"))


def _servers() -> Files:
    with tempfile.TemporaryDirectory() as home:
        remember_server(Path(home), "world@10.0.0.1:6333")
        return {ALLOWED_FILE: (Path(home) / ALLOWED_FILE).read_bytes()}


def _picture(_: httpx.Request) -> httpx.Response:
    buffer = io.BytesIO()
    Image.fromarray(np.full((256, 256, 3), 120, np.uint8)).save(buffer, "PNG")
    return httpx.Response(200, stream=httpx.ByteStream(buffer.getvalue()), headers={"content-type": "image/png"})


def _tile(folder: Path) -> object:
    server = TileServer("tiles", "http://tiles.example/{z}/{x}/{y}.png", "", frozenset({"tiles.example"}))
    with (
        httpx.Client(transport=httpx.MockTransport(_picture)) as asking,
        TileClient(server, folder, asking, min_interval_s=0.0, attempts=1) as client,
    ):
        picture = client.picture(_TILE)
    assert picture is not None
    return picture.tobytes()


def _tiles() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        _tile(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def _jobs() -> Files:
    with tempfile.TemporaryDirectory() as home:
        with StateDatabase.open(None, Path(home)) as database:
            table = JobTable(database, ServiceLimits())
            table.create("anna", RunChoices(), [("a.jpg", b"a"), ("b.jpg", b"b")])
            item = table.claim()
            assert item is not None
            table.finish(item, PhotoResult.of_failure(item.name, None, "is damaged"))
        return {path.name: path.read_bytes() for path in Path(home).iterdir() if path.suffix == ".sqlite"}


def _list_jobs(folder: Path) -> object:
    """All that a service does with jobs that it finds."""
    with StateDatabase.open(None, folder) as database:
        table = JobTable(database, ServiceLimits())
        found = table.all_of("anna", 10)
        records = [record.photo for job in found for record in table.records(job.id)]
        with contextlib.suppress(UserError):
            table.claim()
        return [job.status for job in found], records


TARGETS = (
    Target("audit", _audit, _append, is_text=False),
    Target("allowed-servers", _servers, remembered_servers),
    Target("tile-cache", _tiles, _tile, (UserError, ToolError), is_text=False, changed=(CACHE_FILE,)),
    Target("jobs", _jobs, _list_jobs, is_text=False),
)
