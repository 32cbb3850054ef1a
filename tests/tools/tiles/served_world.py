"""A map served as tiles, every pixel of it another colour: a wrong cut by one pixel is seen."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from geo.tiles import TileBounds
from tests.fakes.tool_calls import Reply
from tests.tools.online.server import Asked
from tools.services.tile_client import TileClient
from tools.services.tile_server import TileServer

Open = Callable[..., TileClient]
"""Opens a client of a server; see `conftest.py`."""

ZOOM = 3
WORLD = np.random.default_rng(5).integers(0, 255, (256 << ZOOM, 256 << ZOOM, 3), dtype=np.uint8)
"""The whole map at zoom 3, every pixel another colour: a wrong cut by one pixel is seen."""
PNG = {"Content-Type": "image/png"}
JPEG = {"Content-Type": "image/jpeg"}


def png(rgb: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def tile_of(path: str) -> Reply:
    zoom, x, y = map(int, path.removesuffix(".png").split("/")[-3:])
    if zoom != ZOOM:
        return Reply(404)
    return Reply(headers=PNG, body=png(WORLD[y * 256 : y * 256 + 256, x * 256 : x * 256 + 256]))


def is_cut_from_the_world(rgb: np.ndarray | None, x: int, y: int) -> bool:
    return rgb is not None and np.array_equal(rgb, WORLD[y * 256 : y * 256 + 256, x * 256 : x * 256 + 256])


def tiles(asked: Asked) -> Reply:
    return tile_of(asked.path)


def server_at(url: str, max_zoom: int = ZOOM, area: TileBounds | None = None) -> TileServer:
    host = url.removeprefix("http://")
    return TileServer("test tiles", f"{url}/{{z}}/{{x}}/{{y}}.png", "nobody", frozenset({host}), max_zoom, area=area)
