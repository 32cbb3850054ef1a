"""Satellite pictures from an XYZ tile server: one of a short list, or one the user configured, with a cache on disk.

The model never names a host.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from core.errors import UserError
from core.files import write_atomic
from geo.point import Point
from geo.tiles import MAX_LATITUDE_DEG, TILE_PX, PlacedTile, Tile, covering_tiles, km_per_pixel
from retrieval.photos.photo import PhotoError, PhotoLimits, decode_photo
from tools.results import ToolError
from tools.services.imagery import ImageryView, Rgb
from tools.services.rate_limited_http import RateLimitedFetcher

KNOWN_SERVERS = ("Esri.WorldImagery", "NASAGIBS.BlueMarble", "USGS.USImagery")
"""Providers of `xyzservices` with pictures of the ground, no key, and terms that allow single views."""

MAX_TILE_BYTES = 2_000_000
_TILE_LIMITS = PhotoLimits(max_bytes=MAX_TILE_BYTES, max_megapixels=1.1, min_side_px=64, long_side_px=1024)
_BEYOND_MAP = 128

_PLACEHOLDERS = [("x", "", None), ("y", "", None), ("z", "", None)]  # name, format and conversion
_DEFAULT_MAX_ZOOM = 19


@dataclass(frozen=True)
class TileServer:
    """An XYZ tile tree in Web Mercator.

    Attributes:
        url_template: http or https, with {z}, {x} and {y} in its path and nowhere else.
        attribution: shown with every picture, as its owner asks.
        allowed_hosts: the only hosts (with port, if any) that may be asked, exactly as written.
        max_zoom: the closest level it has.

    Raises:
        UserError: a template that is not usable or whose host is not allowed.
    """

    name: str
    url_template: str
    attribution: str
    allowed_hosts: frozenset[str]
    max_zoom: int = _DEFAULT_MAX_ZOOM

    def __post_init__(self) -> None:
        problem = _template_problem(self.url_template, self.allowed_hosts)
        if problem:
            raise UserError(f"The tile address {self.url_template!r} cannot be used: {problem}")

    def url(self, tile: Tile) -> str:
        """The address of a tile."""
        return self.url_template.format(z=tile.zoom, x=tile.x, y=tile.y)


def _template_problem(template: str, allowed_hosts: Collection[str]) -> str | None:
    try:
        fields = sorted((name, spec, made) for _, name, spec, made in Formatter().parse(template) if name is not None)
        parts = urlsplit(template)
    except (TypeError, ValueError) as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "it must begin with http:// or https://"
    if fields != _PLACEHOLDERS or any(c in "{}" for c in parts.netloc + parts.query + parts.fragment):
        return "its path must hold {z}, {x} and {y}, once each, and nothing else in braces"
    if parts.netloc not in allowed_hosts:
        return f"its host is not one of the allowed hosts ({', '.join(sorted(allowed_hosts)) or 'none'})"
    return None


def known_server(name: str) -> TileServer:
    """A server of the short list, as `xyzservices` describes it.

    Raises:
        UserError: another name.
    """
    from xyzservices import providers  # type: ignore[import-untyped]  # it ships no types

    if name not in KNOWN_SERVERS:
        raise UserError(f"unknown tile source {name!r}; the known ones are {', '.join(KNOWN_SERVERS)}")
    provider = providers.query_name(name)
    template = str(provider.build_url(x="{x}", y="{y}", z="{z}"))
    return TileServer(
        name=name,
        url_template=template,
        attribution=str(provider.attribution),
        allowed_hosts=frozenset({urlsplit(template).netloc}),
        max_zoom=int(provider.get("max_zoom", _DEFAULT_MAX_ZOOM)),
    )


class TileCache:
    """Tiles on disk, one folder for a server; a reader never sees a half-written tile."""

    def __init__(self, folder: Path, server: TileServer) -> None:
        self._folder = folder / hashlib.sha256(server.url_template.encode()).hexdigest()[:16]

    def get(self, tile: Tile) -> bytes | None:
        """The bytes of a tile, if they are here."""
        path = self._path(tile)
        return path.read_bytes() if path.is_file() else None

    def put(self, tile: Tile, data: bytes) -> None:
        """Keep a tile."""
        path = self._path(tile)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data, many_writers=True, sync=False)

    def discard(self, tile: Tile) -> None:
        """Forget a tile."""
        self._path(tile).unlink(missing_ok=True)

    def _path(self, tile: Tile) -> Path:
        return self._folder / str(tile.zoom) / str(tile.x) / str(tile.y)


class TileImagery:
    """A `ImagerySource` over one tile server. Safe between threads; at most one request at a time."""

    def __init__(
        self, server: TileServer, cache_folder: Path, client: httpx.Client, min_interval_s: float = 0.05
    ) -> None:
        self._server = server
        self._cache = TileCache(cache_folder, server)
        self._fetcher = RateLimitedFetcher(server.name, client, "image/", MAX_TILE_BYTES, min_interval_s)
        self._lock = threading.Lock()

    @property
    def zooms(self) -> range:
        """Zoom levels the server has."""
        return range(self._server.max_zoom + 1)

    def view(self, point: Point, zoom: int, size_px: int) -> ImageryView:
        """See `ImagerySource`; the map ends at 85° north and south, and beyond its edge the picture is grey."""
        if abs(point.lat) > MAX_LATITUDE_DEG:
            raise ToolError(f"this map ends at {MAX_LATITUDE_DEG:.2f}° north and south")
        picture = np.full((size_px, size_px, 3), _BEYOND_MAP, np.uint8)
        for placed in covering_tiles(point, zoom, size_px):
            _paste(picture, self._tile(placed.tile), placed)
        scale = km_per_pixel(point.lat, zoom)
        return ImageryView(picture, scale, scale, self._server.name, self._server.attribution)

    def _tile(self, tile: Tile) -> Rgb:
        with self._lock:
            cached = self._cache.get(tile)
            try:
                if cached is not None:
                    return _decoded(cached)
            except PhotoError:  # damaged on disk: fetched again
                self._cache.discard(tile)
            return self._fetched(tile)

    def _fetched(self, tile: Tile) -> Rgb:
        name = self._server.name
        data = self._fetcher.get(self._server.url(tile))
        if data is None:
            raise ToolError(f"{name} has no picture of this place at this zoom; try a lower zoom")
        try:
            rgb = _decoded(data)
        except PhotoError as error:
            raise ToolError(f"{name} sent a tile that is no usable picture") from error
        self._cache.put(tile, data)
        return rgb


def _decoded(data: bytes) -> Rgb:
    """A tile as (256, 256, 3), whatever size it was served in."""
    rgb = decode_photo(data, "tile", limits=_TILE_LIMITS).rgb
    if rgb.shape[:2] == (TILE_PX, TILE_PX):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS))


def _paste(picture: Rgb, tile: Rgb, placed: PlacedTile) -> None:
    """Write the part of a tile that lies inside the picture."""
    size = len(picture)
    rows = slice(max(0, placed.top_px), min(size, placed.top_px + TILE_PX))
    columns = slice(max(0, placed.left_px), min(size, placed.left_px + TILE_PX))
    picture[rows, columns] = tile[
        rows.start - placed.top_px : rows.stop - placed.top_px,
        columns.start - placed.left_px : columns.stop - placed.left_px,
    ]
