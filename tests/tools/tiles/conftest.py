"""Clients of tile servers on localhost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from geo.tiles import TileBounds
from tests.tools.online.server import OnlineServer
from tests.tools.tiles.served_world import server_at
from tools.services.tile_client import TileClient


@pytest.fixture
def open_client(client: httpx.Client, tmp_path: Path) -> Iterator[Callable[..., TileClient]]:
    """A client of a server; its cache is the test's folder."""
    opened: list[TileClient] = []

    def start(server: OnlineServer, area: TileBounds | None = None, **options: Any) -> TileClient:
        options = {"min_interval_s": 0.0, "attempts": 1, **options}
        opened.append(TileClient(server_at(server.url, area=area), tmp_path, client, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()
