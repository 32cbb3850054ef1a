"""Which services that could be used answer from here. Asked only when the user says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import httpx

from geo.tiles import Tile
from tools.services.tile_server import KNOWN_SERVERS, known_server

_TIMEOUT_S = 5.0


class Service(NamedTuple):
    """A service, whether it answered, and what it would add."""

    name: str
    reached: bool
    detail: str
    adds: str


def reachable_services() -> Iterator[Service]:
    """Ask each service one small question."""
    for name, url, adds in _questions():
        yield ask(name, url, adds)


def ask(name: str, url: str, adds: str) -> Service:
    """Whether a URL answers at all: any reply of a server counts, but for its own failures."""
    try:
        status = httpx.get(url, timeout=_TIMEOUT_S, headers={"User-Agent": "GeoSleuth doctor"}).status_code
    except httpx.HTTPError as error:
        return Service(name, False, f"no answer from {httpx.URL(url).host}: {type(error).__name__}", adds)
    return Service(name, status < 500, f"{httpx.URL(url).host} answers with status {status}", adds)


def _questions() -> Iterator[tuple[str, str, str]]:
    for name in KNOWN_SERVERS:
        yield name, known_server(name).url(Tile(0, 0, 0)), "satellite views sharper than 7 km a pixel"
    yield "Nominatim", "https://nominatim.openstreetmap.org/status", "street-level place names"
    yield "Qdrant server", "http://localhost:6333/readyz", "atlases too large for one process"
